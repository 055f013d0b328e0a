// An access token for Azure Storage, and how the answers that carry one are read.
//
// Nothing that comes from a server, a file or a program is trusted: a body has a size limit, JSON
// is parsed without exceptions, and a token goes into a header only if it is made of the characters
// that RFC 6750 allows and is not longer than limits::kMaxTokenBytes.
//
// Thread safety: values; pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::identity {

// What Azure Storage's tokens are for, in all clouds. v1 endpoints call it the resource, v2's the
// scope.
inline constexpr std::string_view kStorageResource = "https://storage.azure.com/";
inline constexpr std::string_view kStorageScope = "https://storage.azure.com/.default";

struct Token {
  std::string value;            // "" : ask without credentials
  std::int64_t expires_ns = 0;  // CLOCK_MONOTONIC: not used from then on
  std::int64_t refresh_ns = 0;  // CLOCK_MONOTONIC: time for a new one
};
using TokenPtr = std::shared_ptr<const Token>;

// What an answer says.
struct TokenAnswer {
  std::string value;
  std::int64_t lifetime_ns = 0;    // from now on
  std::int64_t refresh_in_ns = 0;  // when the server wants it to be replaced; 0: does not say
};

enum class TokenDialect : std::uint8_t {
  kEntra,    // OAuth 2.0's: access_token, expires_in (seconds from now)
  kManaged,  // the managed identities': access_token, expires_on (seconds since 1970, as a string)
  kCli,      // `az account get-access-token`: accessToken, expires_on or expiresOn (local time)
};

// `wall_ns` is the clock against which absolute times are read: the server's own where it sent a
// Date, so that a wrong clock here does no harm. kCorrupt with a sentence in `explanation`, which
// quotes nothing of the body.
Result<TokenAnswer> ParseTokenAnswer(std::string_view body, TokenDialect dialect,
                                     std::int64_t wall_ns, std::string* explanation);

// What a refusal's body says, for a person: one line, printable, at most 400 bytes; "" if nothing.
std::string DescribeRefusal(std::string_view body);

// One line of printable characters, cut at `max_bytes`.
std::string OneLine(std::string_view text, std::size_t max_bytes);

bool IsTokenText(std::string_view text);

}  // namespace penstock::identity
