// One version of a file, as the engine's tables name it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shim/abi/key.h"

namespace penstock::cache {

struct FileKey {
  std::uint32_t mount = 0;
  pst_key128 id{};
  std::uint64_t version = 0;
  bool operator==(const FileKey& other) const {
    return mount == other.mount && id.lo == other.id.lo && id.hi == other.id.hi &&
           version == other.version;
  }
  pst_key RangeKey(std::uint32_t range) const { return {id, version, PST_NS_FILES | mount, range}; }
};
struct FileKeyHash {
  std::size_t operator()(const FileKey& key) const {
    return key.id.lo ^ (key.version * 0x9e3779b97f4a7c15ull) ^ key.mount;
  }
};

}  // namespace penstock::cache
