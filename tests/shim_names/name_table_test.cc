// The table of whole paths: what was kept is found, and nothing else ever is: not under another
// text, another epoch, after its time, or while it changes.

#include "shim/core/name_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace penstock {
namespace {

constexpr int64_t kNever = INT64_MAX;

// Each test has an epoch of its own: the table is the process's.
uint64_t NewEpoch() {
  static std::atomic<uint64_t> next{1000};
  return next.fetch_add(1);
}

pst_attr AttrWith(uint64_t value) {
  return {
      value, value + 1, (int64_t)value + 2, value + 3, PST_KIND_FILE, (uint32_t)value & 0777u, 1,
      0,     {0, 0}};
}

void Keep(uint64_t epoch, const std::string& text, uint64_t value, int64_t expires_ns = kNever) {
  NameTableKeep(epoch, text.data(), (uint32_t)text.size(), 3, {value, ~value}, AttrWith(value),
                expires_ns);
}

// What is known of a text: its size, or -1.
int64_t Known(uint64_t epoch, const std::string& text) {
  // A block of its own, so that a read beyond the text is seen by AddressSanitizer.
  const std::vector<char> bytes(text.begin(), text.end());
  NameRecord record;
  if (!NameTableFind(epoch, bytes.data(), (uint32_t)bytes.size(), &record)) return -1;
  return (int64_t)record.size;
}

TEST(NameTable, FindsEveryFieldOfWhatWasKept) {
  const uint64_t epoch = NewEpoch();
  const std::string text = "/data/train/every-field";
  const pst_attr attr = {11, 12, -13, 14, PST_KIND_DIRECTORY, 0751, 16, 17, {0, 0}};
  NameTableKeep(epoch, text.data(), (uint32_t)text.size(), 5, {21, 22}, attr, kNever);
  NameRecord found;
  ASSERT_TRUE(NameTableFind(epoch, text.data(), (uint32_t)text.size(), &found));
  EXPECT_EQ(found.size, 11u);
  EXPECT_EQ(found.version, 12u);
  EXPECT_EQ(found.mtime_ns, -13);
  EXPECT_EQ(found.ino, 14u);
  EXPECT_EQ(found.kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(found.mode, 0751u);
  EXPECT_EQ(found.nlink, 16u);
  EXPECT_EQ(found.err, 17);
  EXPECT_EQ(found.mount, 5u);
  EXPECT_EQ(found.id.lo, 21u);
  EXPECT_EQ(found.id.hi, 22u);
}

TEST(NameTable, ATextOfAnotherEpochIsNotFound) {
  const uint64_t epoch = NewEpoch();
  Keep(epoch, "/data/epoch", 1);
  EXPECT_EQ(Known(epoch, "/data/epoch"), 1);
  EXPECT_EQ(Known(NewEpoch(), "/data/epoch"), -1);
  Keep(0, "/data/epoch-zero", 2);  // what is empty has this one
  EXPECT_EQ(Known(0, "/data/epoch-zero"), -1);
}

TEST(NameTable, WhatHasExpiredIsNotFound) {
  const uint64_t epoch = NewEpoch();
  Keep(epoch, "/data/gone", 1, PstMonotonicNs() - 1'000'000'000);
  Keep(epoch, "/data/good", 2, PstMonotonicNs() + 3'600'000'000'000);
  EXPECT_EQ(Known(epoch, "/data/gone"), -1);
  EXPECT_EQ(Known(epoch, "/data/good"), 2);
  Keep(epoch, "/data/gone", 3, kNever);
  EXPECT_EQ(Known(epoch, "/data/gone"), 3);
}

TEST(NameTable, EachByteOfATextCounts) {
  for (uint32_t len = 1; len <= kNameTextBytes; ++len) {
    const uint64_t epoch = NewEpoch();
    const std::string text(len, 'a');
    Keep(epoch, text, len);
    ASSERT_EQ(Known(epoch, text), len);
    ASSERT_EQ(Known(epoch, text.substr(1)), -1);
    ASSERT_EQ(Known(epoch, text + 'a'), -1);
    for (uint32_t i = 0; i < len; ++i) {
      std::string other = text;
      other[i] = 'b';
      ASSERT_EQ(Known(epoch, other), -1) << "length " << len << ", byte " << i;
    }
  }
}

TEST(NameTable, TextsThatAreEmptyOrTooLongAreNotKept) {
  const uint64_t epoch = NewEpoch();
  for (const uint32_t len : {0u, kNameTextBytes + 1, 4096u}) {
    Keep(epoch, std::string(len, 'x'), 1);
    EXPECT_EQ(Known(epoch, std::string(len, 'x')), -1);
  }
}

// Two texts of one bucket and one tag: only the compare tells them apart. Found by search.
TEST(NameTable, TextsThatCollideAreToldApart) {
  std::unordered_map<uint64_t, std::string> seen;
  int pairs = 0;
  for (int i = 0; i < 2'000'000 && pairs < 20; ++i) {
    const std::string text = "/data/train/colliding/" + std::to_string(1'000'000 + i);
    const uint64_t hash = NameHash(text.data(), (uint32_t)text.size());
    const uint64_t place = (uint64_t)NameTag(hash) << 32 | hash % kNameBuckets;
    const auto [other, fresh] = seen.emplace(place, text);
    if (fresh) continue;
    ++pairs;
    const uint64_t epoch = NewEpoch();
    Keep(epoch, other->second, 1);
    ASSERT_EQ(Known(epoch, text), -1);
    Keep(epoch, text, 2);
    ASSERT_EQ(Known(epoch, other->second), 1);
    ASSERT_EQ(Known(epoch, text), 2);
  }
  EXPECT_GT(pairs, 0);
}

TEST(NameTable, ABucketWithTooManyForgetsAndNeverMistakes) {
  const uint64_t epoch = NewEpoch();
  std::vector<std::string> texts;
  for (int i = 0; texts.size() < 3 * kNameWays; ++i) {
    std::string text = "/data/bucket/" + std::to_string(i);
    if (NameHash(text.data(), (uint32_t)text.size()) % kNameBuckets == 7) texts.push_back(text);
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    Keep(epoch, texts[i], i);
    ASSERT_EQ(Known(epoch, texts[i]), (int64_t)i) << "the newest is there";
    for (size_t k = 0; k < i; ++k) {
      const int64_t known = Known(epoch, texts[k]);
      ASSERT_TRUE(known == (int64_t)k || known == -1) << texts[k] << " is " << known;
    }
  }
}

TEST(NameTable, ADataSetOfTwoThousandNamesStays) {
  const uint64_t epoch = NewEpoch();
  auto name = [](int i) {
    return "/mnt/data/imagenet/train/n01440764/" + std::to_string(i) + ".jpg";
  };
  for (int i = 0; i < 2000; ++i) Keep(epoch, name(i), (uint64_t)i);
  int missing = 0;
  for (int i = 0; i < 2000; ++i) missing += Known(epoch, name(i)) != i;
  EXPECT_LE(missing, 20);
}

// A table that wears out: entries that lead to records taken by others fill the buckets.
TEST(NameTable, ADataSetStaysThroughManyPasses) {
  const uint64_t epoch = NewEpoch();
  auto name = [](int i) { return "/mnt/wear/files/" + std::to_string(i) + ".bin"; };
  for (int i = 0; i < 20'000; ++i) Keep(epoch, "/mnt/wear/before/" + std::to_string(i), 1);
  int missing = 0;
  for (int pass = 0; pass < 200; ++pass) {
    missing = 0;
    for (int i = 0; i < 2500; ++i) {
      if (Known(epoch, name(i)) == i) continue;
      ++missing;
      Keep(epoch, name(i), (uint64_t)i);
    }
  }
  EXPECT_LE(missing, 25);
}

TEST(NameTable, MoreNamesThanRecordsAreForgottenAndNeverMistaken) {
  const uint64_t epoch = NewEpoch();
  auto name = [](uint32_t i) { return "/data/many/" + std::to_string(i); };
  constexpr uint32_t kMany = 3 * kNameRecords;
  for (uint32_t i = 0; i < kMany; ++i) {
    Keep(epoch, name(i), i);
    ASSERT_EQ(Known(epoch, name(i)), i);
  }
  uint32_t found = 0;
  for (uint32_t i = 0; i < kMany; ++i) {
    const int64_t known = Known(epoch, name(i));
    ASSERT_TRUE(known == i || known == -1) << i << " is " << known;
    found += known == i;
  }
  EXPECT_GT(found, kNameRecords / 2);
  EXPECT_LE(found, kNameRecords);
}

TEST(NameTable, KeepingATextAgainTakesNoOtherRecord) {
  const std::string others = "/data/again/other";
  const uint64_t epoch = NewEpoch();
  for (int i = 0; i < 100; ++i) Keep(epoch, others + std::to_string(i), (uint64_t)i);
  for (uint32_t i = 0; i < 2 * kNameRecords; ++i) {
    Keep(epoch, "/data/again/one", i);
    ASSERT_EQ(Known(epoch, "/data/again/one"), i);
  }
  int found = 0;
  for (int i = 0; i < 100; ++i) found += Known(epoch, others + std::to_string(i)) == i;
  EXPECT_GE(found, 95);
}

// A writer that was at work when its process forked is not in the child, which keeps the record's
// names anew.
TEST(NameTable, AForkedChildTakesWhatItsParentWasWriting) {
  const uint64_t epoch = NewEpoch();
  const std::string text = "/data/forked/in-the-middle";
  Keep(epoch, text, 1);
  ASSERT_EQ(Known(epoch, text), 1);
  NameRecord* record = nullptr;
  for (NameRecord& one : g_name_records)
    if (one.len == text.size() && memcmp(one.text, text.data(), text.size()) == 0 &&
        one.epoch == epoch)
      record = &one;
  ASSERT_NE(record, nullptr);
  const uint32_t free_seq = record->seq;
  // As a writer of this process leaves it in the middle: readers do not believe it, others do not
  // take it.
  record->seq = (free_seq & ~1u) + 1;
  Keep(epoch, text, 2);
  EXPECT_EQ(Known(epoch, text), -1);
  NameTableForked();
  Keep(epoch, text, 3);
  EXPECT_EQ(Known(epoch, text), 3);
}

TEST(NameTable, ReadersBesideWritersSeeWholeRecords) {
  const uint64_t epoch = NewEpoch();
  constexpr int kNames = 8;
  auto name = [](int i) {
    return "/data/racing/" + std::string((size_t)i * 9, 'r') + std::to_string(i);
  };
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int64_t> found{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      // Names of the same records: the ring goes round and round.
      for (uint64_t n = 0; !stop.load(std::memory_order_relaxed); ++n) {
        const int i = (int)(n % kNames);
        Keep(epoch, name(i), (uint64_t)i + kNames * (n & 0xFFFF));
        if (t == 1) Keep(epoch, "/data/filler/" + std::to_string(n), n * kNames);
      }
    });
    threads.emplace_back([&] {
      NameRecord record;
      while (!stop.load(std::memory_order_relaxed)) {
        for (int i = 0; i < kNames; ++i) {
          const std::string text = name(i);
          if (!NameTableFind(epoch, text.data(), (uint32_t)text.size(), &record)) continue;
          found.fetch_add(1, std::memory_order_relaxed);
          const uint64_t value = record.size;
          if (value % kNames != (uint64_t)i || record.version != value + 1 ||
              record.ino != value + 3 || record.mtime_ns != (int64_t)value + 2 ||
              record.id.lo != value || record.id.hi != ~value) {
            ++wrong;
          }
        }
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_GT(found.load(), 1000);
}

}  // namespace
}  // namespace penstock
