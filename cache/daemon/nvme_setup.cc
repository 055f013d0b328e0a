#include "cache/daemon/nvme_setup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/nvme/folder_device.h"
#include "cache/object/object_dir.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kLeastWriteBehindBytes = 4ull << 20;
// The index has some 32 bytes of memory for each range, however small: a limit full of tiny files would
// take a quarter of its size.
constexpr std::uint64_t kLeastBytesOfRange = 16ull << 10;  // on average
constexpr std::uint64_t kMemoryOfRange = 256;              // as many as an eighth of cache.memory has room for

void SayUnusable(const std::string& folder, const Error& error) {
  log::Warning("the NVMe tier does without {}: {}: {}", folder, error.context,
               std::strerror(error.errno_value));
}

void AddDevice(Loop* loop, const std::string& folder, const FolderDevice::Options& options,
               std::vector<std::unique_ptr<BlockDevice>>* devices) {
  auto device = FolderDevice::Open(loop, folder + "/regions", options);
  if (!device) return SayUnusable(folder, device.error());
  devices->push_back(*std::move(device));
}

}  // namespace

std::unique_ptr<RegionStore> MakeNvmeTier(Loop* loop, const Config& config,
                                          const ObjectStore* objects, std::size_t max_open) {
  if (config.cache.nvme_bytes < RegionStore::kLeastBytes) return nullptr;
  std::vector<std::unique_ptr<BlockDevice>> devices;
  FolderDevice::Options options;
  options.max_open = std::max<std::size_t>(max_open / (1 + config.cache.more_dirs.size()), 4);
  if (const std::string folder = objects->Folder(); !folder.empty())
    AddDevice(loop, folder, options, &devices);
  for (const std::string& dir : config.cache.more_dirs) {
    auto locked = ObjectDir::Open(dir);
    if (!locked) {
      SayUnusable(dir, locked.error());
      continue;
    }
    const std::string folder = locked->path();
    options.keep = std::make_shared<ObjectDir>(std::move(*locked));
    AddDevice(loop, folder, options, &devices);
  }
  if (devices.empty()) return nullptr;
  RegionStoreConfig store;
  store.max_bytes = config.cache.nvme_bytes;
  store.write_behind_bytes =
      std::clamp(config.cache.memory_bytes / 16, kLeastWriteBehindBytes, store.write_behind_bytes);
  store.max_ranges = std::max(config.cache.nvme_bytes / kLeastBytesOfRange,
                              config.cache.memory_bytes / kMemoryOfRange);
  store.has_dataset = store.has_general = false;
  for (const MountConfig& mount : config.mounts)
    (mount.data_class == MountDataClass::kDataset ? store.has_dataset : store.has_general) = true;
  store.others_bytes = [objects] { return objects->DiskBytes(); };
  return RegionStore::Open(loop, std::move(devices), std::move(store));
}

}  // namespace penstock::cache
