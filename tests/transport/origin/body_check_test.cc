#include "transport/blob/body_check.h"

#include <gtest/gtest.h>

namespace penstock::origin {
namespace {

constexpr std::string_view kBody = "123456789";
constexpr const char* kMd5 = "JfnnlDI7RTiF9RgfG2JNCw==";
constexpr const char* kCrc64 = "iJh5CoYUi64=";  // 0xAE8B14860A799888, the lowest byte first

bool Passes(const ResponseHeaders& headers, Verify verify, std::string_view body) {
  BodyCheck check;
  check.Begin(headers, verify);
  for (std::size_t at = 0; at < body.size(); at += 4) check.Take(body.substr(at, 4));
  return check.Matches();
}

TEST(BodyCheckTest, ChecksWhatTheServerSends) {
  ResponseHeaders md5;
  md5.content_md5 = kMd5;
  EXPECT_TRUE(Passes(md5, Verify::kAuto, kBody));
  EXPECT_FALSE(Passes(md5, Verify::kAuto, "123456780"));
  EXPECT_FALSE(Passes(md5, Verify::kMd5, "12345678"));
  EXPECT_TRUE(Passes(md5, Verify::kOff, "123456780"));
  ResponseHeaders crc;
  crc.content_crc64 = kCrc64;
  EXPECT_TRUE(Passes(crc, Verify::kAuto, kBody));
  EXPECT_FALSE(Passes(crc, Verify::kCrc64, "123456780"));
  EXPECT_TRUE(Passes(ResponseHeaders{}, Verify::kMd5, kBody));
}

TEST(BodyCheckTest, BeginsAnewForEachBody) {
  ResponseHeaders headers;
  headers.content_md5 = kMd5;
  BodyCheck check;
  for (int i = 0; i < 3; ++i) {
    check.Begin(headers, Verify::kAuto);
    check.Take(std::string_view("of a try that broke"));
    check.Begin(headers, Verify::kAuto);
    check.Take(kBody);
    EXPECT_TRUE(check.Matches());
  }
}

TEST(BodyCheckTest, Names) {
  EXPECT_EQ(VerifyFromName("md5"), Verify::kMd5);
  EXPECT_EQ(VerifyFromName("crc64"), Verify::kCrc64);
  EXPECT_EQ(VerifyFromName("off"), Verify::kOff);
  EXPECT_EQ(VerifyFromName("auto"), Verify::kAuto);
}

}  // namespace
}  // namespace penstock::origin
