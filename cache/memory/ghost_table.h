// Remembers hashes of what was dropped lately: S3-FIFO's ghost queue, as a table of fingerprints in which
// a newer one replaces an older one. Wrong about one time in a million, which costs a better place in
// the cache and nothing else.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace penstock::cache {

class GhostTable {
 public:
  explicit GhostTable(std::uint64_t remembered)
      : slots_(std::bit_ceil(std::clamp<std::uint64_t>(remembered, 256, 1u << 20))) {}

  void Remember(std::uint64_t hash) { At(hash) = Print(hash); }
  // True, once, if `hash` was remembered.
  bool Recall(std::uint64_t hash) {
    if (At(hash) != Print(hash)) return false;
    At(hash) = 0;
    return true;
  }

 private:
  std::uint32_t& At(std::uint64_t hash) { return slots_[(hash >> 32) & (slots_.size() - 1)]; }
  static std::uint32_t Print(std::uint64_t hash) { return static_cast<std::uint32_t>(hash) | 1u; }
  std::vector<std::uint32_t> slots_;
};

}  // namespace penstock::cache
