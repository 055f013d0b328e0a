// How long the NVMe tier takes to find what earlier starts left.
//
//   nvme_reopen FOLDER RANGES BYTES    fills FOLDER with RANGES ranges of BYTES each (unless it has
//   them already),
//                                      ends, drops the page cache if it may, and opens it again:
//                                      milliseconds, five times
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "cache/nvme/folder_device.h"
#include "cache/nvme/region_store.h"
#include "transport/base/crc32c.h"

namespace {

using namespace penstock::cache;

RangeName NameOf(std::uint64_t number) {
  return {{{pst_mix64(number), pst_mix64(~number)}, 1, 2}, static_cast<std::uint32_t>(number & 1)};
}

std::unique_ptr<RegionStore> Open(Loop* loop, const std::string& folder) {
  auto device = FolderDevice::Open(loop, folder, {});
  if (!device) std::exit(1);
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(*std::move(device));
  RegionStoreConfig config;
  config.max_bytes = 1ull << 50;
  config.region_bytes = kMaxRegionBytes;
  return RegionStore::Open(loop, std::move(devices), config);
}

void Fill(Loop* loop, RegionStore* store, std::uint64_t ranges, std::size_t bytes) {
  std::vector<std::byte> data(bytes);
  std::uint64_t next = 0;
  const auto step = [&](auto& self) -> void {
    for (int i = 0; i < 16 && next < ranges; ++i) {
      std::memcpy(data.data(), &next, sizeof next);
      const std::uint64_t refused = store->Stats().refused;
      store->Offer(NameOf(next), data, penstock::Crc32c(data), RegionClass::kDataset);
      if (store->Stats().refused != refused) break;  // the disk has enough to do
      ++next;
    }
    if (next == ranges) store->Flush();
    if (store->Stats().ranges >= ranges) return loop->Stop();
    loop->After(0, [&self] { self(self); });
  };
  step(step);
  loop->Run();
}

bool DropCaches() {
  sync();
  const int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  const bool dropped = fd >= 0 && write(fd, "3", 1) == 1;
  if (fd >= 0) close(fd);
  return dropped;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::uint64_t ranges = std::strtoull(argv[2], nullptr, 10);
  const auto bytes = static_cast<std::size_t>(std::strtoull(argv[3], nullptr, 10));
  if (bytes < 8 || bytes > PST_RANGE_BYTES) return 2;
  const auto loop = MakeLoop(true);
  if (auto store = Open(loop.get(), argv[1]); store->Stats().ranges < ranges)
    Fill(loop.get(), store.get(), ranges, bytes);
  for (int round = 0; round < 5; ++round) {
    const bool dropped = DropCaches();
    const std::int64_t began_ns = MonotonicNs();
    const auto store = Open(loop.get(), argv[1]);
    const std::int64_t took_ns = MonotonicNs() - began_ns;
    const NvmeStats stats = store->Stats();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf(
        "%llu ranges, %.2f GiB in %llu regions: open after %.1f ms%s; most memory so far %ld MiB\n",
        static_cast<unsigned long long>(stats.ranges), static_cast<double>(stats.bytes) / (1 << 30),
        static_cast<unsigned long long>(stats.files), static_cast<double>(took_ns) / 1e6,
        dropped ? "" : " (page cache not dropped)", usage.ru_maxrss >> 10);
  }
}
