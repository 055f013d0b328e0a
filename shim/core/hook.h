// What every file of the core uses: how failures leave a hook, and hints for the compiler.
//
// A hook itself is written as shim/hooks/hook.h says: PST_EXPORT and libc's own signature, and one line
// in shim/hooks/hooks.def. Inside the library never call a libc function that the table hooks: use
// penstock::real (shim/hooks/real.h) or raw.h.
//
// errno is touched only on failure: PstFail(err) sets it and returns -1.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PST_LIKELY(x) __builtin_expect(!!(x), 1)
#define PST_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PST_COLD __attribute__((noinline, cold))
#define PST_INLINE inline __attribute__((always_inline))

namespace penstock {

// Sets errno and returns -1.
PST_COLD int PstFail(int err);

}  // namespace penstock
