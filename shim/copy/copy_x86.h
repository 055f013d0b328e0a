#pragma once

// The x86-64 routines behind PstCopy (shim/copy/copy.h). Internal to this folder.

#include <stddef.h>

namespace penstock {

#if defined(__x86_64__)

// 512-bit registers are present, enabled by the kernel, and on a generation that does not lower its
// clock for plain 512-bit moves (Ice Lake and later, Zen 4 and later).
__attribute__((visibility("hidden"))) bool CpuPrefersAvx512();
__attribute__((visibility("hidden"))) bool CpuHasAvx2();

// Both take n >= 128; each runs only where its predicate holds.
__attribute__((visibility("hidden"))) void* CopyAvx512(void* dst, const void* src, size_t n);
__attribute__((visibility("hidden"))) void* CopyAvx2(void* dst, const void* src, size_t n);

#endif

}  // namespace penstock
