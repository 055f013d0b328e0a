#include "cache/config/machine.h"

#include <fmt/format.h>
#include <mntent.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/abi/abi.h"

namespace penstock::cache {
namespace {

// The number in a file of one line; UINT64_MAX for "max", an unreadable file or nonsense.
std::uint64_t LimitIn(const std::string& path) {
  std::ifstream in(path);
  std::uint64_t value = 0;
  return in >> value ? value : UINT64_MAX;
}

std::uint64_t CgroupMemoryLimit() {
  std::uint64_t limit = LimitIn("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  std::ifstream in("/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with("0::")) continue;
    std::string path = line.substr(3);
    for (int depth = 0; depth < 64; ++depth) {
      limit = std::min(limit, LimitIn("/sys/fs/cgroup" + path + "/memory.max"));
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos || path.empty()) break;
      path.resize(slash);
    }
  }
  return limit;
}

bool IsLocalDisk(const char* type) {
  constexpr std::array<const char*, 7> kTypes = {"ext4", "xfs",  "btrfs",  "ext3",
                                                 "zfs",  "f2fs", "overlay"};
  return std::any_of(kTypes.begin(), kTypes.end(),
                     [&](const char* known) { return std::string_view(known) == type; });
}

}  // namespace

std::uint64_t MemoryLimitBytes() {
  const auto pages = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 1L));
  const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(pages * page_bytes, CgroupMemoryLimit());
}

std::uint64_t DefaultMemoryBytes() {
  const std::uint64_t quarter =
      std::clamp<std::uint64_t>(MemoryLimitBytes() / 4, 64ull << 20, 8ull << 30);
  return quarter / PST_SEGMENT_BYTES * PST_SEGMENT_BYTES;
}

std::uint32_t UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::uint32_t>(std::max(CPU_COUNT(&set), 1));
}

Disk LargestLocalDisk() {
  Disk best{"/var/tmp", 0};
  FILE* mounts = setmntent("/proc/self/mounts", "re");
  if (mounts == nullptr) return best;
  while (const mntent* entry = getmntent(mounts)) {
    struct statvfs room{};
    if (!IsLocalDisk(entry->mnt_type) || hasmntopt(entry, "ro") != nullptr ||
        statvfs(entry->mnt_dir, &room) != 0)
      continue;
    const std::string_view where = entry->mnt_dir;
    const bool root = where == "/";
    if (!root && (where.starts_with("/boot") || access(entry->mnt_dir, W_OK | X_OK) != 0)) continue;
    const std::uint64_t free = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
    if (free > best.free_bytes) best = {root ? "/var/tmp" : std::string(where), free};
  }
  endmntent(mounts);
  return best;
}

std::string DefaultCacheDir(const std::string& config_file) {
  std::string folder = fmt::format("/var/tmp/penstock-{}", geteuid());
  const char* cache = getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/' && access(cache, W_OK | X_OK) == 0)
    folder = fmt::format("{}/penstock", cache);
  return fmt::format("{}/{:016x}", folder, XXH3_64bits(config_file.data(), config_file.size()));
}

}  // namespace penstock::cache
