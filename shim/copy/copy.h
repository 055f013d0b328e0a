#pragma once

// The copy from the arena to the program's buffer: the main cost of a hit (bench/README.md).
//
// Purpose: memcpy that is fast when the source is large, cold and page-aligned and the destination
// is wherever malloc put it. Regions must not overlap. Reads [src, src + n) only and writes
// [dst, dst + n) only; the order within them is unspecified. The source may change meanwhile: the
// bytes are then any mix of old and new, and the caller finds out by the slot's generation (it puts
// its own acquire fence between the copy and that check).
//
// Thread safety: PstCopy may run anywhere, in signal handlers and in vfork children too: it keeps
// no state, takes no lock, allocates nothing and leaves errno alone. PstCopyInit may run at any
// time and any number of times.
// Errors: none. A bad pointer faults, as in memcpy.

#include <stddef.h>
#include <string.h>

namespace penstock {

using PstCopyFn = void* (*)(void* dst, const void* src, size_t n);

// Below this many bytes libc's memcpy is as good as anything, and the call costs more than it wins.
inline constexpr size_t kPstCopySmallBytes = 1024;

// From here on a copy reads four quarters side by side (shim/copy/copy_x86.cc says why). So one
// large copy beats two of half its size (128 KiB 7.9 against 8.6 us): what adjoins is copied at
// once.
inline constexpr size_t kPstCopyStreamsMinBytes = 24 * 1024;

// The chosen routine. memcpy until PstCopyInit has run, so that nothing depends on the order of
// constructors.
extern __attribute__((visibility("hidden"))) PstCopyFn g_pst_copy;

// Chooses the routine for this CPU. Costs about 20 us in a virtual machine (cpuid leaves the
// guest): call it where the arena is mapped, not in every program that is started.
__attribute__((visibility("hidden"))) void PstCopyInit();

// Copies n bytes and returns dst.
inline void* PstCopy(void* dst, const void* src, size_t n) {
  if (n < kPstCopySmallBytes) return memcpy(dst, src, n);
  return g_pst_copy(dst, src, n);
}

// One routine by its name, for tests and measurements.
struct PstCopyVariant {
  const char* name;
  PstCopyFn copy;    // for n >= kPstCopySmallBytes
  bool (*usable)();  // on this CPU
};

// All variants built for this architecture, best first; the last one is always usable.
__attribute__((visibility("hidden"))) const PstCopyVariant* PstCopyVariants(size_t* count);

}  // namespace penstock
