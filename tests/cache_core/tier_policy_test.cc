// What stays and what goes: the dataset and the general class, and names.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/cache_core/tier_util.h"

namespace penstock::cache {
namespace {

// Reads `key`: true on a hit, which is reported as a client would; else it is brought in.
bool ReadThrough(TierUnderTest* test, DataClass data_class, const pst_key& key) {
  pst_entry entry{};
  if (pst_find(&test->reader, &key, &entry)) {
    if (entry.flags & PST_ENTRY_RECENCY) {
      test->tier.Touched(static_cast<std::uint64_t>(entry.segment) << 32 | entry.offset / PST_ALIGN);
    }
    return true;
  }
  EXPECT_TRUE(test->Put(data_class, key, PST_RANGE_BYTES));
  return false;
}

double ShuffledEpochs(TierUnderTest* test, DataClass data_class, std::uint64_t keys, int epochs) {
  Random random(PickSeed());
  std::vector<std::uint64_t> order(keys);
  std::iota(order.begin(), order.end(), 0);
  std::uint64_t hits = 0;
  for (int epoch = 0; epoch <= epochs; ++epoch) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
    for (const std::uint64_t number : order) {
      const bool hit = ReadThrough(test, data_class, KeyNumber(number));
      if (epoch > 0 && hit) ++hits;
    }
  }
  return static_cast<double>(hits) / static_cast<double>(keys * static_cast<std::uint64_t>(epochs));
}

TEST(PolicyTest, ADatasetTwiceTheArenaHitsNearlyHalfOfTheTime) {
  TierUnderTest test(64);
  const double rate = ShuffledEpochs(&test, DataClass::kDataset, 2 * 64 * 32, 3);
  EXPECT_GE(rate, 0.42);
  EXPECT_LE(rate, 0.52);
}

TEST(PolicyTest, ADatasetThatFitsIsNeverEvicted) {
  TierUnderTest test(64);
  EXPECT_EQ(ShuffledEpochs(&test, DataClass::kDataset, 50 * 32, 2), 1.0);
  EXPECT_EQ(test.tier.Stats().evictions, 0u);
}

TEST(PolicyTest, AGeneralWorkingSetSurvivesAScan) {
  TierUnderTest test(64, false, true);
  const std::uint64_t hot = 20 * 32;  // a third of the arena
  for (int round = 0; round < 4; ++round) {
    for (std::uint64_t i = 0; i < hot; ++i) ReadThrough(&test, DataClass::kGeneral, KeyNumber(i));
  }
  // Read once, and never again: four arenas full.
  for (std::uint64_t i = 0; i < 4 * 64 * 32; ++i) {
    ReadThrough(&test, DataClass::kGeneral, KeyNumber(1'000'000 + i));
  }
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < hot; ++i) hits += test.Holds(KeyNumber(i), PST_RANGE_BYTES) ? 1 : 0;
  EXPECT_GE(static_cast<double>(hits), 0.8 * static_cast<double>(hot));
}

TEST(PolicyTest, AGeneralGhostComesBackToTheMainQueue) {
  TierUnderTest test(64, false, true);
  const auto scan = [&test](std::uint64_t from, std::uint64_t segments) {
    for (std::uint64_t i = 0; i < segments * 32; ++i) {
      ReadThrough(&test, DataClass::kGeneral, KeyNumber(from + i));
    }
  };
  const std::uint64_t few = 4 * 32;
  for (std::uint64_t i = 0; i < few; ++i) ReadThrough(&test, DataClass::kGeneral, KeyNumber(i));
  scan(1'000'000, 70);  // pushes them out untouched: remembered as ghosts
  std::uint64_t before = 0;
  for (std::uint64_t i = 0; i < few; ++i) before += test.Holds(KeyNumber(i), PST_RANGE_BYTES) ? 1 : 0;
  ASSERT_EQ(before, 0u);
  for (std::uint64_t i = 0; i < few; ++i) ReadThrough(&test, DataClass::kGeneral, KeyNumber(i));
  scan(2'000'000, 40);
  std::uint64_t after = 0;
  for (std::uint64_t i = 0; i < few; ++i) after += test.Holds(KeyNumber(i), PST_RANGE_BYTES) ? 1 : 0;
  EXPECT_GE(after, few * 8 / 10);
}

TEST(PolicyTest, GeneralDataKeepsItsShareBesideADataset) {
  TierUnderTest test(64, true, true);
  (void)ShuffledEpochs(&test, DataClass::kDataset, 4 * 64 * 32, 1);
  const std::uint64_t hot = 6 * 32;
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i < hot; ++i) ReadThrough(&test, DataClass::kGeneral, KeyNumber(9'000'000 + i));
  }
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < hot; ++i) hits += test.Holds(KeyNumber(9'000'000 + i), PST_RANGE_BYTES) ? 1 : 0;
  EXPECT_EQ(hits, hot);
}

TEST(PolicyTest, ADatasetTakesWhatGeneralDataHadFilledBefore) {
  TierUnderTest test(64, true, true);
  for (std::uint64_t i = 0; i < 64 * 32; ++i) ReadThrough(&test, DataClass::kGeneral, KeyNumber(9'000'000 + i));
  const double rate = ShuffledEpochs(&test, DataClass::kDataset, 32 * 32, 2);
  EXPECT_EQ(rate, 1.0);
}

TEST(PolicyTest, NamesSurviveAFloodOfData) {
  TierUnderTest test(64);
  for (std::uint64_t i = 0; i < 10'000; ++i) ASSERT_TRUE(test.Put(DataClass::kRecord, KeyNumber(i), 120));
  (void)ShuffledEpochs(&test, DataClass::kDataset, 4 * 64 * 32, 1);
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) hits += test.Holds(KeyNumber(i), 120) ? 1 : 0;
  EXPECT_EQ(hits, 10'000u);
}

TEST(PolicyTest, ExpiredNamesGoBeforeLiveOnes) {
  TierUnderTest test(64);
  const std::uint64_t live = 5'000;
  for (std::uint64_t i = 0; i < live; ++i) ASSERT_TRUE(test.Put(DataClass::kRecord, KeyNumber(i), 120));
  // Four times what names may take, all expired a moment after their publication.
  const std::uint64_t flood = 4ull * test.tier.shares().names_max * PST_SEGMENT_BYTES / 128;
  for (std::uint64_t i = 0; i < flood; ++i) {
    const pst_key key = KeyNumber(1'000'000 + i);
    ASSERT_TRUE(test.Put(DataClass::kRecord, key, 120));
    test.tier.SetExpiry(key, 1);
  }
  std::uint64_t hits = 0;
  for (std::uint64_t i = 0; i < live; ++i) hits += test.Holds(KeyNumber(i), 120) ? 1 : 0;
  EXPECT_GE(hits, live * 9 / 10);
}

TEST(PolicyTest, ATouchedEntryStopsAskingForReportsAfterThree) {
  TierUnderTest test(64, false, true);
  const pst_key key = KeyNumber(5);
  ASSERT_TRUE(test.Put(DataClass::kGeneral, key, 100));
  pst_entry entry{};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pst_find(&test.reader, &key, &entry));
    EXPECT_TRUE(entry.flags & PST_ENTRY_RECENCY) << i;
    test.tier.Touched(static_cast<std::uint64_t>(entry.segment) << 32 | entry.offset / PST_ALIGN);
  }
  ASSERT_TRUE(pst_find(&test.reader, &key, &entry));
  EXPECT_FALSE(entry.flags & PST_ENTRY_RECENCY);
}

}  // namespace
}  // namespace penstock::cache
