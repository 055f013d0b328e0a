// penstockd: the sidecar in the foreground.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "cache/cli/arguments.h"
#include "cache/config/config.h"
#include "cache/config/version.h"
#include "cache/crash/crash_report.h"
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

// What malloc keeps for itself counts as ours: large blocks (a listing that is built) go back at once, and
// there are as many arenas as threads that allocate much.
void BoundMalloc() {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 2);
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
  auto sidecar = Sidecar::Create(*config, sidecar_options);
  if (!sidecar) {
    for (const std::string& line : sidecar.error().lines)
      fmt::print(stderr, "penstockd: {}\n", line);
    return sidecar.error().exit_code;
  }
  return (*sidecar)->Run();
}

// Stays small: it only starts the sidecar, and another one after that one's death.
int Keep(const Options& options) {
  const auto config = LoadConfig(options.config_file);
  if (!config) {
    for (const ConfigError& error : config.error())
      fmt::print(stderr, "penstockd: {}\n", error.ToString());
    return 2;
  }
  KeptSidecar kept;
  kept.program = OwnProgram();
  kept.lock_path = config->sidecar.socket + ".lock";
  kept.arguments = {"-c", config->file};
  if (options.sidecar.linger) kept.arguments.emplace_back("--linger");
  kept.ready_fd = options.sidecar.ready_fd;
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
