#include "shim/supervise/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/process.h"
#include "shim/core/raw.h"
#include "shim/core/time.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/channel.h"
#include "shim/supervise/target.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

namespace penstock {

bool g_guard_strict;

namespace {

constexpr int kIdleServers = 2;    // more than these end when they have nothing to do
constexpr uint64_t kWakeHere = 1;  // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6

int g_listener;
int g_idle;     // servers that wait for a call
int g_servers;  // all of them

using CreateThread = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
CreateThread g_create_thread;

void* Serve(void*);

bool StartServer() {
  pthread_t thread;
  if (__atomic_add_fetch(&g_servers, 1, __ATOMIC_RELAXED) <= kMaxServers &&
      g_create_thread != nullptr && g_create_thread(&thread, nullptr, Serve, nullptr) == 0)
    return true;
  __atomic_sub_fetch(&g_servers, 1, __ATOMIC_RELAXED);
  return false;
}

bool Take(Call* call) {
  // The kernel's structure may be longer than the one we know.
  union {
    seccomp_notif notification;
    char room[512];
  };
  memset(room, 0, sizeof room);
  long err = Raw(SYS_ioctl, g_listener, SECCOMP_IOCTL_NOTIF_RECV, &notification);
  if (err == -ENOENT) PstSleepNs(1'000'000);  // who called is gone; perhaps everybody
  if (err != 0) return false;
  call->listener = g_listener;
  call->id = notification.id;
  call->thread = static_cast<pid_t>(notification.pid);
  call->number = notification.data.nr;
  for (int i = 0; i < 6; ++i) call->args[i] = notification.data.args[i];
  return true;
}

void* Serve(void*) {
  for (;;) {
    __atomic_add_fetch(&g_idle, 1, __ATOMIC_ACQ_REL);
    Call call;
    bool taken = Take(&call);
    if (__atomic_sub_fetch(&g_idle, 1, __ATOMIC_ACQ_REL) == 0 && taken) StartServer();
    if (taken) PstServe(call);
    if (__atomic_load_n(&g_idle, __ATOMIC_ACQUIRE) >= kIdleServers &&
        __atomic_load_n(&g_servers, __ATOMIC_RELAXED) > kIdleServers) {
      __atomic_sub_fetch(&g_servers, 1, __ATOMIC_RELAXED);
      return nullptr;
    }
  }
}

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

// Away from the program: no signal, no terminal, no folder, none of its descriptors.
void Detach(int channel) {
  uint64_t all = ~0ull;
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8);
  struct sigaction ignore;
  memset(&ignore, 0, sizeof ignore);
  ignore.sa_handler = SIG_IGN;
  constexpr int kIgnored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP,
                              SIGTTIN, SIGTTOU, SIGXCPU, SIGALRM, SIGUSR1, SIGUSR2};
  for (int number : kIgnored) sigaction(number, &ignore, nullptr);
  Raw(SYS_setsid);
  Raw(SYS_prctl, PR_SET_NAME, "penstock-guard", 0, 0, 0);
  Raw(SYS_umask, 0);
  if (channel > 0) Raw(SYS_close_range, 0, channel - 1, 0);
  Raw(SYS_close_range, channel + 1, ~0u, 0);
  // The standard numbers stay taken, so that nothing of ours comes to lie there.
  while (open("/dev/null", O_RDWR) <= 2 && errno == 0) {
  }
  if (chdir("/") != 0) return;
}

CreateThread FindCreateThread() {
  auto* found = reinterpret_cast<CreateThread>(FindNext("pthread_create"));
  if (found == nullptr &&
      real.dlopen("libpthread.so.0", 2) != nullptr)  // glibc before 2.34; RTLD_NOW
    found = reinterpret_cast<CreateThread>(FindNext("pthread_create"));
  return found;
}

}  // namespace

void PstGuard(int channel, bool strict) {
  PstAfterForkChild();
  g_guard_strict = strict;
  Detach(channel);
  RaiseLimits();
  g_create_thread = FindCreateThread();
  g_listener = PstReceiveListener(channel);
  if (g_listener < 0) Raw(SYS_exit_group, 0);
  g_open_real = true;
  Raw(SYS_ioctl, g_listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, kWakeHere);
  if (!StartServer()) Raw(SYS_exit_group, 1);
  PstSayReady(channel);
  Raw(SYS_close, channel);
  // The last process with the filter is gone, when the listener hangs up.
  for (;;) {
    pollfd state = {g_listener, 0, 0};
    long n = Raw(SYS_ppoll, &state, 1, nullptr, nullptr, 8);
    if (n > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) Raw(SYS_exit_group, 0);
  }
}

void PstGuardSays(int thread, const char* line, bool* once) {
  if (__atomic_exchange_n(once, true, __ATOMIC_RELAXED)) return;
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
