#include "shim/calls/spawn_plan.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/calls/landing.h"
#include "shim/calls/support.h"
#include "shim/core/fork_gate.h"
#include "shim/core/links.h"
#include "shim/core/process.h"
#include "shim/core/raw.h"
#include "shim/core/signals.h"

namespace penstock {

namespace {

struct Step {
  Step* next;
  SpawnStep what;
  int fd, other;  // kOpen: flags; kDup2: the new number
  unsigned mode;
  char path[];
};

}  // namespace

struct SpawnPlan {
  SpawnPlan* next;
  const posix_spawn_file_actions_t* actions;
  Step* first;
  Step* last;
};

namespace {

SpawnPlan* g_plans;  // few at a time; a fork waits while somebody holds the list
uint32_t g_held;

class Held {
 public:
  Held() : signals_(PstHoldEnter()) {
    while (__atomic_exchange_n(&g_held, 1u, __ATOMIC_ACQUIRE) != 0) Raw(SYS_sched_yield);
  }
  ~Held() {
    __atomic_store_n(&g_held, 0u, __ATOMIC_RELEASE);
    PstHoldLeave(signals_);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  uint64_t signals_;
};

SpawnPlan* Find(const posix_spawn_file_actions_t* actions) {
  Held held;
  SpawnPlan* plan = g_plans;
  while (plan != nullptr && plan->actions != actions) plan = plan->next;
  return plan;
}

SpawnPlan* Make(const posix_spawn_file_actions_t* actions) {
  auto* plan = static_cast<SpawnPlan*>(calloc(1, sizeof(SpawnPlan)));
  if (plan == nullptr) return nullptr;
  plan->actions = actions;
  Held held;
  plan->next = g_plans;
  g_plans = plan;
  return plan;
}

// May this name lead to a covered file, now or where the child stands by then?
bool MayLead(const char* path) {
  PathBuffer buffer;
  Route route;
  const Cover cover = RouteOf(AT_FDCWD, path, &buffer, &route);
  if (cover != Cover::kNone || route.full != nullptr) return true;
  LinkedPath linked;
  return (PstMayLand() || real.access(path, F_OK) != 0) &&
         PstRouteThroughLinks(AT_FDCWD, path, true, &linked, &route);
}

// `moved`: steps before led elsewhere, and what lies there is not known here.
bool MayLead(const Step& step, bool moved) {
  if (step.what == SpawnStep::kOpen || step.what == SpawnStep::kChdir)
    return (moved && step.path[0] != '/') || MayLead(step.path);
  if (step.what != SpawnStep::kFchdir) return false;
  const FdKind kind = PstFdKindOf(step.fd);
  return kind == kFdDirectory || kind == kFdAncestor;
}

int OpenOnto(const Step& step) {
  close(step.fd);
  const int fd = open(step.path, step.other, step.mode);
  if (fd < 0 || fd == step.fd) return fd;
  const int result = dup2(fd, step.fd);
  close(fd);
  return result;
}

int Do(const Step& step) {
  switch (step.what) {
    case SpawnStep::kOpen:
      return OpenOnto(step);
    case SpawnStep::kClose: {
      struct rlimit limit;
      if (close(step.fd) == 0) return 0;
      // Not open is good enough, but a number must be one.
      return getrlimit(RLIMIT_NOFILE, &limit) == 0 && step.fd >= 0 &&
                     static_cast<rlim_t>(step.fd) < limit.rlim_cur
                 ? 0
                 : PstFail(EBADF);
    }
    case SpawnStep::kDup2: {
      if (step.fd != step.other) return dup2(step.fd, step.other);
      const int flags = fcntl(step.fd, F_GETFD);
      return flags < 0 ? -1 : fcntl(step.fd, F_SETFD, flags & ~FD_CLOEXEC);
    }
    case SpawnStep::kChdir:
      return chdir(step.path);
    case SpawnStep::kFchdir:
      return fchdir(step.fd);
    case SpawnStep::kCloseFrom:
      closefrom(step.fd);
      return 0;
    case SpawnStep::kForeground:
      return tcsetpgrp(step.fd, getpgrp());
  }
  return 0;
}

// The default for what the attributes name and for what has a handler, which is the parent's: it
// shall not run here once signals come in again.
void DefaultSignals(const sigset_t& wanted) {
  struct sigaction action = {};
  for (int number = 1; number < NSIG; ++number) {
    if (sigismember(&wanted, number) != 1 &&
        (sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_DFL ||
         action.sa_handler == SIG_IGN))
      continue;
    action = {};
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, nullptr);
  }
}

// As seteuid and setegid to the real ids, but for libc's signals to threads: the child has its
// parent's list of them, perhaps locked.
int ResetIds() {
  long err = Raw(SYS_setresgid, -1, getgid(), -1);
  if (err == 0) err = Raw(SYS_setresuid, -1, getuid(), -1);
  PstForgetIds();
  return err == 0 ? 0 : PstFail(static_cast<int>(-err));
}

// What else the attributes ask for before the actions.
int Attributes(const posix_spawnattr_t* attributes, short flags) {
  struct sched_param param;
  int policy = 0;
  pid_t group = 0;
  posix_spawnattr_getschedparam(attributes, &param);
  posix_spawnattr_getschedpolicy(attributes, &policy);
  posix_spawnattr_getpgroup(attributes, &group);
  if ((flags & POSIX_SPAWN_SETSCHEDULER) != 0) {
    if (sched_setscheduler(0, policy, &param) != 0) return -1;
  } else if ((flags & POSIX_SPAWN_SETSCHEDPARAM) != 0 && sched_setparam(0, &param) != 0) {
    return -1;
  }
  constexpr short kSetSid = 0x80;  // POSIX_SPAWN_SETSID
  if ((flags & kSetSid) != 0 && setsid() < 0) return -1;
  if ((flags & POSIX_SPAWN_SETPGROUP) != 0 && setpgid(0, group) != 0) return -1;
  return (flags & POSIX_SPAWN_RESETIDS) != 0 ? ResetIds() : 0;
}

struct Order {
  const SpawnPlan* plan;
  const char* program;
  bool search;
  const posix_spawnattr_t* attributes;
  char* const* argv;
  char* const* envp;
  uint64_t signals;  // the parent's mask
};

// In the child. Comes back with what went wrong.
int Execute(const Order& order) {
  short flags = 0;
  sigset_t defaults;
  sigemptyset(&defaults);
  if (order.attributes != nullptr) {
    posix_spawnattr_getflags(order.attributes, &flags);
    if ((flags & POSIX_SPAWN_SETSIGDEF) != 0)
      posix_spawnattr_getsigdefault(order.attributes, &defaults);
  }
  DefaultSignals(defaults);
  if (order.attributes != nullptr && Attributes(order.attributes, flags) != 0) return errno;
  for (const Step* step = order.plan->first; step != nullptr; step = step->next) {
    if (Do(*step) < 0) return errno;
  }
  uint64_t mask = order.signals;
  if ((flags & POSIX_SPAWN_SETSIGMASK) != 0) {
    sigset_t set;
    posix_spawnattr_getsigmask(order.attributes, &set);
    memcpy(&mask, &set, sizeof mask);
  }
  PstRestoreSignals(mask);
  if (order.search)
    execvpe(order.program, order.argv, order.envp);
  else
    execve(order.program, order.argv, order.envp);
  return errno;
}

}  // namespace

int SpawnNote(const posix_spawn_file_actions_t* actions, SpawnStep what, int fd, int other,
              const char* path, unsigned mode) {
  if (!g_config.active) return 0;
  KeepErrno keep;
  SpawnPlan* plan = Find(actions);
  if (plan == nullptr) plan = Make(actions);
  const size_t len = path != nullptr ? strlen(path) : 0;
  auto* step = plan != nullptr ? static_cast<Step*>(malloc(sizeof(Step) + len + 1)) : nullptr;
  if (step == nullptr) return ENOMEM;
  step->next = nullptr;
  step->what = what;
  step->fd = fd;
  step->other = other;
  step->mode = mode;
  memcpy(step->path, path != nullptr ? path : "", len + 1);
  (plan->last != nullptr ? plan->last->next : plan->first) = step;
  plan->last = step;
  return 0;
}

void SpawnForget(const posix_spawn_file_actions_t* actions) {
  if (PST_LIKELY(__atomic_load_n(&g_plans, __ATOMIC_ACQUIRE) == nullptr)) return;
  SpawnPlan* plan = nullptr;
  {
    Held held;
    SpawnPlan** at = &g_plans;
    while (*at != nullptr && (*at)->actions != actions) at = &(*at)->next;
    plan = *at;
    if (plan != nullptr) *at = plan->next;
  }
  if (plan == nullptr) return;
  KeepErrno keep;
  for (Step* step = plan->first; step != nullptr;) {
    Step* next = step->next;
    free(step);
    step = next;
  }
  free(plan);
}

const SpawnPlan* SpawnPlanOf(const posix_spawn_file_actions_t* actions) {
  if (actions == nullptr || !g_config.active) return nullptr;
  KeepErrno keep;
  const SpawnPlan* plan = Find(actions);
  bool moved = false;
  for (const Step* step = plan != nullptr ? plan->first : nullptr; step != nullptr;
       step = step->next) {
    if (MayLead(*step, moved)) return plan;
    moved |= step->what == SpawnStep::kChdir || step->what == SpawnStep::kFchdir;
  }
  return nullptr;
}

int SpawnByPlan(const SpawnPlan* plan, pid_t* pid_out, const char* program, bool search,
                const posix_spawnattr_t* attributes, char* const* argv, char* const* envp) {
  KeepErrno keep;
  const long page = Raw(SYS_mmap, nullptr, sizeof(int), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page < 0 && page > -4096) return static_cast<int>(-page);
  auto* failed = reinterpret_cast<int*>(page);
  if (MayHaveThreads()) RealResolveAll();
  Order order = {plan, program, search, attributes, argv, envp, 0};
  PstForkGateClose();
  PstBeforeFork();
  order.signals = PstBlockSignals();  // no handler of the program's runs in the child
  const long pid = real.syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) {
    PstAfterForkChild();
    __atomic_store_n(failed, Execute(order), __ATOMIC_RELEASE);
    Raw(SYS_exit_group, 127);
  }
  const int clone_err = pid < 0 ? errno : 0;
  PstForkGateOpen();
  PstRestoreSignals(order.signals);
  const int err = pid < 0 ? clone_err : __atomic_load_n(failed, __ATOMIC_ACQUIRE);
  Raw(SYS_munmap, failed, sizeof(int));
  if (pid > 0 && err != 0) {
    while (Raw(SYS_wait4, pid, nullptr, 0, nullptr) == -EINTR) {
    }
  }
  if (err == 0 && pid_out != nullptr) *pid_out = static_cast<pid_t>(pid);
  return err;
}

}  // namespace penstock
