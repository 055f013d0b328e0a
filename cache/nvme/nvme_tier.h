// The NVMe tier: ranges of files that the memory tier need not hold, and that outlive the sidecar.
//
// What it holds is a cache of immutable versions: it may lose anything at any time, and never gives
// bytes whose checksum does not hold. A disk that is full, slow or broken costs hits and nothing
// else.
//
// Thread safety: the core thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/nvme/region_format.h"

namespace penstock::cache {

inline constexpr std::uint32_t kMaxNvmeReadRanges = 64;  // 4 MiB

// Reads ranges [first, first + to.size()) of a file's version. Its caller's until `done`.
struct NvmeRead {
  ObjectKey object;
  std::uint32_t first = 0;
  std::vector<std::span<std::byte>> to;    // each exactly as long as its range
  int err = 0;                             // result: 0, or nothing in `to` counts
  std::vector<std::uint32_t> crcs;         // result: CRC32C of each
  void (*done)(NvmeRead* read) = nullptr;  // once; never before StartRead() has returned
  void* user = nullptr;                    // both the caller's
  void* impl = nullptr;
};

struct NvmeStats {
  std::uint64_t hits = 0;     // ranges read and verified
  std::uint64_t bytes = 0;    // now: on disk
  std::uint64_t files = 0;    // now
  std::uint64_t ranges = 0;   // now: that can be found
  std::uint64_t written = 0;  // ranges
  std::uint64_t refused =
      0;  // ranges that were offered and not kept: no room, or too fast for the disk
  std::uint64_t evicted = 0;  // ranges whose region was dropped to make room
  std::uint64_t corrupt = 0;  // ranges and regions dropped because a checksum did not hold
  std::uint64_t io_errors = 0;
};

class NvmeTier {
 public:
  virtual ~NvmeTier() = default;
  virtual bool Has(const RangeName& name) const = 0;
  virtual void StartRead(NvmeRead* read) = 0;
  virtual void Cancel(NvmeRead* read) = 0;  // `done` is not called any more
  // Keeps a copy, if there is room and the disk keeps up; written some time later.
  virtual void Offer(const RangeName& name, std::span<const std::byte> bytes, std::uint32_t crc,
                     RegionClass data_class) = 0;
  virtual NvmeStats Stats() const = 0;
};

}  // namespace penstock::cache
