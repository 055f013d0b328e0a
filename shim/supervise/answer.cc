#include "shim/supervise/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shim/supervise/numbers.h"
#include "shim/supervise/probe.h"

namespace penstock {
namespace {

int I(uint64_t value) { return static_cast<int>(value); }
auto U(uint64_t value) { return static_cast<unsigned>(value); }

Outcome Dispatch(const Call& call) {
  const uint64_t* a = call.args;
  switch (call.number) {
#ifdef SYS_open
    case SYS_open:
      return PstAnswerOpen(call, AT_FDCWD, a[0], I(a[1]), U(a[2]));
    case SYS_creat:
      return PstAnswerOpen(call, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, U(a[1]));
    case SYS_stat:
      return PstAnswerStat(call, AT_FDCWD, a[0], a[1], 0);
    case SYS_lstat:
      return PstAnswerStat(call, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW);
    case SYS_access:
      return PstAnswerAccess(call, AT_FDCWD, a[0], I(a[1]), 0);
    case SYS_readlink:
      return PstAnswerReadlink(call, AT_FDCWD, a[0], a[1], a[2]);
    case SYS_getdents:
      return PstAnswerEntries(call, true);
#endif
    case SYS_openat:
      return PstAnswerOpen(call, I(a[0]), a[1], I(a[2]), U(a[3]));
    case SYS_openat2:
      return PstAnswerOpen2(call);
    case SYS_newfstatat:
      return PstAnswerStat(call, I(a[0]), a[1], a[2], I(a[3]));
    case SYS_fstat:
      return PstAnswerStatFd(call, I(a[0]), a[1]);
    case SYS_statx:
      return PstAnswerStatx(call);
    case SYS_faccessat:
      return PstAnswerAccess(call, I(a[0]), a[1], I(a[2]), 0);
    case SYS_faccessat2:
      return PstAnswerAccess(call, I(a[0]), a[1], I(a[2]), I(a[3]));
    case SYS_readlinkat:
      return PstAnswerReadlink(call, I(a[0]), a[1], a[2], a[3]);
    case SYS_statfs:
      return PstAnswerStatfs(call);
    case SYS_getdents64:
      return PstAnswerEntries(call, false);
    case SYS_getcwd:
      return PstAnswerGetcwd(call);
    case SYS_chdir:
      return PstAnswerChdir(call);
    case SYS_execve:
      return PstAnswerExec(call, AT_FDCWD, a[0], a[1], a[2]);
    case SYS_execveat:
      return PstAnswerExec(call, I(a[0]), a[1], a[2], a[3]);
#ifdef SYS_fork
    case SYS_fork:
    case SYS_vfork:
#endif
    case SYS_clone:
    case SYS_clone3:
      return PstAnswerFork(call);
    default:
      return PstAnswerChange(call);
  }
}

}  // namespace

void PstServe(const Call& call) {
  Outcome outcome = Dispatch(call);
  switch (outcome.kind) {
    case Outcome::kPass:
      PstLetPass(call);
      break;
    case Outcome::kValue:
      PstAnswer(call, outcome.value);
      break;
    case Outcome::kGiven:
      break;
  }
}

}  // namespace penstock
