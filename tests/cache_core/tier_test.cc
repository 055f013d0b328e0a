// The memory tier's bookkeeping, seen the way a client sees it: through pst_find on read-only mappings.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <vector>

#include "cache/memory/memory_tier.h"
#include "tests/cache_core/tier_util.h"

namespace penstock::cache {
namespace {

TEST(TierTest, WhatIsPublishedIsFoundByAReader) {
  TierUnderTest test(16);
  const pst_key key = KeyNumber(1);
  ASSERT_TRUE(test.Put(DataClass::kDataset, key, 1000));
  pst_entry entry{};
  ASSERT_TRUE(pst_find(&test.reader, &key, &entry));
  EXPECT_EQ(entry.length, 1000u);
  EXPECT_EQ(entry.offset % PST_ALIGN, 0u);
  EXPECT_TRUE(test.Holds(key, 1000));
  const pst_key other = KeyNumber(2);
  EXPECT_FALSE(pst_find(&test.reader, &other, &entry));
}

TEST(TierTest, NothingIsVisibleBeforePublishNorAfterAbandon) {
  TierUnderTest test(16);
  const pst_key key = KeyNumber(1);
  const auto space = test.tier.Reserve(DataClass::kDataset, key, 100);
  ASSERT_TRUE(space.has_value());
  pst_entry entry{};
  EXPECT_FALSE(pst_find(&test.reader, &key, &entry));
  test.tier.Abandon(*space);
  EXPECT_FALSE(pst_find(&test.reader, &key, &entry));
  EXPECT_EQ(test.tier.Stats().bytes_live, 0u);
}

TEST(TierTest, ReplacingKeepsOneEntryAndTheNewestBytes) {
  TierUnderTest test(16);
  const pst_key key = KeyNumber(1);
  ASSERT_TRUE(test.Put(DataClass::kRecord, key, 100, 1));
  ASSERT_TRUE(test.Put(DataClass::kRecord, key, 200, 2));
  EXPECT_TRUE(test.Holds(key, 200, 2));
  EXPECT_EQ(test.tier.Stats().entries, 1u);
  EXPECT_EQ(test.tier.Stats().bytes_live, 256u);
}

TEST(TierTest, SmallFilesCostLittleMoreThanTheirBytes) {
  TierUnderTest test(200);
  for (std::uint64_t file = 0; file < 2000; ++file) {
    for (std::uint32_t range = 0; range < 2; ++range) {
      pst_key key = KeyNumber(file);
      key.range = range;
      ASSERT_TRUE(test.Put(DataClass::kDataset, key, PST_RANGE_BYTES));
    }
  }
  const double bytes = 2000.0 * 128 * 1024;
  EXPECT_LE(static_cast<double>(test.tier.Stats().bytes_used), 1.15 * bytes);
}

TEST(TierTest, EraseExpiryAndFlags) {
  TierUnderTest test(16);
  const pst_key key = KeyNumber(3);
  ASSERT_TRUE(test.Put(DataClass::kDataset, key, 64));
  EXPECT_TRUE(test.tier.SetExpiry(key, 77));
  EXPECT_TRUE(test.tier.ChangeFlags(key, PST_ENTRY_READAHEAD, 0));
  pst_entry entry{};
  ASSERT_TRUE(pst_find(&test.reader, &key, &entry));
  EXPECT_EQ(entry.expires_ds, 77u);
  EXPECT_EQ(entry.flags & PST_ENTRY_READAHEAD, PST_ENTRY_READAHEAD);
  EXPECT_TRUE(test.tier.ChangeFlags(key, 0, PST_ENTRY_READAHEAD));
  ASSERT_TRUE(pst_find(&test.reader, &key, &entry));
  EXPECT_EQ(entry.flags & PST_ENTRY_READAHEAD, 0u);
  test.tier.Erase(key);
  EXPECT_FALSE(pst_find(&test.reader, &key, &entry));
  EXPECT_FALSE(test.tier.SetExpiry(key, 1));
  EXPECT_EQ(test.tier.Stats().entries, 0u);
}

TEST(TierTest, ASegmentWithAReadInFlightIsNotRecycled) {
  TierUnderTest test(8);
  const pst_key held = KeyNumber(1'000'000);
  const auto space = test.tier.Reserve(DataClass::kDataset, held, PST_RANGE_BYTES);
  ASSERT_TRUE(space.has_value());
  std::memset(test.tier.Bytes(*space), 0x5a, PST_RANGE_BYTES);
  for (std::uint64_t i = 0; i < 2000; ++i) (void)test.Put(DataClass::kDataset, KeyNumber(i), PST_RANGE_BYTES);
  const std::byte* bytes = test.tier.Bytes(*space);
  for (std::uint32_t i = 0; i < PST_RANGE_BYTES; ++i) ASSERT_EQ(bytes[i], std::byte{0x5a});
  test.tier.Publish(*space, held, 0, 0, 0);
  EXPECT_NE(test.tier.Find(held), nullptr);
}

TEST(TierTest, WhenEverythingIsPinnedThereIsNoRoomUntilSomethingIsReleased) {
  TierUnderTest test(8);
  std::vector<Space> held;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    const auto space = test.tier.Reserve(DataClass::kDataset, KeyNumber(i), PST_RANGE_BYTES);
    if (!space) break;
    held.push_back(*space);
  }
  ASSERT_LT(held.size(), 10'000u);
  ASSERT_FALSE(test.tier.Reserve(DataClass::kDataset, KeyNumber(1), PST_RANGE_BYTES).has_value());
  EXPECT_TRUE(test.Put(DataClass::kRecord, KeyNumber(77), 100));  // names keep their share
  for (const Space& space : held) test.tier.Abandon(space);
  EXPECT_TRUE(test.tier.Reserve(DataClass::kDataset, KeyNumber(1), PST_RANGE_BYTES).has_value());
}

TEST(TierTest, AFullIndexBucketDropsAnEntryInsteadOfFailing) {
  TierUnderTest test(64);
  // 64 MiB in pieces of 64 bytes: far more entries than the index has slots.
  for (std::uint64_t i = 0; i < 400'000; ++i) {
    ASSERT_TRUE(test.Put(DataClass::kDataset, KeyNumber(i), 64));
  }
  const TierStats stats = test.tier.Stats();
  EXPECT_GT(stats.evictions, 0u);
  EXPECT_LE(stats.entries, (test.reader.bucket_mask + 1) * PST_BUCKET_ENTRIES);
  std::uint64_t found = 0;
  for (std::uint64_t i = 0; i < 400'000; ++i) found += test.Holds(KeyNumber(i), 64) ? 1 : 0;
  EXPECT_EQ(found, stats.entries);
}

// A random walk against a plain map: what the tier still names must be exactly what was stored last.
TEST(TierTest, RandomOperationsNeverGiveWrongBytes) {
  TierUnderTest test(8, true, true);
  Random random(PickSeed());
  std::map<std::uint64_t, std::pair<std::uint32_t, std::uint8_t>> model;
  std::uint64_t hits = 0;
  for (int step = 0; step < 60'000; ++step) {
    const std::uint64_t number = random.Below(3000);
    const pst_key key = KeyNumber(number);
    const std::uint64_t what = random.Below(10);
    if (what < 5) {
      const auto bytes = static_cast<std::uint32_t>(1 + random.Below(PST_RANGE_BYTES));
      const auto salt = static_cast<std::uint8_t>(random.Below(250));
      const auto data_class = static_cast<DataClass>(number % 3);
      if (test.Put(data_class, key, bytes, salt)) model[number] = {bytes, salt};
    } else if (what < 6) {
      test.tier.Erase(key);
      model.erase(number);
    } else {
      pst_entry entry{};
      if (!pst_find(&test.reader, &key, &entry)) continue;
      ASSERT_TRUE(model.contains(number)) << "seed " << random.seed();
      ASSERT_TRUE(test.Holds(key, model[number].first, model[number].second)) << "seed " << random.seed();
      test.tier.Touched(static_cast<std::uint64_t>(entry.segment) << 32 | entry.offset / PST_ALIGN);
      ++hits;
    }
    if (step % 100 == 0) test.tier.Touched(random.Next());  // rubbish from a client
  }
  EXPECT_GT(hits, 1000u);
}

TEST(TierTest, SupersededBytesAreWonBack) {
  TierUnderTest test(32);
  // Fill the keep area, then supersede nine tenths of it: the same room must take as much again.
  std::vector<pst_key> keys;
  while (true) {
    const pst_key key = KeyNumber(keys.size());
    const std::uint64_t before = test.tier.Stats().evictions;
    ASSERT_TRUE(test.Put(DataClass::kDataset, key, PST_RANGE_BYTES));
    if (test.tier.Stats().evictions > before) break;  // transit has begun to recycle
    keys.push_back(key);
  }
  const std::uint64_t used = test.tier.Stats().bytes_used;
  std::uint64_t survivors = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i % 10 != 0) test.tier.Erase(keys[i]);
  }
  for (std::size_t i = 0; i < keys.size() * 7 / 10; ++i) {
    ASSERT_TRUE(test.Put(DataClass::kDataset, KeyNumber(100'000 + i), PST_RANGE_BYTES));
  }
  for (std::size_t i = 0; i < keys.size(); i += 10) survivors += test.Holds(keys[i], PST_RANGE_BYTES) ? 1 : 0;
  std::uint64_t fresh = 0;
  for (std::size_t i = 0; i < keys.size() * 7 / 10; ++i) {
    fresh += test.Holds(KeyNumber(100'000 + i), PST_RANGE_BYTES) ? 1 : 0;
  }
  EXPECT_GE(survivors, keys.size() / 10 * 8 / 10);
  EXPECT_GE(fresh, keys.size() * 6 / 10);
  EXPECT_EQ(test.tier.Stats().bytes_used, used);
}

TEST(TierTest, RecordsThatAreDoomedAreErased) {
  TierUnderTest test(16);
  for (std::uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(test.Put(DataClass::kRecord, KeyNumber(i), 100));
  test.tier.EraseRecords([](const pst_key& key, std::span<const std::byte>) { return key.range == 0 && key.version % 2 == 0; });
  std::uint64_t left = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) left += test.Holds(KeyNumber(i), 100) ? 1 : 0;
  EXPECT_EQ(left, 500u);
}

}  // namespace
}  // namespace penstock::cache
