#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cache/config/config.h"

namespace penstock::cache {
namespace {

// True if files can be made in `folder`, or the folder itself in its parent.
bool UsableFolder(const std::string& folder) {
  struct stat status{};
  if (stat(folder.c_str(), &status) == 0)
    return S_ISDIR(status.st_mode) && access(folder.c_str(), W_OK | X_OK) == 0;
  const std::size_t slash = folder.rfind('/');
  const std::string parent = slash == 0 ? "/" : folder.substr(0, slash);
  return stat(parent.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         access(parent.c_str(), W_OK | X_OK) == 0;
}

bool OwnedByUs(const std::string& folder) {
  struct stat status{};
  return stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == geteuid() && access(folder.c_str(), W_OK | X_OK) == 0;
}

// Where this user's sidecars meet their programs and each other.
std::string DefaultFolder() {
  std::string folder = fmt::format("/tmp/penstock-{}", geteuid());
  const char* named = getenv("XDG_RUNTIME_DIR");
  const std::string usual = fmt::format("/run/user/{}", geteuid());
  if (named != nullptr && named[0] == '/' && access(named, W_OK | X_OK) == 0) {
    folder = fmt::format("{}/penstock", named);
  } else if (OwnedByUs(usual)) {
    folder = usual + "/penstock";
  } else if (UsableFolder("/run/penstock")) {
    folder = "/run/penstock";
  }
  return folder;
}

}  // namespace

std::optional<std::string> NormalisePath(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string_view::npos)
    return std::nullopt;
  std::string out;
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part == "..") return std::nullopt;
    if (!part.empty() && part != ".") {
      out += '/';
      out += part;
    }
    at = end + 1;
  }
  return out.empty() ? "/" : out;
}

std::optional<MountMatch> MatchMount(const std::vector<MountConfig>& mounts,
                                     std::string_view path) {
  std::optional<MountMatch> best;
  std::size_t best_length = 0;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string& mount = mounts[i].path;
    if (!path.starts_with(mount)) continue;
    if (path.size() > mount.size() && path[mount.size()] != '/') continue;
    if (best && mount.size() < best_length) continue;
    best_length = mount.size();
    best = MountMatch{i, path.size() > mount.size() ? path.substr(mount.size() + 1) : ""};
  }
  return best;
}

std::string DefaultSocketPath(const std::string& config_file) {
  const std::uint64_t digest = XXH3_64bits(config_file.data(), config_file.size());
  return fmt::format("{}/{:016x}.sock", DefaultFolder(), digest);
}

std::string DefaultNodeFile() { return DefaultFolder() + "/node-limits"; }

}  // namespace penstock::cache
