// Signing requests to Blob storage with an account's key (the SharedKey scheme).
//
// Thread safety: Signer's methods may be called from any thread; the rest are pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::origin {

// The parts of a request that the signature covers.
struct SignedParts {
  std::string_view method;
  std::uint64_t content_length = 0;
  std::string_view content_type;
  std::string_view if_match;
  std::string_view if_none_match;
  std::string_view range;
  // x-ms-*: lower-case names, sorted, values as sent.
  std::vector<std::pair<std::string_view, std::string_view>> ms_headers;
  std::string_view path;  // percent-encoded, as sent, without the query
  // Decoded, lower-case names, sorted.
  std::vector<std::pair<std::string_view, std::string_view>> query;
};

std::string StringToSign(const SignedParts& parts, std::string_view account);

class Signer {
 public:
  Signer(std::string account, std::string_view key);
  ~Signer();
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;

  // "SharedKey account:signature"; empty if OpenSSL refuses (out of memory).
  std::string Authorization(const SignedParts& parts) const;

 private:
  struct Mac;
  std::string account_;
  std::unique_ptr<Mac> mac_;  // has the key already: copied for each signature
};

// Base64 of HMAC-SHA256; empty if OpenSSL refuses.
std::string HmacSha256Base64(std::string_view key, std::string_view text);

std::optional<std::string> DecodeBase64(std::string_view text);
std::string EncodeBase64(std::string_view bytes);

// "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale.
std::string FormatHttpDate(std::int64_t wall_ns);
// Nanoseconds since 1970; nullopt if it is not such a date.
std::optional<std::int64_t> ParseHttpDate(std::string_view text);

}  // namespace penstock::origin
