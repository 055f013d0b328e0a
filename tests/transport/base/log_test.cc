#include "transport/base/log.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

TEST(Log, RedactsSignaturesInUrls) {
  EXPECT_EQ(log::Redact("GET https://a/c/b?sv=2021&sig=abc%2Bdef%3D&se=2030 failed"),
            "GET https://a/c/b?sv=2021&sig=***&se=2030 failed");
  EXPECT_EQ(log::Redact("SIG=secret"), "SIG=***");
}

TEST(Log, RedactsKeysTokensAndHeaders) {
  EXPECT_EQ(log::Redact("AccountName=a;AccountKey=c2VjcmV0==;X=1"),
            "AccountName=a;AccountKey=***;X=1");
  EXPECT_EQ(log::Redact("Authorization: SharedKey a:b=\r\nNext: 1"),
            "Authorization:***\r\nNext: 1");
  EXPECT_EQ(log::Redact("sent Bearer eyJ0 to"), "sent Bearer *** to");
  EXPECT_EQ(log::Redact("a=1&client_secret=s3cret&b=2"), "a=1&client_secret=***&b=2");
}

TEST(Log, LeavesOtherTextAlone) {
  EXPECT_EQ(log::Redact("reading az://account/container/design"),
            "reading az://account/container/design");
  EXPECT_EQ(log::Redact(""), "");
}

TEST(Log, WritesOneRedactedLineToStderr) {
  testing::internal::CaptureStderr();
  log::Warning("bad\nname {}", "sig=topsecret");
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("warning bad name sig=***"), std::string::npos) << written;
  EXPECT_EQ(written.find("topsecret"), std::string::npos);
}

TEST(Log, DropsWhatIsBelowTheLevel) {
  testing::internal::CaptureStderr();
  EXPECT_TRUE(log::SetLevelByName("error"));
  log::Warning("unseen");
  EXPECT_FALSE(log::SetLevelByName("loud"));
  EXPECT_TRUE(log::SetLevelByName("info"));
  log::Info("seen");
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_EQ(written.find("unseen"), std::string::npos);
  EXPECT_NE(written.find("info seen"), std::string::npos);
}

}  // namespace
}  // namespace penstock
