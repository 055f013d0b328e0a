#include "cache/config/units.h"

#include <gtest/gtest.h>

#include <array>

namespace penstock::cache {
namespace {

TEST(Units, BytesAsPeopleWriteThem) {
  EXPECT_EQ(ParseBytes("8GiB"), 8ull << 30);
  EXPECT_EQ(ParseBytes("8Gi"), 8ull << 30);
  EXPECT_EQ(ParseBytes("8G"), 8ull << 30);
  EXPECT_EQ(ParseBytes("500MB"), 500'000'000ull);
  EXPECT_EQ(ParseBytes("64 KiB"), 65'536ull);
  EXPECT_EQ(ParseBytes("1.5GiB"), 3ull << 29);
  EXPECT_EQ(ParseBytes("4096"), 4096ull);
  EXPECT_EQ(ParseBytes("0"), 0ull);
}

TEST(Units, WhatIsNoSize) {
  for (const char* text : {"", "GiB", "-1", "8 GiBs", "1.5", "1.", "8GiB ", "99999999999999999999",
                           "9000000TiB", "1e9", "0x10", "8,5GiB"})
    EXPECT_FALSE(ParseBytes(text)) << text;
}

TEST(Units, Durations) {
  EXPECT_EQ(ParseDuration("60s"), 60'000'000'000);
  EXPECT_EQ(ParseDuration("5m"), 300'000'000'000);
  EXPECT_EQ(ParseDuration("100ms"), 100'000'000);
  EXPECT_EQ(ParseDuration("0.5s"), 500'000'000);
  EXPECT_EQ(ParseDuration("0"), 0);
  for (const char* text : {"", "60", "s", "-1s", "1 fortnight", "400000000d"})
    EXPECT_FALSE(ParseDuration(text)) << text;
}

TEST(Units, FormatsReadBack) {
  for (const std::uint64_t bytes : {0ull, 1ull, 4096ull, 500'000'000ull, 8ull << 30, 3ull << 29})
    EXPECT_EQ(ParseBytes(FormatBytes(bytes)), bytes);
  for (const std::int64_t ns : {0ll, 1ll, 1'000ll, 100'000'000ll, 60'000'000'000ll})
    EXPECT_EQ(ParseDuration(FormatDuration(ns)), ns);
}

TEST(Units, NearestFindsSlips) {
  constexpr std::array<std::string_view, 4> kKeys = {"memory", "nvme", "dir", "metadata_ttl"};
  EXPECT_EQ(Nearest("memroy", kKeys), "memory");
  EXPECT_EQ(Nearest("metadata-ttl", kKeys), "metadata_ttl");
  EXPECT_EQ(Nearest("something_else", kKeys), "");
  EXPECT_EQ(Nearest(std::string(1000, 'x'), kKeys), "");
}

}  // namespace
}  // namespace penstock::cache
