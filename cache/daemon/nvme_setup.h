// The NVMe tier as the configuration wants it.
//
// Thread safety: the core thread.
#pragma once

#include <memory>

#include "cache/base/loop.h"
#include "cache/config/config.h"
#include "cache/nvme/region_store.h"
#include "cache/object/object_store.h"

namespace penstock::cache {

// Regions lie beside the objects, below the lock that the object store holds, and share their
// limit. Null where the limit is too small or the folder is unusable; the log says which. `objects`
// outlives the tier.
std::unique_ptr<RegionStore> MakeNvmeTier(Loop* loop, const Config& config,
                                          const ObjectStore* objects, std::size_t max_open);

}  // namespace penstock::cache
