// fork and its kin. What a child shares with its parent is in core/process.h; here are the calls.

#include <sched.h>
#include <pty.h>
#include <stdarg.h>
#include <unistd.h>
#include <wordexp.h>

#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/fork_gate.h"
#include "shim/core/path.h"
#include "shim/core/process.h"
#include "shim/core/raw.h"
#include "shim/core/view.h"

namespace penstock {
namespace {

template <class Call>
pid_t ForkAround(Call call) {
  if (MayHaveThreads()) RealResolveAll();
  if (PST_LIKELY(!g_config.active)) return call();
  PstForkGateClose();
  PstBeforeFork();
  pid_t pid = call();
  if (pid == 0) {
    KeepErrno keep;
    PstAfterForkChild();
  } else {
    PstForkGateOpen();
  }
  return pid;
}

// vfork of a covered program is a fork whose parent waits, as vfork's does, until the child has
// executed another program or is gone. (Sharing memory as well would need a table of numbers of the
// child's own.)
PST_COLD pid_t ForkAsVfork() {
  int ends[2];
  bool waits = Raw(SYS_pipe2, ends, O_CLOEXEC) == 0;
  if (waits) {
    // Out of the way of the numbers that the child expects.
    long high = Raw(SYS_fcntl, ends[1], F_DUPFD_CLOEXEC, 512);
    if (high >= 0) {
      Raw(SYS_close, ends[1]);
      ends[1] = static_cast<int>(high);
    }
  }
  pid_t pid = fork();
  if (!waits) return pid;
  KeepErrno keep;
  if (pid == 0) {
    Raw(SYS_close, ends[0]);
    return 0;
  }
  Raw(SYS_close, ends[1]);
  char nothing;
  while (pid > 0 && Raw(SYS_read, ends[0], &nothing, 1) == -EINTR) {
  }
  Raw(SYS_close, ends[0]);
  return pid;
}

// For functions of libc that fork inside: `call` comes back in the parent and in the child, and the child is
// told by its process number.
template <class Call>
int ForkInside(Call call) {
  if (MayHaveThreads()) RealResolveAll();
  if (PST_LIKELY(!g_config.active)) return call();
  PstForkGateClose();
  PstBeforeFork();
  long before = Raw(SYS_getpid);
  int result = call();
  KeepErrno keep;
  if (Raw(SYS_getpid) != before) {
    PstAfterForkChild();
  } else {
    PstForkGateOpen();
  }
  return result;
}

// libc has put something else onto the standard numbers.
void ForgetStandard() {
  for (int fd = 0; fd <= 2; ++fd) PstFdForget(fd);
}

// One table of ours belongs to one memory and one table of the kernel's. A child that borrows its
// parent's memory until it executes gets its own, as by vfork; any other mixture has real files.
int CloneFlags(int flags) {
  const bool memory = (flags & CLONE_VM) != 0, numbers = (flags & CLONE_FILES) != 0;
  if (memory == numbers) return flags;
  if (memory && (flags & CLONE_VFORK) != 0) return flags & ~CLONE_VM;
  OpenRealFromNow();
  return flags;
}

struct CloneStart {
  int (*function)(void*);
  void* argument;
};

int StartClone(void* data) {
  auto start = *static_cast<CloneStart*>(data);
  PstAfterForkChild();
  return start.function(start.argument);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT pid_t fork(void) {
  return ForkAround([] { return real.fork(); });
}

PST_EXPORT pid_t _Fork(void) {
  return ForkAround([] { return real._Fork(); });
}

// Without configuration this must be a jump to libc's vfork, with nothing of ours left on the stack
// that parent and child would both return through: a tail call, at every optimisation level.
PST_EXPORT __attribute__((optimize("O2", "omit-frame-pointer"))) pid_t vfork(void) {
  if (PST_UNLIKELY(g_config.active)) return ForkAsVfork();
  return real.vfork();
}

PST_EXPORT int clone(int (*function)(void*), void* stack, int flags, void* argument, ...) {
  va_list list;
  va_start(list, argument);
  auto* parent = va_arg(list, pid_t*);
  void* tls = va_arg(list, void*);
  auto* child = va_arg(list, pid_t*);
  va_end(list);
  if (PST_UNLIKELY(g_config.active)) flags = CloneFlags(flags);
  // Threads and children that share memory stay as they are: the tables are theirs too.
  if (PST_LIKELY(!g_config.active) || (flags & CLONE_VM) != 0)
    return real.clone(function, stack, flags, argument, parent, tls, child);
  CloneStart start = {function, argument};  // the child has its own copy of this frame
  PstForkGateClose();
  PstBeforeFork();
  int pid = real.clone(StartClone, stack, flags, &start, parent, tls, child);
  PstForkGateOpen();
  return pid;
}

// A read that hits makes no system call in which the thread could be ended.
PST_EXPORT int pthread_cancel(pthread_t thread) {
  if (PST_UNLIKELY(g_config.active))
    PstNoHotView(reinterpret_cast<void (*)()>(FindNext("pthread_testcancel")));
  return real.pthread_cancel(thread);
}

PST_EXPORT int daemon(int stay, int keep_streams) {
  int result = ForkInside([=] { return real.daemon(stay, keep_streams); });
  if (result != 0 || PST_LIKELY(!g_config.active)) return result;
  if (keep_streams == 0) ForgetStandard();
  if (stay == 0) PstCwdUnknown();
  return 0;
}

PST_EXPORT int forkpty(int* terminal, char* name, const struct termios* modes, const struct winsize* size) {
  int pid = ForkInside([=] { return real.forkpty(terminal, name, modes, size); });
  if (pid == 0) ForgetStandard();
  if (pid > 0) Fresh(*terminal);
  return pid;
}

// Commands in the words run in a shell, which inherits what is open.
PST_EXPORT int wordexp(const char* words, wordexp_t* out, int flags) {
  if (g_config.active && (flags & WRDE_NOCMD) == 0) PstBeforeFork();
  return real.wordexp(words, out, flags);
}
