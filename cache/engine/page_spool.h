// Pages of long listings on disk: what the arena has no room for is read back instead of asked again.
//
// One unnamed file of slots of PST_RANGE_BYTES, in the cache's folder, else in memory. A slot that is
// given back returns its blocks to the file system. Reads are of what was written a moment ago, as a
// rule from the page cache.
//
// Thread safety: the core thread only; calls may wait for the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shim/abi/abi.h"

namespace penstock::cache {

class PageSpool {
 public:
  static constexpr std::uint32_t kMaxSlots = 1u << 15;  // 2 GiB, some 25 million names

  explicit PageSpool(std::string folder) : folder_(std::move(folder)) {}
  ~PageSpool();
  PageSpool(const PageSpool&) = delete;
  PageSpool& operator=(const PageSpool&) = delete;

  // nullopt: no slot is free, or the disk does not take it. `page` is at most PST_RANGE_BYTES.
  std::optional<std::uint32_t> Write(std::span<const std::byte> page);
  // Writes a slot anew.
  bool Rewrite(std::uint32_t slot, std::span<const std::byte> page);
  // Into `page`, as many bytes as it holds; false if they cannot be read.
  bool Read(std::uint32_t slot, std::span<std::byte> page);
  void Free(std::uint32_t slot);
  std::uint32_t used() const { return made_ - static_cast<std::uint32_t>(free_.size()); }

 private:
  bool Open();

  std::string folder_;
  int fd_ = -1;
  bool failed_ = false;
  std::uint32_t made_ = 0;
  std::vector<std::uint32_t> free_;
};

}  // namespace penstock::cache
