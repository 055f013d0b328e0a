#include "cache/cli/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cache/admin/client.h"
#include "cache/cli/command.h"
#include "cache/job/fd.h"
#include "cache/session/socket_files.h"
#include "transport/base/clock.h"

namespace penstock::cli {
namespace {

using cache::AdminClient;
using cache::AdminProblem;
using cache::Fd;
using cache::Json;

constexpr std::int64_t kStartMs = 60'000;  // a large arena takes a while to be set up
constexpr std::int64_t kProbeMs = 5'000;   // how long we wait to hear of a bad origin
constexpr off_t kLogMaxBytes = 16 << 20;

// What there is behind the socket.
enum class Answer { kThere, kNobody, kEnding, kRefused };

Answer AskToStay(const cache::Config& config, std::string* problem) {
  auto client = AdminClient::Connect(config.sidecar.socket, kConnectMs, /*announce=*/true);
  if (!client) {
    *problem = client.error().text;
    if (client.error().kind == AdminProblem::Kind::kNobody) return Answer::kNobody;
    if (client.error().errno_value == EBUSY) return Answer::kEnding;
    if (client.error().kind == AdminProblem::Kind::kBroken) return Answer::kEnding;
    return Answer::kRefused;
  }
  auto reply = client->Ask({{"op", "hold"}}, kAnswerMs);
  if (reply && cache::JsonBool(*reply, "ok")) return Answer::kThere;
  *problem = reply ? cache::JsonString(*reply, "error") : reply.error().text;
  return Answer::kEnding;
}

// The sidecar's environment: the caller's, with its credentials, without our own preload.
void CleanEnvironment() {
  const std::string shim = FindShim();
  const char* preload = getenv("LD_PRELOAD");
  if (preload != nullptr) {
    std::string kept;
    const std::string all = preload;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = std::min(all.find_first_of(": ", at), all.size());
      const std::string one = all.substr(at, end - at);
      if (!one.empty() && one != shim && !one.ends_with("/libpenstock.so"))
        kept += (kept.empty() ? "" : ":") + one;
      at = end + 1;
    }
    if (kept.empty())
      unsetenv("LD_PRELOAD");
    else
      setenv("LD_PRELOAD", kept.c_str(), 1);
  }
  for (const char* name : {"PENSTOCK_SOCKET", "PENSTOCK_PATHS", "PENSTOCK_WAIT"}) unsetenv(name);
}

// In the grandchild: becomes the sidecar, in a session of its own, with `log` as its output.
// Reports an errno on `ready` if it can't.
[[noreturn]] void BecomeSidecar(const std::string& program, const std::string& config, int log,
                                int ready) {
  CleanEnvironment();
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(log, 1);
  dup2(log, 2);
  // 3 is the pipe on which it says that it listens; everything above goes.
  if (ready != 3) dup2(ready, 3);
  fcntl(3, F_SETFD, 0);
  close_range(4, ~0u, 0);
  if (chdir("/") != 0) _exit(1);
  const char* argv[] = {program.c_str(), "-c", config.c_str(), "--linger", "--keep",
                        "--ready-fd",    "3",  nullptr};
  execv(program.c_str(), const_cast<char**>(argv));
  dprintf(2, "%s cannot be started: %s\n", program.c_str(), strerror(errno));
  _exit(127);
}

// Starts the sidecar detached from us: not our child (the program that we become would see it die),
// not of our session. Gives the end of the pipe that tells when it listens.
Fd Spawn(const std::string& program, const std::string& config, int log) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return {};
  Fd read_end(pipe_fds[0]);
  Fd write_end(pipe_fds[1]);
  const pid_t child = fork();
  if (child < 0) return {};
  if (child == 0) {
    setsid();
    const pid_t grandchild = fork();
    if (grandchild == 0) BecomeSidecar(program, config, log, write_end.get());
    _exit(grandchild < 0 ? 1 : 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return {};
  return read_end;
}

// Prints what the sidecar wrote into its log since `from`.
void PrintLogSince(const std::string& path, off_t from) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(64 << 10, '\0');
  const ssize_t n = fd.valid() ? pread(fd.get(), text.data(), text.size(), from) : -1;
  if (n <= 0) return;
  text.resize(static_cast<std::size_t>(n));
  fmt::print(stderr, "{}{}", text, text.ends_with('\n') ? "" : "\n");
}

bool StartAndWait(const cache::Config& config) {
  const std::string program = FindSidecarProgram();
  if (program.empty()) {
    Complain("penstockd is not beside this program: the installation is not whole");
    return false;
  }
  const std::string log_path = config.sidecar.socket + ".log";
  Fd log(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log.valid()) {
    Complain(fmt::format("{} cannot be written: {}", log_path, strerror(errno)));
    return false;
  }
  struct stat status{};
  if (fstat(log.get(), &status) == 0 && status.st_size > kLogMaxBytes &&
      ftruncate(log.get(), 0) == 0)
    status.st_size = 0;
  Fd ready = Spawn(program, config.file, log.get());
  if (!ready.valid()) {
    Complain(fmt::format("{} cannot be started: {}", program, strerror(errno)));
    return false;
  }
  pollfd entry{ready.get(), POLLIN, 0};
  int n = 0;
  const std::int64_t deadline_ms = NowMs() + kStartMs;
  do {
    n = poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(deadline_ms - NowMs(), 0)));
  } while (n < 0 && errno == EINTR);
  char word = 0;
  if (n > 0 && read(ready.get(), &word, 1) == 1) return true;
  Complain(n == 0 ? fmt::format("the sidecar did not listen within {} s; its log is {}",
                                kStartMs / 1000, log_path)
                  : fmt::format("the sidecar did not start; its log {} says:", log_path));
  PrintLogSince(log_path, status.st_size);
  return false;
}

