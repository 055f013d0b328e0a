#include "shim/supervise/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "shim/core/raw.h"
#include "shim/supervise/numbers.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace penstock {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

constexpr uint16_t kReported[] = {
#define PST_REPORTED(name) SYS_##name,
#include "shim/supervise/reported.def"
};
constexpr uint16_t kForks[] = {
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    SYS_clone,
    SYS_clone3,
};
constexpr int kCalls = sizeof kReported / sizeof kReported[0],
              kForkCalls = sizeof kForks / sizeof kForks[0];
constexpr int kCount = kCalls + kForkCalls;

// A jump of the filter's is 8 bits wide.
static_assert(kCount < 200);
constexpr int kHead = 4, kTail = 8;

struct Program {
  sock_filter code[kHead + kCount + kTail];
  unsigned short length = 0;

  void Add(uint16_t code_, uint32_t value, int if_true = 0, int if_false = 0) {
    code[length++] = {code_, static_cast<uint8_t>(if_true), static_cast<uint8_t>(if_false), value};
  }
};

constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS, kEqual = BPF_JMP | BPF_JEQ | BPF_K,
                   kReturn = BPF_RET | BPF_K;

// Position of the low and of the high half of an argument.
constexpr uint32_t Low(int argument) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * static_cast<uint32_t>(argument);
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

void Build(bool forks, Program* out) {
  // Tail: 0 allow; 1-4 the mark; 5 report; 6 no io_uring.
  constexpr int kTailAt = kHead + kCount;
  auto to = [](int from, int tail) { return kTailAt + tail - from - 1; };
  out->Add(kLoad, offsetof(seccomp_data, arch));
  out->Add(kEqual, kArch, 0, to(1, 0));  // a program of another architecture is not supervised
  out->Add(kLoad, offsetof(seccomp_data, nr));
  out->Add(kEqual, SYS_io_uring_setup, to(3, 6), 0);
  for (int i = 0; i < kCount; ++i) {
    uint16_t number = i < kCalls ? kReported[i] : forks ? kForks[i - kCalls] : kReported[0];
    out->Add(kEqual, number, to(kHead + i, 1), 0);
  }
  out->Add(kReturn, SECCOMP_RET_ALLOW);
  out->Add(kLoad, Low(5));
  out->Add(kEqual, static_cast<uint32_t>(kRawMark), 0, 2);
  out->Add(kLoad, Low(5) + 4);
  out->Add(kEqual, static_cast<uint32_t>(kRawMark >> 32), 2, 0);
  out->Add(kReturn, SECCOMP_RET_USER_NOTIF);
  out->Add(kReturn, SECCOMP_RET_ERRNO | ENOSYS);
  out->Add(kReturn, SECCOMP_RET_ALLOW);
}

long Install(const Program& program) {
  sock_fprog filter = {program.length, const_cast<sock_filter*>(program.code)};
  // A program's signals wait until the guard has answered what it has begun; older kernels break
  // the call off and start it again.
  long listener =
      Raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
          SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &filter);
  if (listener == -EINVAL)
    listener = Raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  return listener;
}

}  // namespace

int PstInstallFilter(bool forks) {
  Program program;
  Build(forks, &program);
  long listener = Install(program);
  if (listener == -EACCES && Raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
    listener = Install(program);
  return static_cast<int>(listener);
}

}  // namespace penstock
