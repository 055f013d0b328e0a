// Everything below a directory of an origin, listed with as few requests and as many at once as the
// origin allows: hierarchically until there are enough directories to divide, then flat listings of
// groups of them (tree_plan.h). An origin without flat listings is walked folder by folder.
//
// Blocks its caller; for commands, not for the sidecar's threads. `entry` and `progress` are called
// on the caller's thread; entries come in no particular order, and a directory may come twice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "transport/origin/origin.h"

namespace penstock::origin {

struct TreeProgress {
  std::uint64_t entries = 0;
  std::uint64_t lists = 0;    // pages asked for
  std::uint64_t skipped = 0;  // names that are no paths
};

struct TreeOptions {
  std::uint32_t at_once = 32;                         // listings under way
  std::int64_t deadline_ns = 30'000'000'000;          // of each
  std::int64_t progress_ns = 200'000'000;             // between calls of `progress`
  std::function<bool(const TreeProgress&)> progress;  // false: give up (kCancelled)
};

// `entry` gets names relative to the origin's root. `failed_at` says which directory an error is
// about.
Result<TreeProgress> ListTree(Origin* origin, const TreeOptions& options,
                              const std::function<void(ObjectInfo&&)>& entry,
                              std::string* failed_at);

}  // namespace penstock::origin
