// How a hook is written.
//
// A hook is a function with libc's exported name and our own C++ name, so that it never argues with
// libc's declarations (noexcept, nonnull, redirects) and never calls itself by accident:
//
//   PST_HOOK(int, close, (int fd)) { ... }          defines the exported symbol "close"
//   PST_TWIN(int, close, __close, (int fd));        exports "__close" as the same function
//
// The list of exported names is shim/hooks/; PST_REAL(name) there is libc's function, with libc's
// type. Inside the library never call a libc function that the table hooks: use PST_REAL or raw.h.
//
// errno is touched only on failure: PstFail(err) sets it and returns -1.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#define PST_EXPORT extern "C" __attribute__((visibility("default"), used))
#define PST_HOOK(ret, name, args)                            \
  PST_EXPORT ret pst_hook_##name args __asm__(#name);        \
  ret pst_hook_##name args
#define PST_TWIN(ret, name, twin, args) \
  PST_EXPORT ret pst_hook_##twin args __asm__(#twin) __attribute__((alias(#name)))

#define PST_LIKELY(x) __builtin_expect(!!(x), 1)
#define PST_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PST_COLD __attribute__((noinline, cold))
#define PST_INLINE inline __attribute__((always_inline))

namespace penstock {

// Sets errno and returns -1.
PST_COLD int PstFail(int err);

}  // namespace penstock
