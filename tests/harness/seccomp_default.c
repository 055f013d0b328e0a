#include "tests/harness/seccomp_default.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/harness/seccomp_default_list.h"

// The number of a system call as text, or its unexpanded name where this architecture has none.
#define PST_TEXT(x) #x
#define PST_EXPANDED(x) PST_TEXT(x)
#define PST_ENTRY(name) PST_EXPANDED(__NR_##name),

static const char* const kAllowed[] = {PST_SECCOMP_ALLOWED(PST_ENTRY) PST_SECCOMP_ALLOWED_4_8(
    PST_ENTRY) PST_SECCOMP_ALLOWED_ARCH(PST_ENTRY)};

enum {
  kAllowedCount = sizeof(kAllowed) / sizeof(kAllowed[0]),
  // Three instructions for each range at most, and less than 100 for the rest.
  kMaxInstructions = 3 * kAllowedCount + 100,
};

#if defined(__x86_64__)
static const uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif

typedef struct Program {
  struct sock_filter code[kMaxInstructions];
  unsigned short length;
} Program;

static void Emit(Program* p, struct sock_filter instruction) { p->code[p->length++] = instruction; }

static void Load(Program* p, size_t offset) {
  Emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void Return(Program* p, uint32_t action) {
  Emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void AllowIf(Program* p, uint16_t comparison, uint32_t value) {
  Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, 1));
  Return(p, SECCOMP_RET_ALLOW);
}

static int CompareNumbers(const void* a, const void* b) {
  uint32_t left = *(const uint32_t*)a, right = *(const uint32_t*)b;
  return (left > right) - (left < right);
}

static void EmitAllowedNumbers(Program* p) {
  static uint32_t numbers[kAllowedCount];
  size_t count = 0;
  for (size_t i = 0; i < kAllowedCount; ++i) {
    if (kAllowed[i][0] >= '0' && kAllowed[i][0] <= '9') {
      numbers[count++] = (uint32_t)strtoul(kAllowed[i], NULL, 10);
    }
  }
  qsort(numbers, count, sizeof(numbers[0]), CompareNumbers);
  for (size_t first = 0, next; first < count; first = next) {
    for (next = first + 1; next < count && numbers[next] <= numbers[next - 1] + 1; ++next) {
    }
    // first <= number <= last
    Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, numbers[first], 0, 2));
    Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, numbers[next - 1], 1, 0));
    Return(p, SECCOMP_RET_ALLOW);
  }
}

// Begins the rules of one system call, whose first argument's low half is then in the accumulator;
// EndRules closes them with `otherwise`. Accumulator before and after: the call's number.
static unsigned short BeginRules(Program* p, uint32_t number) {
  unsigned short jump = p->length;
  Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 0));
  Load(p, offsetof(struct seccomp_data, args[0]));
  return jump;
}

static void EndRules(Program* p, unsigned short jump, uint32_t otherwise) {
  Return(p, otherwise);
  p->code[jump].jf = (uint8_t)(p->length - jump - 1);
}

static void Build(Program* p) {
  const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
  p->length = 0;
  Load(p, offsetof(struct seccomp_data, arch));
  Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0));
  Return(p, refuse);
  Load(p, offsetof(struct seccomp_data, nr));

  unsigned short rules = BeginRules(p, __NR_clone3);
  EndRules(p, rules, SECCOMP_RET_ERRNO | ENOSYS);

  rules = BeginRules(p, __NR_clone);
  Emit(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K,
                                       CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                           CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP));
  AllowIf(p, BPF_JEQ, 0);
  EndRules(p, rules, refuse);

  rules = BeginRules(p, __NR_socket);  // all but AF_ALG and AF_VSOCK
  Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_ALG, 2, 0));
  Emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 1, 0));
  Return(p, SECCOMP_RET_ALLOW);
  EndRules(p, rules, refuse);

  rules = BeginRules(p, __NR_personality);
  AllowIf(p, BPF_JEQ, 0x0);
  AllowIf(p, BPF_JEQ, 0x0008);
  AllowIf(p, BPF_JEQ, 0x20000);
  AllowIf(p, BPF_JEQ, 0x20008);
  AllowIf(p, BPF_JEQ, 0xffffffff);
  EndRules(p, rules, refuse);

  EmitAllowedNumbers(p);
  Return(p, refuse);
}

int PstInstallDefaultSeccomp(void) {
  static Program program;
  Build(&program);
  struct sock_fprog filter = {.len = program.length, .filter = program.code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}
