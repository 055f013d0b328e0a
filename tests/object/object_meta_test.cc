#include "cache/object/object_meta.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

namespace penstock::cache {
namespace {

const ObjectKey kKey{{0x0123456789abcdefull, 0xfedcba9876543210ull}, 42, 7};

TEST(ObjectMetaTest, NamesComeBack) {
  const std::string name = ObjectFileName(kKey);
  EXPECT_EQ(name, "fedcba98765432100123456789abcdef-000000000000002a-0000000000000007");
  ASSERT_TRUE(ParseObjectFileName(name).has_value());
  EXPECT_EQ(*ParseObjectFileName(name), kKey);
  for (const std::string& bad :
       {std::string(), name + "0", name.substr(1), "F" + name.substr(1), "+" + name.substr(1),
        std::string("fedcba98765432100123456789abcdef_000000000000002a-0000000000000007")})
    EXPECT_FALSE(ParseObjectFileName(bad).has_value()) << bad;
}

TEST(ObjectMetaTest, AHeaderComesBackAndAnyFlippedBitIsNoticed) {
  ObjectHeader header{kKey, 1'000'000, -5, "a/b c/\xff"};
  std::array<std::byte, kMetaHeaderBytes> block;
  EncodeHeader(header, block);
  auto decoded = DecodeHeader(block);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->key, header.key);
  EXPECT_EQ(decoded->size, header.size);
  EXPECT_EQ(decoded->mtime_ns, header.mtime_ns);
  EXPECT_EQ(decoded->name, header.name);
  for (std::size_t at = 0; at < block.size(); at++) {
    const std::byte before = block[at];
    block[at] ^= std::byte{1} << (at % 8);
    ASSERT_FALSE(DecodeHeader(block).has_value()) << at;
    block[at] = before;
  }
  EXPECT_FALSE(DecodeHeader(std::span(block).first(kMetaHeaderBytes - 1)).has_value());
}

TEST(ObjectMetaTest, TheLongestNameFits) {
  ObjectHeader header{kKey, 1, 0, std::string(PST_PATH_MAX - 1, 'n')};
  std::array<std::byte, kMetaHeaderBytes> block;
  EncodeHeader(header, block);
  ASSERT_TRUE(DecodeHeader(block).has_value());
  EXPECT_EQ(DecodeHeader(block)->name, header.name);
}

TEST(ObjectMetaTest, ARecordCountsOnlyInItsPlaceAndWhole) {
  std::array<std::byte, kMetaRecordBytes> record{};
  EXPECT_FALSE(DecodeRecord(kKey, 0, record.data()).has_value()) << "zeros are absence";
  EncodeRecord(kKey, 5, 0, record.data());
  ASSERT_TRUE(DecodeRecord(kKey, 5, record.data()).has_value());
  EXPECT_EQ(*DecodeRecord(kKey, 5, record.data()), 0u);
  EXPECT_FALSE(DecodeRecord(kKey, 6, record.data()).has_value());
  ObjectKey other = kKey;
  other.version++;
  EXPECT_FALSE(DecodeRecord(other, 5, record.data()).has_value());
  for (std::size_t bit = 0; bit < 64; bit++) {
    auto torn = record;
    torn[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(DecodeRecord(kKey, 5, torn.data()).has_value()) << bit;
  }
}

}  // namespace
}  // namespace penstock::cache