// Waits a little for the sidecar's first look at the origins, to say early what is wrong with one.
void ReportOrigins(const cache::Config& config) {
  auto client = AdminClient::Connect(config.sidecar.socket, kConnectMs);
  if (!client) return;
  const std::int64_t deadline_ms = NowMs() + kProbeMs;
  for (int wait_ms = 1;; wait_ms = std::min(wait_ms * 2, 50)) {
    auto reply = client->Ask({{"op", "status"}}, kAnswerMs);
    if (!reply) return;
    if (cache::JsonBool(*reply, "probed") || NowMs() >= deadline_ms) {
      for (const std::string& problem : cache::JsonStrings(*reply, "problems")) Complain(problem);
      return;
    }
    poll(nullptr, 0, wait_ms);
  }
}

}  // namespace

bool EnsureSidecar(const cache::Config& config, bool start) {
  std::string problem;
  Answer answer = AskToStay(config, &problem);
  if (answer == Answer::kThere) return true;
  if (answer == Answer::kRefused || !start) {
    Complain(problem);
    return false;
  }
  std::string explanation;
  const bool others = config.sidecar.allow_any_uid || config.sidecar.allow_uids.size() > 1 ||
                      !config.sidecar.admin_uids.empty();
  if (!cache::PrepareSocketFolder(config.sidecar.socket, others, &explanation)) {
    Complain(explanation);
    return false;
  }
  const std::int64_t deadline_ms = NowMs() + kStartMs;
  auto lock = cache::FileLock::Acquire(config.sidecar.socket + ".start", kStartMs);
  if (!lock) {
    Complain(fmt::format("{}.start: {}", config.sidecar.socket,
                         lock.error().code == Code::kLimit
                             ? "another `penstock run` has been starting a sidecar for a minute"
                             : strerror(lock.error().errno_value)));
    return false;
  }
  // One that is about to end gives way to the next.
  while ((answer = AskToStay(config, &problem)) == Answer::kEnding && NowMs() < deadline_ms)
    poll(nullptr, 0, 20);
  if (answer == Answer::kThere) return true;
  if (answer != Answer::kNobody) {
    Complain(problem);
    return false;
  }
  // The keeper of one that was killed may have been faster.
  if (!StartAndWait(config) && AskToStay(config, &problem) != Answer::kThere) return false;
  if (AskToStay(config, &problem) != Answer::kThere) {
    Complain(problem);
    return false;
  }
  ReportOrigins(config);
  return true;
}

}  // namespace penstock::cli
