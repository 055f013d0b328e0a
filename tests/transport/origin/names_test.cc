#include "transport/origin/names.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::origin {
namespace {

TEST(Names, PathComponents) {
  for (const char* good : {"a", "...", "a b", "%2F", "\xff", " "}) {
    EXPECT_TRUE(IsPathComponent(good)) << good;
  }
  for (const std::string& bad : {std::string(), std::string("."), std::string(".."),
                                 std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(IsPathComponent(bad)) << bad;
  }
}

TEST(Names, WholeNames) {
  for (const char* good : {"", "a", "a/b/c", "a/.hidden/..."}) {
    EXPECT_TRUE(CheckName(good)) << good;
  }
  for (const char* bad : {"/", "/a", "a/", "a//b", "..", "a/../b", "./a"}) {
    ASSERT_FALSE(CheckName(bad)) << bad;
    EXPECT_EQ(CheckName(bad).error().code, Code::kInvalid) << bad;
  }
  EXPECT_TRUE(CheckName(std::string(4096, 'x')));

  std::string deep = "x";
  while (deep.size() <= 4096) deep += "/x";
  EXPECT_EQ(CheckName(deep).error().code, Code::kNameTooLong);
}

TEST(Names, Join) {
  EXPECT_EQ(JoinNames("", ""), "");
  EXPECT_EQ(JoinNames("a", ""), "a");
  EXPECT_EQ(JoinNames("", "b"), "b");
  EXPECT_EQ(JoinNames("a", "b/c"), "a/b/c");
  EXPECT_EQ(JoinNames("/", "b"), "/b");
}

TEST(Names, Utf8) {
  EXPECT_TRUE(IsUtf8("a\xC3\xA4\xE6\x97\xA5\xF0\x9F\x98\x80"));
  for (const char* bad : {"\xff", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\x80", "a\xC3("}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

}  // namespace
}  // namespace penstock::origin
