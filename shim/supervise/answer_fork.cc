// fork and its kin under Yama: the child names the guard before it runs (yama.h).

#include <sched.h>
#include <sys/syscall.h>

#include "shim/supervise/answer.h"
#include "shim/supervise/guard.h"
#include "shim/supervise/inject.h"

namespace penstock {

Outcome PstAnswerFork(const Call& call) {
  uint64_t flags = 0;
  if (call.number == SYS_clone) flags = call.args[0];
  if (call.number == SYS_clone3 && PstReadMemory(call, call.args[0], &flags, sizeof flags) != 0)
    return kPassOn;
  if ((flags & CLONE_THREAD) != 0) return kPassOn;
  Injection injection(call);
  if (!injection.Begin()) return kPassOn;
  injection.CloneFor(g_guard_pid);
  return kGivenAlready;
}

}  // namespace penstock
