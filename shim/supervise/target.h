#pragma once

// A system call of a supervised program that waits for its answer, and the program's memory and
// names as the guard sees them from outside.
//
// Thread safety: one thread serves one call. Whatever is read may change behind our back (another
// thread of the program): it is copied once, and only the copy is used. Errors are -errno. Nothing
// here waits.

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/abi/abi.h"

namespace penstock {

struct Call {
  int listener;
  uint64_t id;   // of the notification
  pid_t thread;  // in the guard's pid namespace
  long number;
  uint64_t args[6];
};

// Is the call still waiting, so that `thread` is still who made it?
bool PstCallWaits(const Call& call);

// Reads exactly `bytes` of the caller's memory. 0; -EFAULT; -EPERM where the kernel does not let
// us.
int PstReadMemory(const Call& call, uint64_t from, void* to, size_t bytes);
// Reads a path with its NUL into `to` (PST_PATH_MAX bytes). Its length; -EFAULT, -ENAMETOOLONG,
// -EPERM.
int PstReadPath(const Call& call, uint64_t from, char* to);
int PstWriteMemory(const Call& call, uint64_t to, const void* from, size_t bytes);

// What the kernel shows for /proc/<thread>/<what>, NUL-terminated, into `to` (PST_PATH_MAX bytes).
// Length.
int PstCallerLink(const Call& call, const char* what, char* to);
// "fd/<number>" into `to` (at least 16 bytes).
void PstFdName(int fd, char* to);
// Opens /proc/<thread>/<what>. A descriptor, or -errno.
int PstOpenCallerFile(const Call& call, const char* what, int flags);

// Puts `fd` into the caller's table. Its number there, or -errno. `answers`: that number is the
// call's answer, given in the same step.
int PstGiveFd(const Call& call, int fd, bool cloexec, bool answers);

// Answers: with a value (negative: -errno), or by letting the kernel do the call.
void PstAnswer(const Call& call, long value);
void PstLetPass(const Call& call);

// Asks the kernel to wake whom an answer is for on the processor that gives it (Linux 6.6): it
// takes half the time.
void PstPreferSameProcessor(int listener);

}  // namespace penstock
