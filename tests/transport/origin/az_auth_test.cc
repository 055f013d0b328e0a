#include "transport/blob/az_auth.h"

#include <gtest/gtest.h>

#include <string>

#include "transport/base/clock.h"
#include "transport/http/percent.h"

namespace penstock::origin {
namespace {

// The example of the service's documentation for a Get Container Metadata request, with the version
// in which an absent body has an empty Content-Length.
TEST(AzAuth, StringToSignOfTheDocumentation) {
  SignedParts parts;
  parts.method = "GET";
  parts.ms_headers = {{"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"},
                      {"x-ms-version", "2015-02-21"}};
  parts.path = "/mycontainer";
  parts.query = {{"comp", "metadata"}, {"restype", "container"}, {"timeout", "20"}};
  EXPECT_EQ(StringToSign(parts, "myaccount"),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
            "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\n"
            "timeout:20");
}

TEST(AzAuth, StringToSignOfARangeWithACondition) {
  SignedParts parts;
  parts.method = "PUT";
  parts.content_length = 11;
  parts.if_match = "\"0x1\"";
  parts.range = "bytes=0-9";
  parts.path = "/c/a%20b";
  EXPECT_EQ(StringToSign(parts, "acct"),
            "PUT\n\n\n11\n\n\n\n\n\"0x1\"\n\n\nbytes=0-9\n/acct/c/a%20b");
}

// RFC 4231, test case 2.
TEST(AzAuth, HmacOfTheRfc) {
  EXPECT_EQ(HmacSha256Base64("Jefe", "what do ya want for nothing?"),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
}

TEST(AzAuth, SignsTheSameAgainAndAgain) {
  const Signer signer("acct", "key");
  SignedParts parts;
  parts.method = "GET";
  parts.path = "/c/b";
  const std::string first = signer.Authorization(parts);
  EXPECT_EQ(first, "SharedKey acct:" + HmacSha256Base64("key", StringToSign(parts, "acct")));
  EXPECT_EQ(signer.Authorization(parts), first);
  parts.path = "/c/other";
  EXPECT_NE(signer.Authorization(parts), first);
  EXPECT_FALSE(Signer("acct", "").Authorization(parts).empty());
}

TEST(AzAuth, Base64) {
  for (const std::string bytes : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)), bytes);
  }
  EXPECT_EQ(EncodeBase64("foob"), "Zm9vYg==");
  for (const char* bad : {"Zg", "Zg=", "Z$==", "====="}) EXPECT_FALSE(DecodeBase64(bad)) << bad;
}

TEST(AzAuth, HttpDates) {
  constexpr std::int64_t kThen = 784'111'777 * kNsPerSecond;
  EXPECT_EQ(FormatHttpDate(kThen), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), kThen);
  EXPECT_EQ(ParseHttpDate("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  for (const char* bad : {"", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
                          "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT",
                          "Sun, 06 Nov 9994 08:49:37 GMT", "Sun, 06 Nov 1994 -8:49:37 GMT"}) {
    EXPECT_FALSE(ParseHttpDate(bad)) << bad;
  }
}

TEST(Percent, EncodesWhatUrlsCannotHold) {
  std::string out;
  AppendPercentEncoded("a/b c+d%e&f#g?h~\xC3\xA4", true, &out);
  EXPECT_EQ(out, "a/b%20c%2Bd%25e%26f%23g%3Fh~%C3%A4");
  out.clear();
  AppendPercentEncoded("a/b", false, &out);
  EXPECT_EQ(out, "a%2Fb");
}

TEST(Percent, DecodesWhatItEncodes) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  std::string encoded;
  AppendPercentEncoded(all, false, &encoded);
  EXPECT_EQ(PercentDecode(encoded), all);
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
  for (const char* bad : {"%", "%4", "%4g", "a%"}) EXPECT_FALSE(PercentDecode(bad)) << bad;
}

}  // namespace
}  // namespace penstock::origin
