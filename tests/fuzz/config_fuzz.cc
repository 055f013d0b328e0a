// Configuration text from anywhere: no crash, and what is accepted holds what the sidecar relies
// on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cache/config/config.h"
#include "shim/abi/abi.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::cache;
  const auto config = ParseConfig({reinterpret_cast<const char*>(data), size}, "/etc/job.toml");
  if (!config) {
    if (config.error().empty()) std::abort();
    for (const ConfigError& error : config.error())
      if (error.message.empty() || error.ToString().empty()) std::abort();
    return 0;
  }
  if (config->mounts.empty() || config->mounts.size() > PST_MAX_MOUNTS) std::abort();
  for (const MountConfig& mount : config->mounts) {
    if (NormalisePath(mount.path) != mount.path || mount.path.size() >= PST_MOUNT_PATH_MAX)
      std::abort();
    if (!MatchMount(config->mounts, mount.path)) std::abort();
  }
  if (config->sidecar.socket.size() > kSocketPathMax || config->cache.dir.empty()) std::abort();
  return 0;
}
