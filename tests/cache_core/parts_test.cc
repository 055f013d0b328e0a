// The engine's parts that do no I/O: keys, listings, catalog, read-ahead.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>
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

// A listing's pages, each checked as a reader checks it.
struct Pages {
  std::vector<std::vector<std::byte>> pages;
  ListingBuilder::Made made;

  explicit Pages(ListingBuilder builder, ListingBuilder::Shape shape = {}) {
    builder.Sort();
    made = builder.Finish(shape, [this](std::uint32_t page, std::span<const std::byte> bytes) {
      EXPECT_EQ(page, pages.size());
      pages.emplace_back(bytes.begin(), bytes.end());
    });
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (std::size_t p = 0; p < pages.size(); ++p) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(pages[p].data());
      pst_listing_page head;
      EXPECT_EQ(pst_listing_header(bytes, static_cast<std::uint32_t>(pages[p].size()), &head), 1);
      EXPECT_LE(pages[p].size(), PST_RANGE_BYTES);
      EXPECT_EQ(head.page, p);
      EXPECT_EQ(head.pages, made.pages);
      EXPECT_EQ(head.listing_id, made.listing_id);
      EXPECT_EQ(head.total_count, made.count);
      EXPECT_EQ(head.first, names.size());
      std::uint32_t at = sizeof head;
      for (std::uint32_t i = 0; i < head.count; ++i) {
        pst_listing_entry entry;
        EXPECT_NE(pst_listing_entry_at(bytes, head.bytes, at, &entry), 0u);
        const char* name = reinterpret_cast<const char*>(bytes) + at + offsetof(pst_listing_entry, name);
        EXPECT_EQ(entry.record_bytes, PST_LISTING_ENTRY_BYTES(std::strlen(name)));
        EXPECT_EQ(bytes[at + entry.record_bytes - 1], 0);
        EXPECT_EQ(entry.next, static_cast<std::int64_t>(names.size()) + 3);
        names.emplace_back(name);
        at += entry.record_bytes;
      }
      EXPECT_EQ(at, head.bytes);
    }
    return names;
  }

  // In the page `p`: what is known about a name.
  std::optional<pst_listed> Find(std::size_t p, const std::string& name) const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(pages[p].data());
    pst_listing_page head;
    if (pst_listing_header(bytes, static_cast<std::uint32_t>(pages[p].size()), &head) != 1) return {};
    pst_listed_name wanted{};
    wanted.id = KeyOf(name);
    wanted.name = name.data();
    wanted.name_len = static_cast<std::uint32_t>(name.size());
    pst_listed listed{};
    if (pst_listing_find_in(bytes, &head, &wanted, &listed) != PST_LISTED_YES) return {};
    return listed;
  }
};

void Add(ListingBuilder* builder, const std::string& name, std::uint64_t size = 0,
         std::uint32_t kind = PST_KIND_FILE) {
  pst_listing_attr attr{};
  attr.size_mode = pst_listing_pack(size, 0);
  builder->Add(name, KeyOf(name), kind, attr);
}

TEST(ListingTest, AnEmptyOneIsOnePage) {
  const Pages listing{ListingBuilder{}};
  EXPECT_EQ(listing.made.pages, 1u);
  EXPECT_TRUE(listing.Names().empty());
  EXPECT_FALSE(listing.Find(0, "x").has_value());
}

TEST(ListingTest, ManyNamesAreSortedPagedAndFound) {
  Random random(42);
  std::vector<std::string> expected;
  ListingBuilder builder;
  for (int i = 0; i < 30'000; ++i) {
    std::string name(1 + random.Below(100), 'a');
    for (char& c : name) c = static_cast<char>('a' + random.Below(26));
    name += std::to_string(i);
    Add(&builder, name, name.size());
    expected.push_back(name);
  }
  Add(&builder, expected[0], expected[0].size());  // twice in the origin's answer
  Add(&builder, "");
  Add(&builder, "a/b");
  Add(&builder, std::string(256, 'x'));
  std::sort(expected.begin(), expected.end());
  const Pages listing(std::move(builder));
  EXPECT_GT(listing.made.pages, 10u);
  EXPECT_EQ(listing.Names(), expected);
  std::size_t found = 0;
  for (std::size_t p = 0; p < listing.pages.size(); ++p) {
    for (const std::string& name : expected) {
      const auto listed = listing.Find(p, name);
      if (!listed) continue;
      ASSERT_EQ(expected[listed->number], name);
      ASSERT_EQ(pst_listing_size(&listed->attr), name.size());
      ++found;
    }
  }
  EXPECT_EQ(found, expected.size());
  std::vector<std::string> tail;
  EachListed(listing.pages.back(), 29'998, [&tail](const ListedChild& child) {
    tail.emplace_back(child.name);
    return true;
  });
  EXPECT_EQ(tail, (std::vector<std::string>{expected[29'998], expected[29'999]}));
}

