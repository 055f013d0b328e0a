// The engine's parts that do no I/O: keys, listings, catalog, read-ahead.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cache/engine/catalog.h"
#include "cache/engine/engine.h"
#include "cache/engine/listing.h"
#include "cache/engine/read_ahead.h"
#include "shim/abi/abi.h"
#include "transport/base/random.h"

namespace penstock::cache {
namespace {

TEST(KeysTest, DifferAndAreStable) {
  EXPECT_EQ(KeyOf("a/b").lo, KeyOf("a/b").lo);
  EXPECT_NE(KeyOf("a/b").lo, KeyOf("a/c").lo);
  EXPECT_NE(VersionOf(KeyOf("a"), "etag"), VersionOf(KeyOf("b"), "etag"));
  EXPECT_NE(VersionOf(KeyOf("a"), "etag"), VersionOf(KeyOf("a"), "etag2"));
  EXPECT_NE(VersionOf(KeyOf("a"), ""), 0u);
}

std::vector<std::string> NamesIn(const Listing& listing) {
  std::vector<std::string> names;
  for (std::uint32_t p = 0; p < listing.pages(); ++p) {
    const auto bytes = listing.Page(p);
    const auto* page = reinterpret_cast<const pst_listing_page*>(bytes.data());
    EXPECT_EQ(page->magic, PST_LISTING_MAGIC);
    EXPECT_EQ(page->bytes, bytes.size());
    EXPECT_LE(page->bytes, PST_RANGE_BYTES);
    EXPECT_EQ(page->page, p);
    EXPECT_EQ(page->pages, listing.pages());
    EXPECT_EQ(page->listing_id, listing.id());
    EXPECT_EQ(page->total_count, listing.count());
    std::size_t at = sizeof *page;
    for (std::uint32_t i = 0; i < page->count; ++i) {
      const auto* entry = reinterpret_cast<const pst_listing_entry*>(bytes.data() + at);
      EXPECT_EQ(entry->record_bytes % 8, 0);
      const char* name = reinterpret_cast<const char*>(bytes.data() + at) + offsetof(pst_listing_entry, name);
      EXPECT_EQ(entry->record_bytes, PST_LISTING_ENTRY_BYTES(std::strlen(name)));
      EXPECT_EQ(reinterpret_cast<const char*>(entry)[entry->record_bytes - 1], '\0');
      EXPECT_EQ(entry->next, static_cast<std::int64_t>(names.size()) + 3);
      names.emplace_back(name);
      at += entry->record_bytes;
    }
    EXPECT_EQ(at, bytes.size());
  }
  return names;
}

TEST(ListingTest, AnEmptyOneIsOnePage) {
  const Listing listing = ListingBuilder{}.Finish(7);
  EXPECT_EQ(listing.pages(), 1u);
  EXPECT_TRUE(NamesIn(listing).empty());
}

TEST(ListingTest, ManyNamesAreSortedPagedAndFound) {
  Random random(42);
  std::vector<std::string> expected;
  ListingBuilder builder;
  for (int i = 0; i < 30'000; ++i) {
    std::string name(1 + random.Below(100), 'a');
    for (char& c : name) c = static_cast<char>('a' + random.Below(26));
    name += std::to_string(i);
    builder.Add(name, 1, PST_KIND_FILE);
    expected.push_back(name);
  }
  builder.Add(expected[0], 1, PST_KIND_FILE);  // twice in the origin's answer
  builder.Add("", 1, PST_KIND_FILE);
  builder.Add(std::string(256, 'x'), 1, PST_KIND_FILE);
  std::sort(expected.begin(), expected.end());
  const Listing listing = builder.Finish(99);
  EXPECT_GT(listing.pages(), 10u);
  EXPECT_EQ(NamesIn(listing), expected);
  EXPECT_EQ(listing.IndexOf(expected[777], 0), 777);
  EXPECT_EQ(listing.IndexOf(expected[778], 778), 778);
  EXPECT_EQ(listing.IndexOf("absent!", 5), -1);
  EXPECT_EQ(listing.At(3)->name, expected[3]);
  EXPECT_FALSE(listing.At(30'000).has_value());
}

TEST(ListingTest, SameContentIsRecognised) {
  ListingBuilder a, b, c;
  a.Add("x", 1, PST_KIND_FILE);
  b.Add("x", 1, PST_KIND_FILE);
  c.Add("x", 1, PST_KIND_DIRECTORY);
  EXPECT_TRUE(a.Finish(1).SameContent(b.Finish(2)));
  EXPECT_FALSE(ListingBuilder{}.Finish(1).SameContent(c.Finish(1)));
  ListingBuilder d;
  d.Add("x", 1, PST_KIND_FILE);
  ListingBuilder e;
  e.Add("x", 1, PST_KIND_DIRECTORY);
  EXPECT_FALSE(d.Finish(1).SameContent(e.Finish(1)));
}

TEST(CatalogTest, StaysWithinItsBytesAndTellsWhatWent) {
  std::vector<std::string> gone;
  Catalog catalog(200'000, [&](std::uint32_t, const NameEntry& entry) { gone.push_back(entry.path); });
  for (int i = 0; i < 5000; ++i) {
    NameEntry entry;
    entry.path = "dir/file" + std::to_string(i);
    const std::string path = entry.path;
    const NameEntry* put = catalog.Put(0, KeyOf(path), std::move(entry));
    ASSERT_EQ(put->path, path);
    ASSERT_NE(catalog.Find(0, KeyOf("dir/file0"), "dir/file0"), nullptr) << "it is used all the time";
  }
  EXPECT_LT(catalog.size(), 1500u);
  EXPECT_EQ(catalog.size() + gone.size(), 5000u);
}

TEST(CatalogTest, ACollidingKeyIsNotTheName) {
  Catalog catalog(1 << 20, nullptr);
  NameEntry entry;
  entry.path = "a";
  catalog.Put(0, KeyOf("a"), std::move(entry));
  EXPECT_NE(catalog.Find(0, KeyOf("a"), "a"), nullptr);
  EXPECT_EQ(catalog.Find(0, KeyOf("a"), "b"), nullptr);
  EXPECT_EQ(catalog.Find(1, KeyOf("a"), "a"), nullptr);
}

TEST(CatalogTest, BelowIsByComponents) {
  EXPECT_TRUE(IsBelow("a/b", "a"));
  EXPECT_TRUE(IsBelow("a", "a"));
  EXPECT_TRUE(IsBelow("a", ""));
  EXPECT_FALSE(IsBelow("ab", "a"));
}

constexpr std::uint32_t kRanges = 4096;  // 256 MiB
const FileKey kFile{0, {1, 2}, 3};

TEST(ReadAheadTest, RandomTouchesFetchNothingMore) {
  ReadAhead ahead;
  Random random(7);
  std::uint64_t extra = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto range = static_cast<std::uint32_t>(random.Below(kRanges));
    extra += ahead.OnAsk(1, kFile, range, range, kRanges, 128, false).count;
  }
  EXPECT_LT(extra, 200u);
}

TEST(ReadAheadTest, AWindowStartsAtTheSecondStepAndGrows) {
  ReadAhead ahead;
  EXPECT_EQ(ahead.OnAsk(1, kFile, 0, 0, kRanges, 128, false).count, 0u);
  auto step = ahead.OnAsk(1, kFile, 1, 1, kRanges, 128, false);
  EXPECT_EQ(step.first, 2u);
  EXPECT_EQ(step.count, 4u);
  EXPECT_EQ(step.marker, 3u);
  std::uint32_t expected = 16;
  for (int i = 0; i < 8; ++i) {
    const std::uint32_t at = step.marker + 1;  // the client reports once it stands on the marker
    const std::uint32_t old = step.marker;
    const std::uint32_t begin = step.first + step.count;
    step = ahead.OnAsk(1, kFile, at, at, kRanges, 128, true);
    EXPECT_EQ(step.first, begin);
    EXPECT_EQ(step.count, std::min(expected, 128u));
    EXPECT_EQ(step.old_marker, old);
    EXPECT_GT(step.marker, step.first - 1);
    EXPECT_LT(step.marker, step.first + step.count);
    expected *= expected < kQuickWindowRanges ? 4 : 2;
  }
}

TEST(ReadAheadTest, SeveralStreamsOfOneCursorAndSeveralCursors) {
  ReadAhead ahead;
  const std::uint32_t places[] = {0, 1000, 2000};
  for (const std::uint32_t place : places) ahead.OnAsk(1, kFile, place, place, kRanges, 128, false);
  for (const std::uint32_t place : places) {
    const auto step = ahead.OnAsk(1, kFile, place + 1, place + 1, kRanges, 128, false);
    EXPECT_EQ(step.first, place + 2);
    EXPECT_EQ(step.count, 4u);
  }
  EXPECT_EQ(ahead.OnAsk(2, kFile, 2, 2, kRanges, 128, false).count, 0u);
}

TEST(ReadAheadTest, EndsAtTheEndOfTheFileWithoutAMarker) {
  ReadAhead ahead;
  ahead.OnAsk(1, kFile, 0, 0, 4, 128, false);
  const auto step = ahead.OnAsk(1, kFile, 1, 1, 4, 128, false);
  EXPECT_EQ(step.first + step.count, 4u);
  EXPECT_EQ(step.marker, ReadAhead::kNoRange);
}

TEST(ReadAheadTest, ASlotThatHoldsAnotherFileStartsOver) {
  ReadAhead ahead;
  ahead.OnAsk(1, kFile, 0, 0, kRanges, 128, false);
  const FileKey other{0, {9, 9}, 9};
  EXPECT_EQ(ahead.OnAsk(1, other, 1, 1, kRanges, 128, false).count, 0u);
}

TEST(ReadAheadTest, ManyCursorsStayBounded) {
  ReadAhead ahead;
  for (std::uint64_t cursor = 1; cursor < 3 * ReadAhead::kMaxCursors; ++cursor) {
    ahead.OnAsk(cursor, kFile, 0, 0, kRanges, 128, false);
  }
  EXPECT_EQ(ahead.OnAsk(1, kFile, 1, 1, kRanges, 128, false).count, 0u);  // forgotten
  EXPECT_EQ(ahead.OnAsk(3 * ReadAhead::kMaxCursors - 1, kFile, 1, 1, kRanges, 128, false).count, 4u);
}

}  // namespace
}  // namespace penstock::cache
