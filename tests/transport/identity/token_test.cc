#include "transport/identity/token.h"

#include <gtest/gtest.h>

#include <string>

#include "transport/base/clock.h"
#include "transport/base/limits.h"

namespace penstock::identity {
namespace {

constexpr std::int64_t kNow = 1'700'000'000 * kNsPerSecond;

TokenAnswer Parse(const std::string& body, TokenDialect dialect) {
  std::string why;
  auto answer = ParseTokenAnswer(body, dialect, kNow, &why);
  EXPECT_TRUE(answer) << why;
  return answer.value_or(TokenAnswer{});
}

std::string WhyNot(const std::string& body, TokenDialect dialect = TokenDialect::kEntra) {
  std::string why;
  EXPECT_FALSE(ParseTokenAnswer(body, dialect, kNow, &why)) << body;
  EXPECT_EQ(why.find("SECRET"), std::string::npos);
  return why;
}

TEST(TokenAnswer, EveryDialectsTimes) {
  const auto entra = Parse(R"({"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,
                               "refresh_in":1800,"access_token":"a.b-c_d"})",
                           TokenDialect::kEntra);
  EXPECT_EQ(entra.value, "a.b-c_d");
  EXPECT_EQ(entra.lifetime_ns, 3599 * kNsPerSecond);
  EXPECT_EQ(entra.refresh_in_ns, 1800 * kNsPerSecond);
  // IMDS: expires_in counts from the issue of a token that may come out of its cache.
  const auto managed = Parse(R"({"access_token":"x","expires_in":"86399","expires_on":"1700000100",
                                 "token_type":"Bearer"})",
                             TokenDialect::kManaged);
  EXPECT_EQ(managed.lifetime_ns, 100 * kNsPerSecond);
  const auto cli = Parse(R"({"accessToken":"x","expires_on":1700000050,
                             "expiresOn":"2001-01-01 00:00:00.000000","tokenType":"Bearer"})",
                         TokenDialect::kCli);
  EXPECT_EQ(cli.lifetime_ns, 50 * kNsPerSecond);
  setenv("TZ", "UTC+2", 1);
  tzset();
  const auto local =
      Parse(R"({"accessToken":"x","expiresOn":"2023-11-14 21:13:20.123456"})", TokenDialect::kCli);
  EXPECT_EQ(local.lifetime_ns, 3600 * kNsPerSecond);
  setenv("TZ", "UTC", 1);
  tzset();
}

TEST(TokenAnswer, WhatNoHeaderMayHoldIsRefused) {
  WhyNot("");
  WhyNot("SECRET");
  WhyNot("[]");
  WhyNot("{\"access_token\":5,\"expires_in\":60}");
  WhyNot("{\"access_token\":\"\",\"expires_in\":60}");
  WhyNot("{\"access_token\":\"SECRET\\r\\nX: y\",\"expires_in\":60}");
  WhyNot("{\"access_token\":\"SECRET \",\"expires_in\":60}");
  WhyNot("{\"access_token\":\"SECRET\\u0000\",\"expires_in\":60}");
  WhyNot("{\"access_token\":\"\xff\",\"expires_in\":60}");
  WhyNot("{\"access_token\":\"" + std::string(limits::kMaxTokenBytes + 1, 'a') +
         "\",\"expires_in\":60}");
  WhyNot(std::string(limits::kMaxTokenBodyBytes + 1, ' '));
  WhyNot(R"({"access_token":"SECRET","expires_in":60,"token_type":"pop"})");
}

TEST(TokenAnswer, ATimeThatMakesNoSenseIsRefused) {
  WhyNot(R"({"access_token":"SECRET"})");
  WhyNot(R"({"access_token":"SECRET","expires_in":"soon"})");
  WhyNot(R"({"access_token":"SECRET","expires_in":-5})");
  WhyNot(R"({"access_token":"SECRET","expires_in":1e999})");
  EXPECT_NE(WhyNot(R"({"access_token":"SECRET","expires_on":"1699999999"})", TokenDialect::kManaged)
                .find("clock"),
            std::string::npos);
  // One for ever is taken for a week's.
  EXPECT_EQ(Parse(R"({"access_token":"x","expires_in":1e300})", TokenDialect::kEntra).lifetime_ns,
            7 * 86'400 * kNsPerSecond);
}

TEST(Refusal, IsOneLineOfWords) {
  EXPECT_EQ(DescribeRefusal("{\"error\":\"invalid_client\",\"error_description\":"
                            "\"AADSTS7000215: Invalid client secret. Trace ID: 1\\nTimestamp\"}"),
            "invalid_client: AADSTS7000215: Invalid client secret.");
  EXPECT_EQ(DescribeRefusal("<html>"), "");
  EXPECT_EQ(DescribeRefusal(R"({"error":"e\r\nx"})"), "e x");
  EXPECT_EQ(OneLine("a\x1b[31m\n\nb\xc3\xa9", 100), "a [31m b??");
}

}  // namespace
}  // namespace penstock::identity