TEST(ListingTest, DirectoriesStandWhereTheirSlashPutsThemAndHideAFileOfTheirName) {
  ListingBuilder builder;
  Add(&builder, "a", 0, PST_KIND_DIRECTORY);
  Add(&builder, "a", 7);
  Add(&builder, "a-b");
  Add(&builder, "a0");
  Add(&builder, "ab", 0, PST_KIND_DIRECTORY);
  const Pages listing(std::move(builder));
  EXPECT_EQ(listing.Names(), (std::vector<std::string>{"a-b", "a", "a0", "ab"}));
  EXPECT_EQ(listing.Find(0, "a")->kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(listing.Find(0, "a0")->kind, PST_KIND_FILE);
}

TEST(ListingTest, TheSameEntriesHaveTheSameId) {
  const auto id = [](std::vector<std::pair<std::string, std::uint32_t>> entries, std::uint64_t size) {
    ListingBuilder builder;
    for (const auto& [name, kind] : entries) Add(&builder, name, size, kind);
    return Pages(std::move(builder)).made.listing_id;
  };
  const std::uint64_t x = id({{"x", PST_KIND_FILE}}, 1);
  EXPECT_NE(x, 0u);
  EXPECT_EQ(x, id({{"x", PST_KIND_FILE}}, 2));
  EXPECT_NE(x, id({{"y", PST_KIND_FILE}}, 1));
  EXPECT_NE(x, id({{"x", PST_KIND_DIRECTORY}}, 1));
  EXPECT_NE(x, id({}, 1));
  EXPECT_NE(id({{"x", PST_KIND_FILE}, {"y", PST_KIND_FILE}}, 1), id({{"xy", PST_KIND_FILE}}, 1));
}

// Whatever stands in a page, a reader stays inside it. (Found by AddressSanitizer if not.)
TEST(ListingTest, NoPageLeadsOutOfItself) {
  const std::uint64_t seed = std::random_device{}();
  Random random(seed);
  ListingBuilder builder;
  for (int i = 0; i < 50; ++i) Add(&builder, "name" + std::to_string(i), 1);
  const Pages listing(std::move(builder));
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> page = listing.pages[0];
    for (std::uint64_t i = 1 + random.Below(8); i > 0; --i) {
      page[random.Below(round % 2 == 0 ? 64 : page.size())] = static_cast<std::byte>(random.Below(256));
    }
    page.resize(page.size() - random.Below(page.size() / 2) * (round % 3 == 0 ? 1 : 0));
    page.shrink_to_fit();
    Pages broken{ListingBuilder{}};
    broken.pages[0] = page;
    for (int i = 0; i < 50; i += 7) (void)broken.Find(0, "name" + std::to_string(i));
  }
}

TEST(TokenTest, AzuresEntityTagsFitIntoAWord) {
  for (const char* tag : {"0x8DCD0E5A1B2C3D4", "\"0x8DCD0E5A1B2C3D4\"", "0x1", "0x0FFFFFFFFFFFFFF", "0x000000000000001"}) {
    EXPECT_NE(PackToken(tag), 0u) << tag;
    EXPECT_EQ(UnpackToken(PackToken(tag)), tag);
  }
  for (const char* tag : {"", "v1", "0x", "0xg", "0x8dc", "0x01", "1:2:3", "0x18DCD0E5A1B2C3D4", "\"0x1", "0x-1", "W/\"0x1\""}) {
    EXPECT_EQ(PackToken(tag), 0u) << tag;
  }
  EXPECT_EQ(UnpackToken(0), "");
}

TEST(CatalogTest, StaysWithinItsBytes) {
  Catalog catalog(200'000);
  for (int i = 0; i < 5000; ++i) {
    NameEntry entry;
    entry.path = "dir/file" + std::to_string(i);
    const std::string path = entry.path;
    const NameEntry* put = catalog.Put(0, KeyOf(path), std::move(entry));
    ASSERT_EQ(put->path, path);
    ASSERT_NE(catalog.Find(0, KeyOf("dir/file0"), "dir/file0"), nullptr) << "it is used all the time";
  }
  EXPECT_LT(catalog.size(), 1500u);
  EXPECT_GT(catalog.size(), 500u);
}

TEST(CatalogTest, ACollidingKeyIsNotTheName) {
  Catalog catalog(1 << 20);
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
