// `penstock doctor`: what is wrong with this machine, its container or the configuration.
#include "cache/doctor/doctor.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

int Doctor(const std::string& config_file, bool json) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  cache::DoctorConfig doctor;
  doctor.socket = config->sidecar.socket;
  doctor.cache_dirs = {config->cache.dir};
  for (const std::string& dir : config->cache.more_dirs) doctor.cache_dirs.push_back(dir);
  doctor.memory_bytes = config->cache.memory_bytes;
  doctor.nvme_bytes = config->cache.nvme_bytes;
  doctor.shim_path = FindShim();
  for (const cache::MountConfig& mount : config->mounts)
    doctor.mounts.push_back({mount.path, mount.origin, mount.endpoint, mount.auth_mode,
                             mount.mode == cache::MountMode::kReadWrite, mount.ca_file,
                             mount.identity, mount.dfs_endpoint});
  const auto checks = cache::RunDoctor(doctor);
  fmt::print("{}", json ? cache::DoctorJson(checks) : cache::DoctorText(checks));
  return cache::WorstOf(checks) == cache::Verdict::kFail ? kFailed : kDone;
}

}  // namespace

Command DoctorCommand() {
  struct Options {
    std::string config_file;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  return {"doctor",
          "Say what is wrong with this machine, container or configuration, and what to do",
          "Example:\n  penstock doctor -c job.toml\n"
          "Exit 1 if something keeps Penstock from working.",
          {ConfigArgument(&options->config_file), {"--json", &options->json, "As JSON"}},
          [options] { return Doctor(options->config_file, options->json); },
          {}};
}

}  // namespace penstock::cli
