#include "transport/blob/az_auth.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <array>
#include <charconv>
#include <ctime>

#include "transport/base/clock.h"

namespace penstock::origin {
namespace {

constexpr std::size_t kDigestBytes = 32;

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

using MacContext = std::unique_ptr<EVP_MAC_CTX, FreeMac>;

// nullptr if OpenSSL refuses.
MacContext MakeKeyedContext(std::string_view key) {
  const std::unique_ptr<EVP_MAC, FreeMac> algorithm(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  if (algorithm == nullptr) return nullptr;
  MacContext context(EVP_MAC_CTX_new(algorithm.get()));  // holds on to the algorithm
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  if (context == nullptr ||
      EVP_MAC_init(context.get(), reinterpret_cast<const unsigned char*>(key.data()), key.size(),
                   params) != 1) {
    return nullptr;
  }
  return context;
}

// The digest of `text` in base64, with a context that has its key. Uses the context up.
std::string FinishMac(EVP_MAC_CTX* context, std::string_view text) {
  std::array<unsigned char, kDigestBytes> digest{};
  std::size_t size = 0;
  if (EVP_MAC_update(context, reinterpret_cast<const unsigned char*>(text.data()), text.size()) !=
          1 ||
      EVP_MAC_final(context, digest.data(), &size, digest.size()) != 1 || size != kDigestBytes) {
    return "";
  }
  return EncodeBase64({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

constexpr const char* kDayNames[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr const char* kMonthNames[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::optional<int> ParseNumber(std::string_view digits) {
  int value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || value < 0) {
    return std::nullopt;
  }
  return value;
}

std::optional<int> ParseMonth(std::string_view name) {
  for (int i = 0; i < 12; ++i) {
    if (name == kMonthNames[i]) return i;
  }
  return std::nullopt;
}

}  // namespace

struct Signer::Mac {
  MacContext keyed;
};

std::string StringToSign(const SignedParts& parts, std::string_view account) {
  std::string text;
  text.reserve(512);
  const auto line = [&text](std::string_view value) {
    text.append(value);
    text.push_back('\n');
  };
  line(parts.method);
  line("");  // Content-Encoding
  line("");  // Content-Language
  line(parts.content_length == 0 ? std::string() : std::to_string(parts.content_length));
  line("");  // Content-MD5
  line(parts.content_type);
  line("");  // Date: x-ms-date stands in its place
  line("");  // If-Modified-Since
  line(parts.if_match);
  line(parts.if_none_match);
  line("");  // If-Unmodified-Since
  line(parts.range);
  for (const auto& [name, value] : parts.ms_headers) {
    text.append(name).push_back(':');
    line(value);
  }
  text.append("/").append(account).append(parts.path);
  for (const auto& [name, value] : parts.query) {
    text.append("\n").append(name).append(":").append(value);
  }
  return text;
}

Signer::Signer(std::string account, std::string_view key)
    : account_(std::move(account)), mac_(std::make_unique<Mac>(MakeKeyedContext(key))) {}

Signer::~Signer() = default;

std::string Signer::Authorization(const SignedParts& parts) const {
  if (mac_->keyed == nullptr) return "";
  const MacContext context(EVP_MAC_CTX_dup(mac_->keyed.get()));
  if (context == nullptr) return "";
  const std::string signature = FinishMac(context.get(), StringToSign(parts, account_));
  return signature.empty() ? "" : fmt::format("SharedKey {}:{}", account_, signature);
}

std::string HmacSha256Base64(std::string_view key, std::string_view text) {
  const MacContext context = MakeKeyedContext(key);
  return context == nullptr ? "" : FinishMac(context.get(), text);
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int decoded = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                      reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()));
  if (decoded < 0) return std::nullopt;
  // EVP_DecodeBlock counts the padding as zero bytes.
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  bytes.resize(static_cast<std::size_t>(decoded) - padding);
  return bytes;
}

std::string EncodeBase64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends with a NUL
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string FormatHttpDate(std::int64_t wall_ns) {
  const std::time_t seconds = wall_ns / kNsPerSecond;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDayNames[utc.tm_wday],
                     utc.tm_mday, kMonthNames[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

std::optional<std::int64_t> ParseHttpDate(std::string_view text) {
  constexpr std::string_view kShape = "Sun, 06 Nov 1994 08:49:37 GMT";
  if (text.size() != kShape.size() || !text.ends_with(" GMT")) return std::nullopt;
  const auto day = ParseNumber(text.substr(5, 2));
  const auto month = ParseMonth(text.substr(8, 3));
  const auto year = ParseNumber(text.substr(12, 4));
  const auto hour = ParseNumber(text.substr(17, 2));
  const auto minute = ParseNumber(text.substr(20, 2));
  const auto second = ParseNumber(text.substr(23, 2));
  if (!day || !month || !year || !hour || !minute || !second) return std::nullopt;
  if (*day < 1 || *day > 31 || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  // 2262 is where nanoseconds leave 64 bits.
  if (*year < 1970 || *year >= 2262) return std::nullopt;
  std::tm utc{};
  utc.tm_mday = *day;
  utc.tm_mon = *month;
  utc.tm_year = *year - 1900;
  utc.tm_hour = *hour;
  utc.tm_min = *minute;
  utc.tm_sec = *second;
  return static_cast<std::int64_t>(timegm(&utc)) * kNsPerSecond;
}

}  // namespace penstock::origin
