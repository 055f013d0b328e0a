// Looks at every byte of the regions in a folder, and changes nothing: what `penstock fsck` says of
// them.
//
// Thread safety: pure functions over a folder that nobody writes to meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cache/nvme/block_device.h"

namespace penstock::cache {

struct RegionCheck {
  std::uint64_t regions = 0;
  std::uint64_t ranges = 0;    // that verify
  std::uint64_t bytes = 0;     // of those
  std::uint64_t unsealed = 0;  // regions without a footer: the next start walks them
  std::uint64_t bad_regions = 0;
  std::uint64_t bad_ranges = 0;
};

// `complain` gets a line for each thing that the next start or the next read will drop.
RegionCheck CheckRegions(BlockDevice* disk,
                         const std::function<void(const std::string& line)>& complain);

}  // namespace penstock::cache
