// What this machine offers, for defaults and for gen-config: memory that we may use, the disk with
// the most room, processors.
//
// Thread safety: pure reads of /proc, /sys and the file system.
#pragma once

#include <cstdint>
#include <string>

namespace penstock::cache {

// The smallest of physical memory and the memory limits of our cgroup and its parents.
std::uint64_t MemoryLimitBytes();
// A quarter of that, 8 GiB at most, 64 MiB at least, in whole segments.
std::uint64_t DefaultMemoryBytes();
// Processors that we may use.
std::uint32_t UsableCpus();

struct Disk {
  std::string path;
  std::uint64_t free_bytes = 0;
};
// The local (not network, not memory) file system with the most free space that we can write to.
Disk LargestLocalDisk();

// $XDG_CACHE_HOME/penstock/, else /var/tmp/penstock-<uid>/, and there a digest of the
// configuration's path.
std::string DefaultCacheDir(const std::string& config_file);

}  // namespace penstock::cache
