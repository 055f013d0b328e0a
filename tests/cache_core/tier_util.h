// A memory tier with a reader's own read-only mapping of it, and data that can be checked.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "cache/memory/memory_tier.h"
#include "shim/abi/index.h"
#include "transport/base/crc32c.h"
#include "transport/base/random.h"

namespace penstock::cache {

inline std::uint64_t PickSeed() {
  const std::uint64_t seed = Random::FromEnvironment().seed();
  testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

inline pst_key KeyNumber(std::uint64_t number) {
  pst_key key{};
  key.id = {pst_mix64(number + 1), pst_mix64(number + 0x1234567)};
  key.version = number + 1;
  key.ns = PST_NS_FILES;
  return key;
}

// Bytes of a key: every 8-byte word differs, and tells whose it is. Of a long object only the beginning and
// the end are filled and looked at: that tells whose it is, and sanitizers take their time for each word.
inline std::uint64_t WordAt(const pst_key& key, std::uint64_t word, std::uint8_t salt) {
  return (key.id.lo + key.version + key.range + salt) * 0x9e3779b97f4a7c15ull + word;
}
inline constexpr std::uint32_t kEdgeBytes = 1024;
inline std::uint32_t NextFilled(std::uint32_t at, std::uint32_t bytes) {
  at += 8;
  return at >= kEdgeBytes && bytes > 2 * kEdgeBytes && at < bytes - kEdgeBytes ? (bytes - kEdgeBytes) & ~7u : at;
}
inline void FillBytes(const pst_key& key, std::byte* to, std::uint32_t bytes, std::uint8_t salt) {
  for (std::uint32_t at = 0; at < bytes; at = NextFilled(at, bytes)) {
    const std::uint64_t word = WordAt(key, at / 8, salt);
    std::memcpy(to + at, &word, std::min<std::uint32_t>(8, bytes - at));
  }
}
inline bool CheckBytes(const pst_key& key, const std::byte* from, std::uint32_t bytes, std::uint8_t salt) {
  for (std::uint32_t at = 0; at < bytes; at = NextFilled(at, bytes)) {
    const std::uint64_t word = WordAt(key, at / 8, salt);
    if (std::memcmp(from + at, &word, std::min<std::uint32_t>(8, bytes - at)) != 0) return false;
  }
  return true;
}
inline std::uint32_t EdgeCrc(const std::byte* from, std::uint32_t bytes) {
  return Crc32c({from, std::min(bytes, kEdgeBytes)});
}

inline std::unique_ptr<Arena> MakeArena(std::uint32_t segments) {
  ArenaConfig config;
  config.arena_bytes = static_cast<std::uint64_t>(segments) << PST_SEGMENT_SHIFT;
  auto arena = Arena::Create(config);
  if (!arena) std::abort();
  return std::move(*arena);
}

struct TierUnderTest {
  explicit TierUnderTest(std::uint32_t segments, bool has_dataset = true, bool has_general = false)
      : arena(MakeArena(segments)), tier(arena.get(), has_dataset, has_general) {
    index = mmap(nullptr, arena->index_bytes(), PROT_READ, MAP_SHARED, arena->index_fd(), 0);
    bytes = mmap(nullptr, arena->arena_bytes(), PROT_READ, MAP_SHARED, arena->arena_fd(), 0);
    if (pst_view_init(&reader, index, arena->index_bytes(), bytes, arena->arena_bytes()) != 0) std::abort();
  }
  ~TierUnderTest() {
    munmap(index, arena->index_bytes());
    munmap(bytes, arena->arena_bytes());
  }

  bool Put(DataClass data_class, const pst_key& key, std::uint32_t length, std::uint8_t salt = 0) {
    const auto space = tier.Reserve(data_class, key, length);
    if (!space) return false;
    FillBytes(key, tier.Bytes(*space), length, salt);
    tier.Publish(*space, key, EdgeCrc(tier.Bytes(*space), length), 0, 0);
    return true;
  }
  // As a client sees it.
  bool Holds(const pst_key& key, std::uint32_t length, std::uint8_t salt = 0) const {
    pst_entry entry{};
    if (!pst_find(&reader, &key, &entry) || entry.length != length) return false;
    const auto* at = reinterpret_cast<const std::byte*>(pst_entry_bytes(&reader, &entry));
    return CheckBytes(key, at, length, salt) && EdgeCrc(at, length) == entry.crc32c &&
           pst_entry_current(&reader, &entry);
  }

  std::unique_ptr<Arena> arena;
  MemoryTier tier;
  void* index = nullptr;
  void* bytes = nullptr;
  pst_view reader{};
};

}  // namespace penstock::cache
