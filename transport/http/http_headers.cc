#include "transport/http/http_headers.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "transport/base/clock.h"
#include "transport/base/parse.h"
#include "transport/blob/az_auth.h"

namespace penstock::origin {
namespace {

constexpr std::size_t kMaxTokenBytes = 256;  // an ETag, an error code, a request id
constexpr std::int64_t kMaxRetryAfterMs = 3'600'000;

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(), [](char got, char want) {
           return std::tolower(static_cast<unsigned char>(got)) == want;
         });
}

// Only what can stand in a header that we send back or in a log line.
std::string Token(std::string_view value) {
  if (value.size() > kMaxTokenBytes) return "";
  const bool printable =
      std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= ' ' && c < 0x7F; });
  return printable ? std::string(value) : std::string();
}

// Whichever of the two dates comes last.
void TakeRetryDate(ResponseHeaders* headers) {
  if (headers->retry_at_ns == 0 || headers->date_ns == 0) return;
  headers->retry_after_ms = std::clamp<std::int64_t>(
      (headers->retry_at_ns - headers->date_ns) / kNsPerMs, 0, kMaxRetryAfterMs);
}

void TakeRetryAfter(std::string_view value, ResponseHeaders* headers) {
  headers->retry_at_ns = 0;
  headers->retry_after_ms = 0;
  if (const auto seconds = ParseUnsigned(value)) {
    headers->retry_after_ms =
        static_cast<std::int64_t>(std::min<std::uint64_t>(*seconds, kMaxRetryAfterMs / 1'000)) *
        1'000;
    return;
  }
  headers->retry_at_ns = ParseHttpDate(value).value_or(0);
  TakeRetryDate(headers);
}

using Field = void (*)(std::string_view value, ResponseHeaders* headers);

struct KnownField {
  std::string_view lower_name;
  Field take;
};

constexpr std::array kKnownFields = {
    KnownField{"content-length",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->content_length = ParseUnsigned(value);
                 headers->bad_content_length = !headers->content_length.has_value();
               }},
    KnownField{"content-range",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->content_range = ParseContentRange(value);
                 headers->bad_content_range = !headers->content_range.has_value();
               }},
    KnownField{"etag", [](std::string_view value,
                          ResponseHeaders* headers) { headers->etag = Token(UnquoteEtag(value)); }},
    KnownField{"last-modified",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->last_modified_ns = ParseHttpDate(value).value_or(0);
               }},
    KnownField{"date",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->date_ns = ParseHttpDate(value).value_or(0);
                 TakeRetryDate(headers);
               }},
    KnownField{"retry-after", TakeRetryAfter},
    KnownField{"x-ms-meta-hdi_isfolder",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->is_folder = headers->is_folder || EqualsIgnoringCase(value, "true");
               }},
    KnownField{"x-ms-resource-type",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->is_folder = headers->is_folder || EqualsIgnoringCase(value, "directory");
               }},
    KnownField{"x-ms-error-code",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->error_code = Token(value);
               }},
    KnownField{"x-ms-request-id",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->request_id = Token(value);
               }},
    KnownField{"x-ms-continuation",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->continuation = value;
               }},
    KnownField{"content-md5",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->content_md5 = Token(value);
               }},
    KnownField{"x-ms-content-crc64",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->content_crc64 = Token(value);
               }},
    KnownField{"www-authenticate",
               [](std::string_view value, ResponseHeaders* headers) {
                 headers->challenge = Token(value);
               }},
};

}  // namespace

void ResponseHeaders::Clear() {
  content_length.reset();
  content_range.reset();
  bad_content_length = false;
  bad_content_range = false;
  etag.clear();
  last_modified_ns = 0;
  date_ns = 0;
  retry_after_ms = 0;
  retry_at_ns = 0;
  is_folder = false;
  error_code.clear();
  request_id.clear();
  continuation.clear();
  content_md5.clear();
  content_crc64.clear();
  challenge.clear();
  total_bytes = 0;
}

void ParseHeaderLine(std::string_view line, ResponseHeaders* headers) {
  if (line.starts_with("HTTP/")) headers->Clear();
  headers->total_bytes += line.size();
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  for (const KnownField& field : kKnownFields) {
    if (EqualsIgnoringCase(name, field.lower_name)) {
      field.take(Trim(line.substr(colon + 1)), headers);
      return;
    }
  }
}

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (value.size() < kUnit.size() || !EqualsIgnoringCase(value.substr(0, kUnit.size()), kUnit)) {
    return std::nullopt;
  }
  value = Trim(value.substr(kUnit.size()));
  const std::size_t dash = value.find('-');
  const std::size_t slash = value.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) {
    return std::nullopt;
  }
  const auto first = ParseUnsigned(value.substr(0, dash));
  const auto last = ParseUnsigned(value.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) return std::nullopt;
  ContentRange range{*first, *last, std::nullopt};
  const std::string_view total = value.substr(slash + 1);
  if (total == "*") return range;
  range.total = ParseUnsigned(total);
  if (!range.total || *range.total <= *last) return std::nullopt;
  return range;
}

std::string_view UnquoteEtag(std::string_view etag) {
  if (etag.size() >= 2 && etag.starts_with('"') && etag.ends_with('"')) {
    return etag.substr(1, etag.size() - 2);
  }
  return etag;
}

}  // namespace penstock::origin
