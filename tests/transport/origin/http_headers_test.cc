#include "transport/http/http_headers.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace penstock::origin {
namespace {

ResponseHeaders Parse(std::initializer_list<const char*> lines) {
  ResponseHeaders headers;
  for (const char* line : lines) ParseHeaderLine(line, &headers);
  return headers;
}

TEST(HttpHeaders, TheOnesThatMatter) {
  const auto headers = Parse({"HTTP/1.1 206 Partial Content\r\n", "Content-Length: 100\r\n",
                              "CONTENT-RANGE:bytes 5-104/200\r\n", "ETag: \"0x8D\"\r\n",
                              "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                              "x-ms-error-code:  BlobNotFound \r\n", "x-ms-request-id: abc\r\n",
                              "X-MS-Meta-hdi_isfolder: True\r\n", "Retry-After: 7\r\n",
                              "Unknown: x\r\n", "no colon\r\n", "\r\n"});
  EXPECT_EQ(headers.content_length, 100u);
  ASSERT_TRUE(headers.content_range);
  EXPECT_EQ(headers.content_range->first, 5u);
  EXPECT_EQ(headers.content_range->last, 104u);
  EXPECT_EQ(headers.content_range->total, 200u);
  EXPECT_EQ(headers.etag, "0x8D");
  EXPECT_EQ(headers.last_modified_ns, 784'111'777'000'000'000);
  EXPECT_EQ(headers.error_code, "BlobNotFound");
  EXPECT_EQ(headers.request_id, "abc");
  EXPECT_TRUE(headers.is_folder);
  EXPECT_EQ(headers.retry_after_ms, 7'000);
}

TEST(HttpHeaders, AStatusLineStartsAnew) {
  const auto headers =
      Parse({"HTTP/1.1 100 Continue", "ETag: \"old\"", "HTTP/1.1 200 OK", "Content-Length: 1"});
  EXPECT_EQ(headers.etag, "");
  EXPECT_EQ(headers.content_length, 1u);
}

TEST(HttpHeaders, WhatMakesNoSenseIsAbsent) {
  for (const char* bad : {"Content-Length: -1", "Content-Length: 1x",
                          "Content-Length:", "Content-Length: 99999999999999999999"}) {
    EXPECT_FALSE(Parse({bad}).content_length) << bad;
  }
  for (const char* bad :
       {"", "bytes", "bytes 1", "bytes 1-", "bytes -1/2", "bytes 5-4/9", "bytes 0-9/9", "bytes 0-9",
        "bytes */9", "chunks 0-1/2", "bytes 0-1/2x", "bytes 0-99999999999999999999/2"}) {
    EXPECT_FALSE(ParseContentRange(bad)) << bad;
  }
  EXPECT_TRUE(ParseContentRange("bytes 0-1/*"));
  EXPECT_TRUE(Parse({"Content-Range: nonsense"}).bad_content_range);
  EXPECT_EQ(Parse({"ETag: \"a\x01z\""}).etag, "");
  EXPECT_EQ(Parse({("ETag: \"" + std::string(500, 'x') + "\"").c_str()}).etag, "");
}

TEST(HttpHeaders, RetryAfterAsADate) {
  const auto headers =
      Parse({"Date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:49:40 GMT"});
  EXPECT_EQ(headers.retry_after_ms, 3'000);
  // Blob sends its date last.
  const auto turned =
      Parse({"Retry-After: Sun, 06 Nov 1994 08:49:40 GMT", "Date: Sun, 06 Nov 1994 08:49:37 GMT"});
  EXPECT_EQ(turned.retry_after_ms, 3'000);
  EXPECT_EQ(Parse({"Retry-After: Sun, 06 Nov 1994 08:49:40 GMT"}).retry_after_ms, 0);
  EXPECT_EQ(Parse({"Retry-After: 99999999999"}).retry_after_ms, 3'600'000);
  EXPECT_EQ(Parse({"Retry-After: -5"}).retry_after_ms, 0);
}

}  // namespace
}  // namespace penstock::origin
