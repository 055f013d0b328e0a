// The writer and readers of the protocol at full speed: data four times the arena, every byte that a
// reader takes for valid is compared, while segments are reused under it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/cache_core/tier_util.h"

namespace penstock::cache {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
constexpr std::uint32_t kSegments = 8;
#else
constexpr bool kThreadSanitizer = false;
constexpr std::uint32_t kSegments = 16;
#endif

// A reader races with the writer for the bytes on purpose; the generation tells afterwards whether the
// copy means anything. Single words keep that race within the language.
void CopyWords(std::uint64_t* to, const unsigned char* from, std::uint32_t bytes) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(from);
  for (std::uint32_t i = 0; i < bytes / 8; ++i) to[i] = PST_LOAD_RELAXED(&words[i]);
}
void FillWords(const pst_key& key, std::byte* to, std::uint32_t bytes, std::uint8_t salt) {
  auto* words = reinterpret_cast<std::uint64_t*>(to);
  for (std::uint32_t i = 0; i < bytes / 8; ++i) PST_STORE_RELAXED(&words[i], WordAt(key, i, salt));
}

std::uint32_t LengthOf(std::uint64_t number) {
  return number % 3 == 0 ? PST_RANGE_BYTES : static_cast<std::uint32_t>(64 + number * 328 % 30'000) & ~7u;
}

struct Totals {
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> misses{0};
  std::atomic<std::uint64_t> moved{0};
  std::atomic<std::uint64_t> wrong{0};
};

void ReadFor(const TierUnderTest& test, std::uint64_t keys, std::uint64_t seed, const std::atomic<bool>& stop,
             Totals* totals) {
  Random random(seed);
  std::vector<std::uint64_t> copy(PST_RANGE_BYTES / 8);
  while (!stop.load(std::memory_order_relaxed)) {
    const std::uint64_t number = random.Below(keys);
    const pst_key key = KeyNumber(number);
    pst_entry entry{};
    if (!pst_find(&test.reader, &key, &entry)) {
      totals->misses.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    CopyWords(copy.data(), pst_entry_bytes(&test.reader, &entry), entry.length);
    if (!pst_entry_current(&test.reader, &entry)) {
      totals->moved.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    totals->hits.fetch_add(1, std::memory_order_relaxed);
    bool good = entry.length == LengthOf(number);
    for (std::uint32_t i = 0; good && i < entry.length / 8; ++i) good = copy[i] == WordAt(key, i, 0);
    if (!good) totals->wrong.fetch_add(1, std::memory_order_relaxed);
  }
}

void Stress(bool dataset) {
  TierUnderTest test(kSegments, dataset, !dataset);
  const DataClass data_class = dataset ? DataClass::kDataset : DataClass::kGeneral;
  const std::uint64_t keys = 4 * (std::uint64_t{kSegments} << PST_SEGMENT_SHIFT) / 32'000;
  const std::uint64_t seed = PickSeed();
  Totals totals;
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (std::uint64_t r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] { ReadFor(test, keys, seed + r + 1, stop, &totals); });
  }
  Random random(seed);
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [begin] { return std::chrono::steady_clock::now() - begin; };
  std::uint64_t written = 0;
  // Two seconds, and longer on a slow machine: until segments have been reused often enough.
  while (elapsed() < std::chrono::seconds(2) ||
         (elapsed() < std::chrono::seconds(60) && (test.tier.Stats().evictions < 1000 || totals.hits < 200))) {
    const std::uint64_t number = random.Below(keys);
    const pst_key key = KeyNumber(number);
    if (const pst_entry* entry = test.tier.Find(key)) {
      test.tier.Touched(static_cast<std::uint64_t>(entry->segment) << 32 | entry->offset / PST_ALIGN);
      if (random.Below(20) != 0) continue;
      test.tier.Erase(key);
    }
    const auto space = test.tier.Reserve(data_class, key, LengthOf(number));
    ASSERT_TRUE(space.has_value());
    FillWords(key, test.tier.Bytes(*space), LengthOf(number), 0);
    test.tier.Publish(*space, key, 0, 0, 0);
    ++written;
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(totals.wrong.load(), 0u) << "seed " << seed;
  EXPECT_GE(totals.hits.load(), 200u);
  EXPECT_GE(test.tier.Stats().evictions, 1000u);
  std::printf("%llu written, %llu hits, %llu moved under the reader, %llu misses\n",
              static_cast<unsigned long long>(written), static_cast<unsigned long long>(totals.hits.load()),
              static_cast<unsigned long long>(totals.moved.load()),
              static_cast<unsigned long long>(totals.misses.load()));
}

TEST(StressTest, DatasetReadersNeverSeeAWrongByte) { Stress(true); }

TEST(StressTest, GeneralReadersNeverSeeAWrongByte) {
  if (kThreadSanitizer) GTEST_SKIP() << "survivors are copied with memcpy, which races by design";
  Stress(false);
}

}  // namespace
}  // namespace penstock::cache
