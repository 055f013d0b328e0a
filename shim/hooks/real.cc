#include "shim/hooks/real.h"

#include <errno.h>
#include <stddef.h>

#include <type_traits>

namespace penstock {
namespace {

template <class R>
R Missing() {
  errno = ENOSYS;
  if constexpr (std::is_void_v<R>) {
    return;
  } else if constexpr (std::is_pointer_v<R>) {
    return nullptr;
  } else {
    return static_cast<R>(-1);
  }
}

// What a libc before these names had in their place: glibc until 2.33.
struct Older {
#if defined(__x86_64__)
  static constexpr int kStat = 1;
#else
  static constexpr int kStat = 0;
#endif
  static int stat(const char* path, struct stat* out) { return real.__xstat(kStat, path, out); }
  static int lstat(const char* path, struct stat* out) { return real.__lxstat(kStat, path, out); }
  static int fstat(int fd, struct stat* out) { return real.__fxstat(kStat, fd, out); }
  static int fstatat(int dirfd, const char* path, struct stat* out, int flags) {
    return real.__fxstatat(kStat, dirfd, path, out, flags);
  }
  static int mknod(const char* path, mode_t mode, dev_t device) {
    return real.__xmknod(0, path, mode, &device);
  }
  static int mknodat(int dirfd, const char* path, mode_t mode, dev_t device) {
    return real.__xmknodat(0, dirfd, path, mode, &device);
  }
};

// The stub behind each pointer before its first use. The pointer is stored once it is known; two
// threads may both do so, with the same value.
#define PST_RESOLVER(ret, name, params, args)                             \
  ret Resolve_##name params {                                             \
    using Fixed = ret(*) params;                                          \
    auto* next = reinterpret_cast<decltype(Real::name)>(FindNext(#name)); \
    if (next == nullptr) {                                                \
      return [&](auto older) {                                            \
        if constexpr (requires { decltype(older)::name args; })           \
          return static_cast<ret>(decltype(older)::name args);            \
        else                                                              \
          return Missing<ret>();                                          \
      }(Older{});                                                         \
    }                                                                     \
    __atomic_store_n(&real.name, next, __ATOMIC_RELAXED);                 \
    return reinterpret_cast<Fixed>(next) args;                            \
  }
#define PST_CALL(ret, name, params, args, family, how) PST_RESOLVER(ret, name, params, args)
#define PST_CALL_VA(ret, name, declared, params, args, family, how) \
  PST_RESOLVER(ret, name, params, args)
#define PST_NEXT(ret, name, params, args) PST_RESOLVER(ret, name, params, args)
#include "shim/hooks/hooks.def"

}  // namespace

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-function-type"
Real real = {
#define PST_CALL(ret, name, params, args, family, how) .name = Resolve_##name,
// A variadic function takes its fixed arguments where the stub expects them, on every ABI we build
// for.
#define PST_CALL_VA(ret, name, declared, params, args, family, how) \
  .name = reinterpret_cast<ret(*) declared>(Resolve_##name),
#define PST_NEXT(ret, name, params, args) .name = Resolve_##name,
#include "shim/hooks/hooks.def"
};
#pragma GCC diagnostic pop

void RealInit() {
#define PST_EAGER(name)             \
  if (void* next = FindNext(#name)) \
  __atomic_store_n(&real.name, reinterpret_cast<decltype(Real::name)>(next), __ATOMIC_RELAXED)
  PST_EAGER(open);
  PST_EAGER(openat);
  PST_EAGER(read);
  PST_EAGER(pread);
  PST_EAGER(lseek);
  PST_EAGER(close);
  PST_EAGER(dup2);
  PST_EAGER(fcntl);
  PST_EAGER(fork);
  PST_EAGER(execve);
  // These leave by a jump that keeps the return address, which the stub may not do in every build.
  PST_EAGER(vfork);
  PST_EAGER(dlopen);
  PST_EAGER(dlsym);
  PST_EAGER(dlvsym);
#undef PST_EAGER
}

void RealResolveAll() {
  static bool done;
  if (__atomic_exchange_n(&done, true, __ATOMIC_RELAXED)) return;
#define PST_CALL(ret, name, params, args, family, how)                                           \
  if (void* next = FindNext(#name))                                                              \
    __atomic_store_n(&real.name, reinterpret_cast<decltype(Real::name)>(next), __ATOMIC_RELAXED);
#define PST_CALL_VA(ret, name, declared, params, args, family, how) \
  PST_CALL(ret, name, params, args, family, how)
#define PST_NEXT(ret, name, params, args) PST_CALL(ret, name, params, args, , )
#include "shim/hooks/hooks.def"
}

}  // namespace penstock
