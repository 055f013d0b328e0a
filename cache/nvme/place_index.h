// Where each range lies, by fingerprint: 16 bytes an entry, so that a terabyte of 64 KiB ranges
// takes some 400 MiB. Two names with one fingerprint are told apart by the item itself.
//
// Open addressing in 256 tables that grow one by one: the longest pause, of a million entries, is
// that of one table.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace penstock::cache {

struct Place {
  std::uint32_t region = 0;  // its number in the store, below 2^27
  std::uint32_t at = 0;      // in the region, a multiple of 64, below 2^26
  std::uint32_t length = 0;  // 1 to 65536
  friend bool operator==(const Place&, const Place&) = default;
};

class PlaceIndex {
 public:
  static constexpr std::uint32_t kMaxRegions = 1u << 27;

  // `alive` tells whether a region still counts: entries of those that don't go when a table grows.
  explicit PlaceIndex(std::function<bool(std::uint32_t region)> alive) : alive_(std::move(alive)) {}

  void Reserve(std::size_t entries);
  // Replaces what the fingerprint had.
  void Put(std::uint64_t fingerprint, const Place& place);
  std::optional<Place> Find(std::uint64_t fingerprint) const;
  // Only if it still is this place.
  void Erase(std::uint64_t fingerprint, const Place& place);

 private:
  struct Entry {
    std::uint64_t fingerprint = 0;  // 0: empty
    std::uint64_t packed = 0;       // 0: erased
  };
  struct Table {
    std::vector<Entry> entries;  // a power of two, or none
    std::size_t used = 0;        // erased ones included
  };
  static constexpr std::size_t kTables = 256;

  Table& TableOf(std::uint64_t fingerprint) { return tables_[fingerprint >> 56]; }
  void Grow(Table* table, std::size_t entries);
  static Entry* Slot(Table* table, std::uint64_t fingerprint);

  std::function<bool(std::uint32_t)> alive_;
  std::array<Table, kTables> tables_;
};

}  // namespace penstock::cache
