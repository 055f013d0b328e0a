// `penstock fsck`: every byte of the cache folder against its checksum.
#include <fcntl.h>
#include <sys/file.h>

#include <cstdio>
#include <memory>

#include "cache/cli/command.h"
#include "cache/config/units.h"
#include "cache/job/fd.h"
#include "cache/nvme/folder_device.h"
#include "cache/nvme/region_check.h"
#include "cache/object/object_check.h"

namespace penstock::cli {
namespace {

using cache::FormatBytesForPeople;

// One folder that one sidecar uses at a time. The exit code.
int CheckFolder(const std::string& folder) {
  const cache::Fd lock(::open((folder + "/lock").c_str(), O_RDONLY | O_CLOEXEC));
  if (lock.valid() && ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0) {
    Complain(folder + " is in use: stop the job's sidecar first (penstock stop)");
    return kFailed;
  }
  const auto complain = [](const std::string& line) { std::printf("bad: %s\n", line.c_str()); };
  cache::RegionCheck regions;
  cache::FolderDevice::Options options;
  options.read_only = true;
  if (auto disk = cache::FolderDevice::Open(nullptr, folder + "/regions", options))
    regions = cache::CheckRegions(disk->get(), complain);
  const cache::ObjectCheck objects = cache::CheckObjects(folder, complain);
  std::printf(
      "%s: %llu ranges in %llu regions (%llu of them without a footer), %s; %llu objects with %llu "
      "ranges, %s\n",
      folder.c_str(), static_cast<unsigned long long>(regions.ranges),
      static_cast<unsigned long long>(regions.regions),
      static_cast<unsigned long long>(regions.unsealed),
      FormatBytesForPeople(regions.bytes).c_str(), static_cast<unsigned long long>(objects.objects),
      static_cast<unsigned long long>(objects.ranges), FormatBytesForPeople(objects.bytes).c_str());
  const std::uint64_t bad =
      regions.bad_regions + regions.bad_ranges + objects.bad_objects + objects.bad_ranges;
  if (bad == 0) return kDone;
  std::printf(
      "%llu bad: they are never given to a program, and are dropped when they are come upon\n",
      static_cast<unsigned long long>(bad));
  return kFailed;
}

int Check(const std::string& config_file) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  int result = kDone;
  bool any = false;
  std::vector<std::string> dirs = {config->cache.dir};
  dirs.insert(dirs.end(), config->cache.more_dirs.begin(), config->cache.more_dirs.end());
  for (const std::string& dir : dirs) {
    for (const std::string& folder : cache::ObjectFolders(dir)) {
      any = true;
      result = std::max(result, CheckFolder(folder));
    }
  }
  if (!any) std::printf("%s: nothing is cached there\n", config->cache.dir.c_str());
  return result;
}

}  // namespace

Command FsckCommand() {
  auto file = std::make_shared<std::string>();
  return {"fsck",
          "Check every byte of the cache folder; exit 1 if something in it is bad",
          "Reads all of it and changes nothing. The job's sidecar must not run.\n"
          "Example:\n  penstock stop -c job.toml && penstock fsck -c job.toml",
          {ConfigArgument(file.get())},
          [file] { return Check(*file); },
          {}};
}

}  // namespace penstock::cli
