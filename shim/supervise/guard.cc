#include "shim/supervise/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/process.h"
#include "shim/core/raw.h"
#include "shim/supervise/channel.h"
#include "shim/supervise/server.h"
#include "shim/supervise/target.h"

namespace penstock {

bool g_guard_strict;
pid_t g_guard_pid;

namespace {

constexpr int kMaxDeaths = 16;

// As many descriptors as we may have; what limits the program's use of the processor must not end
// us.
void RaiseLimits() {
  constexpr int kLimits[] = {RLIMIT_NOFILE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_DATA};
  for (int which : kLimits) {
    struct rlimit limit;
    if (Raw(SYS_prlimit64, 0, which, nullptr, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
      continue;
    limit.rlim_cur = limit.rlim_max;
    Raw(SYS_prlimit64, 0, which, &limit, nullptr);
  }
}

// Away from the program: no signal (but those that cannot be blocked), no terminal, no folder, none
// of its descriptors.
void Detach(int channel) {
  uint64_t all = ~0ull;
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8);
  Raw(SYS_setsid);
  Raw(SYS_prctl, PR_SET_NAME, "penstock-guard", 0, 0, 0);
  Raw(SYS_umask, 0);
  if (channel > 0) Raw(SYS_close_range, 0, channel - 1, 0);
  Raw(SYS_close_range, channel + 1, ~0u, 0);
  // The standard numbers stay taken, so that nothing of ours comes to lie there.
  for (int fd = 0; fd >= 0 && fd <= 2;) fd = open("/dev/null", O_RDWR);
  if (chdir("/") != 0) return;
}

bool HungUp(int listener) {
  pollfd state = {listener, 0, 0};
  timespec now = {};
  return Raw(SYS_ppoll, &state, 1, &now, nullptr, 8) > 0 && (state.revents & POLLHUP) != 0;
}

// The process that serves, as a child. Its pid, or -errno.
long StartServing(int listener, Taken* taken) {
  long pid = Raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid != 0) return pid;
  PstAfterForkChild();
  PstServeAll(listener, taken);
}

}  // namespace

void PstGuard(int channel, bool strict) {
  long program = Raw(SYS_getppid);
  PstAfterForkChild();
  g_guard_strict = strict;
  g_guard_pid = static_cast<pid_t>(Raw(SYS_getpid));
  g_open_real = true;
  Detach(channel);
  RaiseLimits();
  int listener = PstReceiveListener(channel);
  if (listener < 0) Raw(SYS_exit_group, 0);
  long memory = Raw(SYS_mmap, nullptr, kMaxServers * sizeof(Taken), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) Raw(SYS_exit_group, 1);
  auto* taken = reinterpret_cast<Taken*>(memory);
  PstPreferSameProcessor(listener);
  long server = StartServing(listener, taken);
  if (server < 0) Raw(SYS_exit_group, 1);
  Raw(SYS_close, channel);
  for (int deaths = 0; deaths < kMaxDeaths;) {
    int status = 0;
    long ended = Raw(SYS_wait4, server, &status, 0, nullptr);
    if (ended == -EINTR) continue;
    if (ended < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0) || HungUp(listener))
      Raw(SYS_exit_group, 0);
    ++deaths;
    PstGuardSays(static_cast<int>(program),
                 "the guard of static and Go programs has died and was started again");
    server = StartServing(listener, taken);
    if (server < 0) break;
  }
  PstGuardSays(static_cast<int>(program),
               "the guard of static and Go programs cannot be started again: their file calls fail "
               "with ENOSYS");
  Raw(SYS_exit_group, 1);
  __builtin_unreachable();
}

void PstGuardSays(int thread, const char* line) {
  Call call = {};
  call.thread = thread;
  int out = PstOpenCallerFile(call, "fd/2", O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK);
  if (out < 0) return;
  char text[512];
  size_t len = 0;
  const char* const parts[] = {"penstock: ", line, "\n"};
  for (const char* part : parts)
    for (; *part != '\0' && len < sizeof text; ++part) text[len++] = *part;
  Raw(SYS_write, out, text, len);
  Raw(SYS_close, out);
}

}  // namespace penstock
