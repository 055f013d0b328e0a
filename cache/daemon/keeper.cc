#include "cache/daemon/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "cache/session/socket_files.h"
#include "transport/base/clock.h"
#include "transport/base/environment.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kLongLifeNs = 5 * kNsPerSecond;  // who lived for so long was well
constexpr int kFirstPauseMs = 10;
constexpr int kLastPauseMs = 1'000;
constexpr int kMostShortLives = 100;  // in a row: then it is not worth another try

class Keeper {
 public:
  explicit Keeper(const KeptSidecar& kept) : kept_(kept) {}
  int Run();

 private:
  pid_t Start();
  void PassOn(int number) const;
  bool Again(int signal_number);
  void Pause(int pause_ms);

  const KeptSidecar& kept_;
  sigset_t awaited_{};
  std::int64_t started_ns_ = 0;
  int starts_ = 0;
  int short_lives_ = 0;
  bool asked_to_end_ = false;
};

// The program of whoever served last: an upgrade may have brought another one.
std::string ProgramNow(const KeptSidecar& kept) {
  const LockHolder holder = ReadLockHolder(kept.lock_path);
  return !holder.program.empty() && access(holder.program.c_str(), X_OK) == 0 ? holder.program
                                                                              : kept.program;
}

pid_t Keeper::Start() {
  const std::string program = starts_ == 0 ? kept_.program : ProgramNow(kept_);
  std::vector<std::string> words{program};
  words.insert(words.end(), kept_.arguments.begin(), kept_.arguments.end());
  if (starts_ == 0 && kept_.ready_fd >= 0) {
    words.emplace_back("--ready-fd");
    words.push_back(std::to_string(kept_.ready_fd));
  }
  std::vector<std::string> environment = EnvironmentWithSecrets();
  std::vector<char*> argv, env;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (std::string& variable : environment) env.push_back(variable.data());
  env.push_back(nullptr);
  started_ns_ = SystemClock::Get().NowNs();
  const pid_t child = fork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(program.c_str(), argv.data(), env.data());
    log::Error("{} cannot be started: {}", program, strerror(errno));
    _exit(1);
  }
  if (starts_++ == 0 && kept_.ready_fd >= 0)
    close(kept_.ready_fd);  // who waits there must see its end
  return child;
}

// To the process that serves now: it may have taken over from the one that we started.
void Keeper::PassOn(int number) const {
  const LockHolder holder = ReadLockHolder(kept_.lock_path);
  if (holder.pid > 0) (void)kill(static_cast<pid_t>(holder.pid), number);
}

// Sleeps, but hears a signal that ends it.
void Keeper::Pause(int pause_ms) {
  const timespec pause{pause_ms / 1000, static_cast<long>(pause_ms % 1000) * kNsPerMs};
  const int number = sigtimedwait(&awaited_, nullptr, &pause);
  if (number > 0 && number != SIGCHLD) asked_to_end_ = true;
}

// After a death by signal: true if there is to be another life.
bool Keeper::Again(int signal_number) {
  if (SystemClock::Get().NowNs() - started_ns_ >= kLongLifeNs) short_lives_ = 0;
  if (asked_to_end_) return false;
  if (++short_lives_ > kMostShortLives) {
    log::Error(
        "the sidecar was ended by signal {} ({}) again and again; it is not started any more",
        signal_number, strsignal(signal_number));
    return false;
  }
  int pause_ms = kFirstPauseMs;
  for (int i = 1; i < short_lives_ && pause_ms < kLastPauseMs; ++i) pause_ms *= 2;
  log::Warning("the sidecar was ended by signal {} ({}); starting another one", signal_number,
               strsignal(signal_number));
  Pause(std::min(pause_ms, kLastPauseMs));
  return !asked_to_end_;
}

int Keeper::Run() {
  prctl(PR_SET_NAME, "penstock-keep");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigemptyset(&awaited_);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&awaited_, number);
  sigprocmask(SIG_BLOCK, &awaited_, nullptr);
  if (kept_.running > 0)
    ++starts_;
  else if (Start() < 0)
    return 1;
  bool died = false;  // by a signal, while another one was there
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid < 0) return 1;
    if (pid == 0) {
      const int number = sigwaitinfo(&awaited_, nullptr);
      if (number > 0 && number != SIGCHLD) {
        asked_to_end_ = true;
        PassOn(number);
      }
      continue;
    }
    siginfo_t other{};
    if (waitid(P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) == 0) {
      died |= WIFSIGNALED(status);  // one that takes over is there: it serves, or ends as well
      continue;
    }
    const bool orphaned =
        std::exchange(died, false) && WIFEXITED(status) && WEXITSTATUS(status) != 0;
    if (WIFEXITED(status) && !orphaned) return WEXITSTATUS(status);
    if (!Again(orphaned ? SIGKILL : WTERMSIG(status)))
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (Start() < 0) return 1;
  }
}

}  // namespace

int KeepSidecar(const KeptSidecar& kept) { return Keeper(kept).Run(); }

}  // namespace penstock::cache
