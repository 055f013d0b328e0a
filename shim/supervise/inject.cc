#include "shim/supervise/inject.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "shim/core/raw.h"

#ifndef PTRACE_GETSIGMASK
#define PTRACE_GETSIGMASK 0x420a
#define PTRACE_SETSIGMASK 0x420b
#endif

namespace penstock {
namespace {

constexpr uint64_t kAllSignals = ~0ull;
constexpr int kSyscallStop = SIGTRAP | 0x80;
constexpr long kOptions =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;

#if defined(__x86_64__)
using Registers = user_regs_struct;
constexpr uint64_t kCallBytes = 2;
constexpr uint32_t kCallInstruction = 0x050f, kCallMask = 0xffff;
auto& Pc(Registers& r) { return r.rip; }
uint64_t Sp(const Registers& r) { return r.rsp; }
long Result(const Registers& r) { return static_cast<long>(r.rax); }
void SetResult(Registers& r, long value) {
  r.rax = static_cast<unsigned long long>(value);
  r.orig_rax = ~0ull;  // no restart
}
void SetCall(Registers& r, long number, const long (&a)[6]) {
  r.rax = static_cast<unsigned long long>(number);
  r.orig_rax = ~0ull;
  r.rdi = static_cast<unsigned long long>(a[0]);
  r.rsi = static_cast<unsigned long long>(a[1]);
  r.rdx = static_cast<unsigned long long>(a[2]);
  r.r10 = static_cast<unsigned long long>(a[3]);
  r.r8 = static_cast<unsigned long long>(a[4]);
  r.r9 = static_cast<unsigned long long>(a[5]);
}
constexpr uint64_t kRedZone = 128;
// A call leaves its arguments as they were; the mark in the last one was ours.
void RestoreMark(Registers& r, const Registers& saved) { r.r9 = saved.r9; }
#elif defined(__aarch64__)
using Registers = user_regs_struct;
constexpr uint64_t kCallBytes = 4;
constexpr uint32_t kCallInstruction = 0xd4000001, kCallMask = 0xffffffff;
auto& Pc(Registers& r) { return r.pc; }
uint64_t Sp(const Registers& r) { return r.sp; }
long Result(const Registers& r) { return static_cast<long>(r.regs[0]); }
void SetResult(Registers& r, long value) { r.regs[0] = static_cast<unsigned long long>(value); }
void SetCall(Registers& r, long number, const long (&a)[6]) {
  r.regs[8] = static_cast<unsigned long long>(number);
  for (int i = 0; i < 6; ++i) r.regs[i] = static_cast<unsigned long long>(a[i]);
}
constexpr uint64_t kRedZone = 0;
void RestoreMark(Registers& r, const Registers& saved) { r.regs[5] = saved.regs[5]; }
#endif

long Trace(long request, pid_t thread, uint64_t address, const void* data) {
  return Raw(SYS_ptrace, request, thread, address, data);
}

bool Get(pid_t thread, Registers* out) {
  iovec part = {out, sizeof *out};
  return Trace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &part) == 0;
}

bool Set(pid_t thread, const Registers& in) {
  iovec part = {const_cast<Registers*>(&in), sizeof in};
  return Trace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &part) == 0;
}

}  // namespace

// Waits for the next stop of the thread. False: it is gone. An exec by another thread than a
// process's first gives it that one's number, so every tracee of this server is waited for: there
// is one.
bool Injection::Await(int* status) {
  for (;;) {
    long pid = Raw(SYS_wait4, -1, status, __WALL | __WNOTHREAD, nullptr);
    if (pid == -EINTR) continue;
    if (pid < 0) return false;
    thread_ = static_cast<pid_t>(pid);
    if (WIFSTOPPED(*status)) return true;
    if (WIFEXITED(*status) || WIFSIGNALED(*status)) return false;
  }
}

bool Injection::Begin() {
  static_assert(sizeof(Registers) <= sizeof registers_);
  if (Trace(PTRACE_SEIZE, thread_, 0, reinterpret_cast<void*>(kOptions)) != 0) return false;
  Trace(PTRACE_INTERRUPT, thread_, 0, nullptr);
  // The stop comes on the way out of the call, which needs an answer for that. (Where a signal may
  // break a reported call off, the interrupt has done so, and nobody hears this.)
  PstAnswer(call_, 0);
  int status;
  if (!Await(&status)) return true;  // killed: End has nothing to do
  stopped_ = true;
  Registers now;
  uint32_t instruction = 0;
  bool ready = Get(thread_, &now) &&
               Trace(PTRACE_GETSIGMASK, thread_, sizeof signals_, &signals_) == 0 &&
               PstReadMemory(call_, Pc(now) - kCallBytes, &instruction, kCallBytes) == 0 &&
               (instruction & kCallMask) == kCallInstruction &&
               Trace(PTRACE_SETSIGMASK, thread_, sizeof kAllSignals, &kAllSignals) == 0;
  memcpy(registers_, &now, sizeof now);
  if (!ready) {
    SetResult(now, -EACCES);
    Set(thread_, now);
    Release();
  }
  return true;
}

