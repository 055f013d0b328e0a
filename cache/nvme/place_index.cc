#include "cache/nvme/place_index.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace penstock::cache {
namespace {

// region 27 bits, at / 64 20 bits, length 17 bits. Never 0: a length is not.
std::uint64_t Pack(const Place& place) {
  return static_cast<std::uint64_t>(place.region) << 37 |
         static_cast<std::uint64_t>(place.at >> 6) << 17 | place.length;
}

Place Unpack(std::uint64_t packed) {
  return {static_cast<std::uint32_t>(packed >> 37),
          static_cast<std::uint32_t>(packed >> 17 & 0xfffff) << 6,
          static_cast<std::uint32_t>(packed & 0x1ffff)};
}

bool Full(std::size_t used, std::size_t entries) { return used * 4 >= entries * 3; }

}  // namespace

void PlaceIndex::Reserve(std::size_t entries) {
  for (Table& table : tables_) {
    const std::size_t wanted = std::bit_ceil(entries / kTables * 3 / 2 + 64);
    if (table.entries.size() < wanted) Grow(&table, wanted);
  }
}

PlaceIndex::Entry* PlaceIndex::Slot(Table* table, std::uint64_t fingerprint) {
  const std::size_t mask = table->entries.size() - 1;
  for (std::size_t at = fingerprint & mask;; at = (at + 1) & mask) {
    Entry* entry = &table->entries[at];
    if (entry->fingerprint == fingerprint || entry->fingerprint == 0) return entry;
  }
}

void PlaceIndex::Grow(Table* table, std::size_t entries) {
  std::vector<Entry> old = std::exchange(table->entries, std::vector<Entry>(entries));
  table->used = 0;
  for (const Entry& entry : old) {
    if (entry.packed == 0 || !alive_(Unpack(entry.packed).region)) continue;
    *Slot(table, entry.fingerprint) = entry;
    ++table->used;
  }
}

void PlaceIndex::Put(std::uint64_t fingerprint, const Place& place) {
  Table& table = TableOf(fingerprint);
  if (Full(table.used + 1, table.entries.size())) {
    // Where most of it has died, the same size serves again.
    const auto alive = static_cast<std::size_t>(
        std::count_if(table.entries.begin(), table.entries.end(), [this](const Entry& entry) {
          return entry.packed != 0 && alive_(Unpack(entry.packed).region);
        }));
    Grow(&table, std::bit_ceil(std::max<std::size_t>(alive * 2, 64)));
  }
  Entry* entry = Slot(&table, fingerprint);
  if (entry->fingerprint == 0) ++table.used;
  *entry = {fingerprint, Pack(place)};
}

std::optional<Place> PlaceIndex::Find(std::uint64_t fingerprint) const {
  const Table& table = tables_[fingerprint >> 56];
  if (table.entries.empty()) return std::nullopt;
  const Entry* entry = Slot(const_cast<Table*>(&table), fingerprint);
  if (entry->packed == 0) return std::nullopt;
  const Place place = Unpack(entry->packed);
  if (!alive_(place.region)) return std::nullopt;
  return place;
}

void PlaceIndex::Erase(std::uint64_t fingerprint, const Place& place) {
  Table& table = TableOf(fingerprint);
  if (table.entries.empty()) return;
  Entry* entry = Slot(&table, fingerprint);
  if (entry->packed == Pack(place)) entry->packed = 0;
}

}  // namespace penstock::cache
