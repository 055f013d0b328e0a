// Looks at every byte of the object files in a folder, and changes nothing: what `penstock fsck`
// says of them.
//
// Thread safety: pure functions over a folder that nobody writes to meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace penstock::cache {

struct ObjectCheck {
  std::uint64_t objects = 0;
  std::uint64_t ranges = 0;  // that verify
  std::uint64_t bytes = 0;   // of those
  std::uint64_t bad_objects = 0;
  std::uint64_t bad_ranges = 0;
};

// The folders below a cache folder that sidecars have used: objects, objects.1, ...
std::vector<std::string> ObjectFolders(const std::string& cache_dir);

// `complain` gets a line for each thing that will be dropped.
ObjectCheck CheckObjects(const std::string& folder,
                         const std::function<void(const std::string& line)>& complain);

}  // namespace penstock::cache
