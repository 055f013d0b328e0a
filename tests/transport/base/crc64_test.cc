#include "transport/base/crc64.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock {
namespace {

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// Bit by bit, as the definition says.
std::uint64_t Slow(const std::string& text) {
  std::uint64_t crc = ~std::uint64_t{0};
  for (const unsigned char c : text) {
    crc ^= c;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x9A6C9329AC4BC9B5u : 0);
  }
  return ~crc;
}

TEST(Crc64Test, TheCataloguesCheckValue) {
  EXPECT_EQ(Crc64(Bytes("123456789")), 0xAE8B14860A799888u);
  EXPECT_EQ(Crc64(Bytes(std::string(32, '\0'))), 0xCF3473434D4ECF3Bu);
  EXPECT_EQ(Crc64({}), 0u);
}

TEST(Crc64Test, EveryLengthAndEverySplit) {
  std::string text;
  for (int i = 0; i < 80; ++i) {
    const std::uint64_t whole = Slow(text);
    EXPECT_EQ(Crc64(Bytes(text)), whole);
    for (std::size_t at = 0; at <= text.size(); at += 7) {
      EXPECT_EQ(Crc64(Bytes(text.substr(at)), Crc64(Bytes(text.substr(0, at)))), whole);
    }
    text.push_back(static_cast<char>(i * 37));
  }
}

}  // namespace
}  // namespace penstock
