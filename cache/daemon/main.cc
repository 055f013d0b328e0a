// penstockd: the sidecar in the foreground.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "cache/cli/arguments.h"
#include "cache/config/config.h"
#include "cache/config/version.h"
#include "cache/daemon/sidecar.h"
#include "transport/base/log.h"

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

// As many descriptors as we may have; gives how many programs that is enough for.
std::uint32_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kReserved = 256;   // origins, objects, the sidecar's own
  constexpr rlim_t kEachProgram = 4;  // socket, pidfd, doorbell, and a ticket
  if (limit.rlim_cur <= 2 * kReserved) return 64;
  return static_cast<std::uint32_t>(
      std::min<rlim_t>((limit.rlim_cur - kReserved) / kEachProgram, 1'000'000));
}

int Serve(const Options& options) {
  auto config = LoadConfig(options.config_file);
  if (!config) {
    for (const ConfigError& error : config.error())
      fmt::print(stderr, "penstockd: {}\n", error.ToString());
    return 2;
  }
  log::SetLevelByName(config->sidecar.log_level);
  const std::uint32_t fit = RaiseDescriptorLimit();
  if (fit < config->limits.sessions) {
    log::Debug("the limit of open files is enough for {} programs at once", fit);
    config->limits.sessions = fit;
  }
  auto sidecar = Sidecar::Create(*config, options.sidecar);
  if (!sidecar) {
    for (const std::string& line : sidecar.error().lines)
      fmt::print(stderr, "penstockd: {}\n", line);
    return sidecar.error().exit_code;
  }
  return (*sidecar)->Run();
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
       {"--ready-fd", &options.sidecar.ready_fd,
        "Write a byte to this descriptor once it listens"}},
      {},
      {},
      fmt::format("penstockd {}", kVersion)};
  const auto parsed = cli::ParseArguments(command, {argv + 1, argv + std::max(argc, 1)});
  if (!parsed) return parsed.error();
  PrepareSignals();
  umask(022);
  return Serve(options);
}

}  // namespace
}  // namespace penstock::cache

int main(int argc, char** argv) { return penstock::cache::Main(argc, argv); }
