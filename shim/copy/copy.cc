#include "shim/copy/copy.h"

#include "shim/copy/copy_x86.h"

namespace penstock {
namespace {

void* CopyPortable(void* dst, const void* src, size_t n) { return memcpy(dst, src, n); }

bool Always() { return true; }

constexpr PstCopyVariant kVariants[] = {
#if defined(__x86_64__)
    {"avx512", CopyAvx512, CpuPrefersAvx512},
    {"avx2", CopyAvx2, CpuHasAvx2},
#endif
    {"portable", CopyPortable, Always},
};

}  // namespace

constinit PstCopyFn g_pst_copy = CopyPortable;

void PstCopyInit() {
  for (const PstCopyVariant& variant : kVariants) {
    if (!variant.usable()) continue;
    // Atomic, since another thread may be copying; either routine is right.
    __atomic_store_n(&g_pst_copy, variant.copy, __ATOMIC_RELAXED);
    return;
  }
}

const PstCopyVariant* PstCopyVariants(size_t* count) {
  *count = sizeof(kVariants) / sizeof(kVariants[0]);
  return kVariants;
}

}  // namespace penstock
