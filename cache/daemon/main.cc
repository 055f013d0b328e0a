// penstockd: the sidecar in the foreground.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cache/base/test_point.h"
#include "cache/cli/arguments.h"
#include "cache/config/config.h"
#include "cache/config/version.h"
#include "cache/crash/crash_report.h"
#include "cache/daemon/handover.h"
#include "cache/daemon/keeper.h"
#include "cache/daemon/sidecar.h"
#include "cache/session/socket_files.h"
#include "transport/base/environment.h"
#include "transport/base/log.h"
#include "transport/base/thread.h"

namespace penstock::cache {
namespace {

constexpr const char* kFooter =
    "Runs until SIGTERM or SIGINT, or `penstock stop`; then answers what is in flight and exits "
    "0.\n"
    "Programs join by themselves: penstock run -c job.toml -- CMD... starts a sidecar when none\n"
    "answers; in containers run this one beside the program and give the program\n"
    "`penstock env -c job.toml`. Credentials come from the environment (AZURE_STORAGE_KEY, ...).\n"
    "A configuration to start from: penstock gen-config\n"
    "Exit codes: 0 ended as asked, 1 could not start, 2 wrong usage or configuration.";

struct Options {
  std::string config_file;
  bool keep = false;
  bool kept = false;  // a keeper is our parent
  int keep_pid = 0;   // --keep: it runs already
  int take_over = -1;
  SidecarOptions sidecar;
};

// Signals that mean the process are blocked in every thread; the loop reads them from a signalfd.
void PrepareSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

// As many descriptors as we may have.
std::uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before.rlim_cur;
}

// What malloc keeps for itself counts as ours: large blocks (a listing that is built) go back at
// once, and there are as many arenas as threads that allocate much.
void BoundMalloc() {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 2);
}

// Gives the successor what only one can have. False: it is dead.
bool HandOver(Handover* handover, std::string* problem) {
  TestPoint("old.before-take");
  if (!handover->successor.Give(handover->listener->socket_fd(), handover->listener->lock_fd())) {
    *problem = "it has ended";
  } else {
    TestPoint("old.taken");
    const HandoverMessage message = handover->successor.Await(kServingMs);
    TestPoint("old.serving");
    if (message.kind == HandoverKind::kServing) return true;
    *problem = message.text;
  }
  const Successor gone = std::move(handover->successor);  // dies here, before anything else is done
  return false;
}

KeptSidecar KeptAs(const Options& options, const Config& config) {
  KeptSidecar kept;
  kept.program = OwnProgram();
  kept.lock_path = config.sidecar.socket + ".lock";
  kept.arguments = {"-c", config.file, "--kept"};
  if (options.sidecar.linger) kept.arguments.emplace_back("--linger");
  return kept;
}

// Somebody started this process and waits for its end (a terminal, a container): it stays as the
// keeper of the new one. Where there is a keeper that one becomes its parent.
int AfterHandover(const Options& options, const Config& config, Handover& handover) {
  const pid_t pid = handover.successor.pid();
  log::Info("upgrade: process {} serves", pid);
  handover.successor.LetGo();
  handover.listener->Release();
  if (options.kept) return 0;
  std::vector<std::string> words = {handover.program, "-c",         config.file,
                                    "--keep",         "--keep-pid", std::to_string(pid)};
  if (options.sidecar.linger) words.emplace_back("--linger");
  std::vector<std::string> environment = EnvironmentWithSecrets();
  std::vector<char*> argv, env;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (std::string& variable : environment) env.push_back(variable.data());
  env.push_back(nullptr);
  execve(handover.program.c_str(), argv.data(), env.data());
  KeptSidecar kept = KeptAs(options, config);
  kept.running = pid;
  return KeepSidecar(kept);
}

int Serve(const Options& options) {
  auto config = LoadConfig(options.config_file);
  if (!config) {
    for (const ConfigError& error : config.error())
      fmt::print(stderr, "penstockd: {}\n", error.ToString());
    return 2;
  }
  log::SetLevelByName(config->sidecar.log_level);
  SidecarOptions sidecar_options = options.sidecar;
  sidecar_options.descriptors = RaiseDescriptorLimit();
  std::optional<Predecessor> predecessor;
  if (options.take_over >= 0) {
    fcntl(options.take_over, F_SETFD, FD_CLOEXEC);
    sidecar_options.predecessor = &predecessor.emplace(Fd(options.take_over));
  }
  std::unique_ptr<Listener> listener;
  for (;;) {
    auto sidecar = Sidecar::Create(*config, sidecar_options, std::move(listener));
    if (!sidecar) {
      for (const std::string& line : sidecar.error().lines) {
        fmt::print(stderr, "penstockd: {}\n", line);
        if (predecessor) (void)predecessor->Say(HandoverKind::kFailed, line);
      }
      return sidecar.error().exit_code;
    }
    const int code = (*sidecar)->Run();
    std::optional<Handover> handover = (*sidecar)->TakeHandover();
    sidecar->reset();
    if (!handover) return code;
    std::string problem;
    if (HandOver(&*handover, &problem)) return AfterHandover(options, *config, *handover);
    // It did not come up: we go on, as our own successor.
    log::Warning("upgrade: {} does not take over: {}", handover->program, problem);
    sidecar_options.upgrade_problem = problem;
    sidecar_options.predecessor = nullptr;
    sidecar_options.ready_fd = -1;
    listener = std::move(handover->listener);
    listener->NoteHolder();
  }
}

// Stays small: it only starts the sidecar, and another one after that one's death.
int Keep(const Options& options) {
  const auto config = LoadConfig(options.config_file);
  if (!config) {
    for (const ConfigError& error : config.error())
      fmt::print(stderr, "penstockd: {}\n", error.ToString());
    return 2;
  }
  KeptSidecar kept = KeptAs(options, *config);
  kept.ready_fd = options.sidecar.ready_fd;
  kept.running = options.keep_pid;
  return KeepSidecar(kept);
}

int Main(int argc, char** argv) {
  Options options;
  const cli::Command command{
      "penstockd",
      "penstockd: the sidecar of one job, in the foreground.",
      kFooter,
      {{"-c,--config", &options.config_file, "The job's configuration", true, "FILE"},
       {"--linger", &options.sidecar.linger,
        "End sidecar.linger after the last program, as `penstock run` wants it"},
       {"--keep", &options.keep,
        "Start another one when it is killed or crashes, as `penstock run` wants it"},
       {"--kept", &options.kept, "A keeper is the parent of this process"},
       {"--keep-pid", &options.keep_pid, "With --keep: the sidecar that runs already"},
       {"--take-over", &options.take_over,
        "Take the place of the sidecar at the other end of this descriptor, as `penstock upgrade` "
        "wants it"},
       {"--ready-fd", &options.sidecar.ready_fd,
        "Write a byte to this descriptor once it listens"}},
      {},
      {},
      fmt::format("penstockd {}", kVersion)};
  const auto parsed = cli::ParseArguments(command, {argv + 1, argv + std::max(argc, 1)});
  if (!parsed) return parsed.error();
  HideSecrets();  // from /proc, core dumps and children; before there is a second thread
  if (options.keep) return Keep(options);
  PrepareSignals();
  BoundMalloc();
  OnThreadStart(&UseAlternateStack);
  umask(022);
  return Serve(options);
}

}  // namespace
}  // namespace penstock::cache

int main(int argc, char** argv) { return penstock::cache::Main(argc, argv); }
