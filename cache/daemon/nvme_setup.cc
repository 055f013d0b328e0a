#include "cache/daemon/nvme_setup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/nvme/folder_device.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kLeastWriteBehindBytes = 4ull << 20;

}  // namespace

std::unique_ptr<RegionStore> MakeNvmeTier(Loop* loop, const Config& config,
                                          const ObjectStore* objects, std::size_t max_open) {
  const std::string folder = objects->Folder();
  if (folder.empty() || config.cache.nvme_bytes < RegionStore::kLeastBytes) return nullptr;
  FolderDevice::Options options;
  options.max_open = max_open;
  auto device = FolderDevice::Open(loop, folder + "/regions", options);
  if (!device) {
    log::Warning("the NVMe tier is off: {}: {}: {}", folder, device.error().context,
                 std::strerror(device.error().errno_value));
    return nullptr;
  }
  RegionStoreConfig store;
  store.max_bytes = config.cache.nvme_bytes;
  store.write_behind_bytes =
      std::clamp(config.cache.memory_bytes / 16, kLeastWriteBehindBytes, store.write_behind_bytes);
  store.has_dataset = store.has_general = false;
  for (const MountConfig& mount : config.mounts)
    (mount.data_class == MountDataClass::kDataset ? store.has_dataset : store.has_general) = true;
  store.others_bytes = [objects] { return objects->DiskBytes(); };
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(*std::move(device));
  return RegionStore::Open(loop, std::move(devices), std::move(store));
}

}  // namespace penstock::cache