bool Injection::Step() {
  for (;;) {
    if (Trace(PTRACE_SYSCALL, thread_, 0, nullptr) != 0) return false;
    int status;
    if (!Await(&status)) {
      stopped_ = false;
      return false;
    }
    if (WSTOPSIG(status) == kSyscallStop) return true;
    if (WSTOPSIG(status) == SIGSTOP && status >> 16 == 0) held_stop_ = true;
  }
}

long Injection::Do(long number, long a, long b, long c, long d, long e) {
  if (!stopped_) return -ESRCH;
  Registers now;
  memcpy(&now, registers_, sizeof now);
  SetCall(now, number, {a, b, c, d, e, kRawMark});
  Pc(now) -= kCallBytes;
  if (!Set(thread_, now) || !Step() || !Step() || !Get(thread_, &now)) return -ESRCH;
  return Result(now);
}

// Runs the call until it has made a child that has stopped at its first step. False: it has made
// none; the thread stands behind the call, or is gone.
bool Injection::AwaitClone(pid_t* child) {
  unsigned long made = 0;
  pid_t arrived = 0;
  if (!Step() || Trace(PTRACE_SYSCALL, thread_, 0, nullptr) != 0) return false;
  while (made == 0 || arrived != static_cast<pid_t>(made)) {
    int status;
    long pid = Raw(SYS_wait4, -1, &status, __WALL | __WNOTHREAD, nullptr);
    if (pid == -EINTR) continue;
    if (pid < 0) return stopped_ = false;
    if (pid != thread_) {
      arrived = static_cast<pid_t>(pid);
      if (!WIFSTOPPED(status)) return false;  // killed before it began
      continue;
    }
    if (!WIFSTOPPED(status)) return stopped_ = false;
    if (WSTOPSIG(status) == kSyscallStop) return false;
    int event = status >> 16;
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
      Trace(PTRACE_GETEVENTMSG, thread_, 0, &made);
      continue;
    }
    if (WSTOPSIG(status) == SIGSTOP && event == 0) held_stop_ = true;
    if (Trace(PTRACE_SYSCALL, thread_, 0, nullptr) != 0) return false;
  }
  *child = arrived;
  return true;
}

void Injection::Introduce(pid_t child, pid_t tracer) {
  Registers before, now, saved;
  memcpy(&saved, registers_, sizeof saved);
  if (!Get(child, &before)) return;
  now = before;
  SetCall(now, SYS_prctl, {PR_SET_PTRACER, tracer, 0, 0, 0, kRawMark});
  Pc(now) -= kCallBytes;
  Set(child, now);
  for (int stops = 0; stops < 2;) {
    int status;
    if (Trace(PTRACE_SYSCALL, child, 0, nullptr) != 0) return;
    long pid = Raw(SYS_wait4, child, &status, __WALL, nullptr);
    if (pid < 0 || !WIFSTOPPED(status)) return;
    stops += WSTOPSIG(status) == kSyscallStop ? 1 : 0;
  }
  SetResult(before, Result(before));
  RestoreMark(before, saved);
  Set(child, before);
  Trace(PTRACE_SETSIGMASK, child, sizeof signals_, &signals_);
  Trace(PTRACE_DETACH, child, 0, nullptr);
}

void Injection::CloneFor(pid_t tracer) {
  if (!stopped_) return;
  Registers now, saved;
  memcpy(&saved, registers_, sizeof saved);
  now = saved;
  long arguments[6];
  for (int i = 0; i < 5; ++i) arguments[i] = static_cast<long>(call_.args[i]);
  arguments[5] = kRawMark;
  SetCall(now, call_.number, arguments);
  Pc(now) -= kCallBytes;
  pid_t child;
  if (Set(thread_, now) && AwaitClone(&child)) Introduce(child, tracer);
  if (!stopped_) return;
  // The result is the call's own, which a vfork's is not through with yet.
  if (Get(thread_, &now)) {
    RestoreMark(now, saved);
    Set(thread_, now);
  }
  Trace(PTRACE_SETSIGMASK, thread_, sizeof signals_, &signals_);
  Release();
}

uint64_t Injection::stack() const {
  Registers now;
  memcpy(&now, registers_, sizeof now);
  return Sp(now) - kRedZone;
}

void Injection::Release() {
  if (!stopped_) return;
  stopped_ = false;
  Trace(PTRACE_DETACH, thread_, 0,
        reinterpret_cast<void*>(static_cast<long>(held_stop_ ? SIGSTOP : 0)));
}

void Injection::End(long result) {
  if (!stopped_) return;
  Registers now;
  memcpy(&now, registers_, sizeof now);
  SetResult(now, result);
  Set(thread_, now);
  Trace(PTRACE_SETSIGMASK, thread_, sizeof signals_, &signals_);
  Release();
}

void Injection::EndExecuted() {
  if (!stopped_) return;
  Trace(PTRACE_SETSIGMASK, thread_, sizeof signals_, &signals_);
  Release();
}

}  // namespace penstock
