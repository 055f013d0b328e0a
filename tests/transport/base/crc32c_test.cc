#include "transport/base/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "transport/base/random.h"

namespace penstock {
namespace {

std::vector<std::byte> Bytes(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::vector<std::byte> RandomBytes(std::size_t size) {
  Random random(size);
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random.Next());
  return bytes;
}

struct KnownValue {
  std::vector<std::byte> data;
  std::uint32_t crc;
};

// RFC 3720, B.4, and the check value of the CRC catalogue.
std::vector<KnownValue> KnownValues() {
  std::vector<std::byte> rising(32);
  for (int i = 0; i < 32; ++i) rising[i] = static_cast<std::byte>(i);
  std::vector<std::byte> falling(rising.rbegin(), rising.rend());
  return {{std::vector<std::byte>(32, std::byte{0}), 0x8A9136AAu},
          {std::vector<std::byte>(32, std::byte{0xFF}), 0x62A8AB43u},
          {rising, 0x46DD794Eu},
          {falling, 0x113FDB5Cu},
          {Bytes("123456789"), 0xE3069283u},
          {{}, 0u}};
}

TEST(Crc32c, KnownValues) {
  for (const auto& known : KnownValues()) {
    EXPECT_EQ(Crc32c(known.data), known.crc);
    EXPECT_EQ(Crc32cPortable(known.data), known.crc);
  }
}

TEST(Crc32c, TwinsAgreeOnEveryLengthAndAlignment) {
  const auto bytes = RandomBytes(40'000);
  std::vector<std::size_t> sizes(1'000);
  std::iota(sizes.begin(), sizes.end(), 0);
  // Around the boundaries of the interleaved stripes.
  for (const std::size_t stripe : {3u * 256u, 3u * 4096u, 2u * 3u * 4096u + 3u * 256u}) {
    for (std::size_t size = stripe - 9; size < stripe + 10; ++size) sizes.push_back(size);
  }
  for (const std::size_t size : sizes) {
    const std::size_t start = size % 13;
    const std::span data(bytes.data() + start, size);
    ASSERT_EQ(Crc32c(data, 0x1234u), Crc32cPortable(data, 0x1234u)) << size;
  }
}

TEST(Crc32c, ContinuesFromAPreviousValue) {
  const auto bytes = RandomBytes(30'000);
  const auto whole = Crc32c(bytes);
  for (const std::size_t cut : {0u, 1u, 7u, 768u, 12'288u, 29'999u, 30'000u}) {
    const std::span data(bytes);
    EXPECT_EQ(Crc32c(data.subspan(cut), Crc32c(data.first(cut))), whole) << cut;
  }
}

TEST(Crc32c, SeesEveryFlippedBit) {
  auto bytes = RandomBytes(1'024);
  const auto before = Crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 5) {
    bytes[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    ASSERT_NE(Crc32c(bytes), before) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
  }
}

}  // namespace
}  // namespace penstock
