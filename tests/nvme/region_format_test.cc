// The format of region files, byte by byte: a change of it must be a new version
// (docs/nvme-format.md).
#include "cache/nvme/region_format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kRegion = 0x1122334455667788;

std::string Hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

ItemHeader Item() {
  return {{{{0x0102030405060708, 0x1112131415161718}, 0x2122232425262728, 0x3132333435363738}, 5},
          1000,
          0xdeadbeef};
}

// A region of one item with its footer.
std::vector<std::byte> Region() {
  std::vector<std::byte> file(3 * kBlockBytes);
  EncodeRegionHeader({kRegion, RegionClass::kGeneral}, std::span(file).first(kRegionHeaderBytes));
  EncodeItemHeader(kRegion, kRegionHeaderBytes, Item(), file.data() + kRegionHeaderBytes);
  const FooterRecord record{FingerprintOf(Item().name), kRegionHeaderBytes, 1000};
  EncodeFooter(kRegion, {&record, 1}, std::span(file).subspan(2 * kBlockBytes));
  return file;
}

TEST(RegionFormat, IsTheOneThatIsWrittenDown) {
  const auto file = Region();
  const std::span bytes(file);
  EXPECT_EQ(Hex(bytes.first(48)),
            "50455354524547310100000030c6cad5887766554433221101000000000001004000000000000000000000"
            "0000000000");
  EXPECT_EQ(Hex(bytes.subspan(4096, 64)),
            "5049544de66a5e610807060504030201181716151413121128272625242322213837363534333231050000"
            "00e8030000efbeadde001000000000000000000000");
  EXPECT_EQ(Hex(bytes.subspan(8192, 16)), "2034c556931f3f4600100000e8030000");
  EXPECT_EQ(Hex(bytes.last(64)).substr(0, 64),
            "50455354464f543101000000ae5528f388776655443322110100000000000000");
  EXPECT_EQ(Crc32c(bytes), 1860198979u);
}

TEST(RegionFormat, EveryFlippedBitOfItsStructureIsSeen) {
  const auto file = Region();
  const auto check = [&](std::size_t at, int bit) {
    auto bad = file;
    bad[at] ^= static_cast<std::byte>(1 << bit);
    const std::span bytes(bad);
    if (at < kRegionHeaderBytes) return !DecodeRegionHeader(bytes.first(kRegionHeaderBytes));
    if (at < kRegionHeaderBytes + kItemHeaderBytes)
      return !DecodeItemHeader(kRegion, kRegionHeaderBytes, bad.data() + kRegionHeaderBytes);
    return !DecodeFooter(kRegion, static_cast<std::uint32_t>(bad.size()),
                         bytes.subspan(2 * kBlockBytes));
  };
  for (int bit = 0; bit < 8; ++bit) {
    for (std::size_t at = 0; at < kRegionHeaderBytes + kItemHeaderBytes; ++at)
      EXPECT_TRUE(check(at, bit)) << at;
    for (std::size_t at = 2 * kBlockBytes; at < file.size(); ++at)
      EXPECT_TRUE(check(at, bit)) << at;
  }
}

TEST(RegionFormat, AnItemIsBoundToItsPlaceAndRegion) {
  const auto file = Region();
  const std::byte* item = file.data() + kRegionHeaderBytes;
  const auto decoded = DecodeItemHeader(kRegion, kRegionHeaderBytes, item);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->name == Item().name);
  EXPECT_FALSE(DecodeItemHeader(kRegion, kRegionHeaderBytes + 64, item));
  EXPECT_FALSE(DecodeItemHeader(kRegion + 1, kRegionHeaderBytes, item));
}

TEST(RegionFormat, AFooterThatPointsOutsideIsNotBelieved) {
  std::vector<std::byte> footer(FooterBytes(1));
  for (const FooterRecord& record : {FooterRecord{1, 0, 10},
                                     {1, 4096, 0},
                                     {1, 4096, 65537},
                                     {1, 4097, 10},
                                     {0, 4096, 10},
                                     {1, 8192 - 64, 10}}) {
    EncodeFooter(kRegion, {&record, 1}, footer);
    EXPECT_FALSE(DecodeFooter(kRegion, 3 * kBlockBytes, footer))
        << record.place << " " << record.length;
  }
  const FooterRecord good{1, 4096, 10};
  EncodeFooter(kRegion, {&good, 1}, footer);
  EXPECT_TRUE(DecodeFooter(kRegion, 3 * kBlockBytes, footer));
  EXPECT_FALSE(DecodeFooter(kRegion, 2 * kBlockBytes, footer))
      << "the item would lie in the footer";
}

TEST(RegionFormat, AWalkFindsItemsAfterAHole) {
  std::vector<std::byte> file(4 * kBlockBytes);
  EncodeItemHeader(kRegion, kRegionHeaderBytes, Item(), file.data() + kRegionHeaderBytes);
  EncodeItemHeader(kRegion, 3 * kBlockBytes, Item(), file.data() + 3 * kBlockBytes);
  const auto records = WalkItems(kRegion, file);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].place, 3 * kBlockBytes);
}

}  // namespace
}  // namespace penstock::cache
