// The response headers that matter to us, parsed as they arrive. What a server sends is not
// trusted: a value that cannot be understood counts as absent.
//
// Thread safety: values; pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::origin {

// "bytes first-last/total". `total` is absent for "*".
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
};

struct ResponseHeaders {
  std::optional<std::uint64_t> content_length;
  std::optional<ContentRange> content_range;
  bool bad_content_length = false;    // there was one, but it made no sense
  bool bad_content_range = false;     // likewise
  std::string etag;                   // without its quotes
  std::int64_t last_modified_ns = 0;  // since 1970; 0 if absent
  std::int64_t date_ns = 0;           // the server's clock; 0 if absent
  std::int64_t retry_after_ms = 0;    // from seconds, or from a date and the server's own clock
  std::int64_t retry_at_ns = 0;       // that date; 0 if absent
  bool is_folder = false;             // x-ms-meta-hdi_isfolder, x-ms-resource-type
  std::string error_code;             // x-ms-error-code
  std::string request_id;             // x-ms-request-id
  std::string continuation;           // x-ms-continuation: the marker of a listing's next page, as it came
  std::string content_md5;            // base64
  std::string content_crc64;          // x-ms-content-crc64, base64
  std::string challenge;              // WWW-Authenticate, the last one
  std::size_t total_bytes = 0;        // of all header lines, to bound them

  void Clear();
};

// Takes one header line, with or without its line end. A status line ("HTTP/1.1 ...") starts anew.
void ParseHeaderLine(std::string_view line, ResponseHeaders* headers);

std::optional<ContentRange> ParseContentRange(std::string_view value);

// An ETag as a version token: without the quotes. Empty stays empty.
std::string_view UnquoteEtag(std::string_view etag);

}  // namespace penstock::origin
