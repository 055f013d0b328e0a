// System calls without libc: no errno, no hook, no cancellation point, no lock.
//
// Thread safety: any thread, signal handlers and vfork children too. Results are the kernel's:
// negative values are -errno.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

namespace penstock {

// The sixth argument of calls that have none: a supervised program's filter lets them pass (supervise/filter.h).
inline constexpr long kRawMark = 0x5e7a1b09c3d4f286;

#if defined(__x86_64__)
inline long RawCall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                    long f = kRawMark) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
inline long RawCall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                    long f = kRawMark) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory", "cc");
  return x0;
}
#else
#error "raw system calls for this architecture are missing"
#endif

// Pointers and integers alike.
template <typename T>
inline long RawArg(T value) {
  if constexpr (__is_same(T, decltype(nullptr))) {
    return 0;
  } else {
    return (long)value;
  }
}
template <typename... Args>
inline long Raw(long nr, Args... args) {
  return RawCall(nr, RawArg(args)...);
}

}  // namespace penstock
