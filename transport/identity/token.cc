#include "transport/identity/token.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "transport/base/clock.h"
#include "transport/base/limits.h"

namespace penstock::identity {
namespace {

using Json = nlohmann::json;

// Longer ones are not believed: a day is the longest that Azure gives.
constexpr double kLongestLifetimeSeconds = 7 * 86'400.0;

std::unexpected<Error> BadToken(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kCorrupt, "reading a token");
}

const Json* Member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

// nullptr if there is none or it is no string.
const std::string* Text(const Json& object, const char* name) {
  const Json* member = Member(object, name);
  return member == nullptr ? nullptr : member->get_ptr<const Json::string_t*>();
}

// Seconds as a number or as a string of digits, as the services mix them.
std::optional<double> Seconds(const Json& object, const char* name) {
  const Json* member = Member(object, name);
  if (member == nullptr) return std::nullopt;
  if (member->is_number()) return member->get<double>();
  const std::string* text = member->get_ptr<const Json::string_t*>();
  if (text == nullptr) return std::nullopt;
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size()) return std::nullopt;
  return static_cast<double>(value);
}

// "2026-11-21 19:48:57.998857" in local time, as the Azure CLI writes it.
std::optional<double> LocalTime(const Json& object, const char* name) {
  const std::string* text = Text(object, name);
  if (text == nullptr || text->size() < 19 || text->size() > 40) return std::nullopt;
  std::tm local{};
  local.tm_isdst = -1;
  const char* end = strptime(text->c_str(), "%Y-%m-%d %H:%M:%S", &local);
  if (end == nullptr || (*end != '\0' && *end != '.')) return std::nullopt;
  const std::time_t seconds = std::mktime(&local);
  if (seconds == static_cast<std::time_t>(-1)) return std::nullopt;
  return static_cast<double>(seconds);
}

std::optional<double> LifetimeSeconds(const Json& answer, TokenDialect dialect,
                                      std::int64_t wall_ns) {
  const double now = static_cast<double>(wall_ns) / static_cast<double>(kNsPerSecond);
  const auto expires_in = Seconds(answer, "expires_in");
  const auto expires_on = Seconds(answer, "expires_on");
  if (dialect == TokenDialect::kEntra && expires_in) return expires_in;
  if (expires_on) return *expires_on - now;
  if (expires_in) return expires_in;
  if (dialect != TokenDialect::kCli) return std::nullopt;
  const auto local = LocalTime(answer, "expiresOn");
  return local ? std::optional(*local - now) : std::nullopt;
}

std::int64_t ToNs(double seconds) {
  return static_cast<std::int64_t>(std::min(seconds, kLongestLifetimeSeconds) * 1e3) * kNsPerMs;
}

bool IsBearer(const std::string& type) {
  constexpr std::string_view kBearer = "bearer";
  return type.size() == kBearer.size() &&
         std::equal(type.begin(), type.end(), kBearer.begin(), [](unsigned char a, char b) {
           return static_cast<char>(std::tolower(a)) == b;
         });
}

}  // namespace

bool IsTokenText(std::string_view text) {
  return !text.empty() && text.size() <= limits::kMaxTokenBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view("-._~+/=").find(c) != std::string_view::npos;
         });
}

Result<TokenAnswer> ParseTokenAnswer(std::string_view body, TokenDialect dialect,
                                     std::int64_t wall_ns, std::string* explanation) {
  if (body.size() > limits::kMaxTokenBodyBytes) return BadToken(explanation, "the answer is too large");
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return BadToken(explanation, "the answer is no JSON object");
  const bool cli = dialect == TokenDialect::kCli;
  const std::string* value = Text(answer, cli ? "accessToken" : "access_token");
  if (value == nullptr) return BadToken(explanation, "the answer holds no token");
  if (!IsTokenText(*value)) {
    return BadToken(explanation,
               "the token in the answer is empty, too long or has characters that none may have");
  }
  const std::string* type = Text(answer, cli ? "tokenType" : "token_type");
  if (type != nullptr && !IsBearer(*type)) {
    return BadToken(explanation, "the token in the answer is no bearer token");
  }
  const auto lifetime = LifetimeSeconds(answer, dialect, wall_ns);
  if (!lifetime || !std::isfinite(*lifetime)) {
    return BadToken(explanation, "the answer does not say when its token expires");
  }
  if (*lifetime < 1) {
    return BadToken(explanation,
               "the token in the answer has expired already: is this machine's clock right?");
  }
  TokenAnswer parsed;
  parsed.value = *value;
  parsed.lifetime_ns = ToNs(*lifetime);
  const auto refresh_in = Seconds(answer, "refresh_in");
  if (refresh_in && std::isfinite(*refresh_in) && *refresh_in >= 1 && *refresh_in < *lifetime) {
    parsed.refresh_in_ns = ToNs(*refresh_in);
  }
  return parsed;
}

std::string OneLine(std::string_view text, std::size_t max_bytes) {
  std::string line;
  for (const unsigned char c : text.substr(0, std::min(text.size(), max_bytes))) {
    const bool printable = c >= ' ' && c != 0x7F;
    if (printable) line.push_back(static_cast<char>(c));
    if (!printable && !line.empty() && line.back() != ' ') line.push_back(' ');
  }
  // No half of a character at the end of what was cut, and none of another encoding: ASCII only.
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string DescribeRefusal(std::string_view body) {
  constexpr std::size_t kMaxBytes = 300;
  if (body.size() > limits::kMaxTokenBodyBytes) return "";
  const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return "";
  const std::string* error = Text(answer, "error");
  const std::string* description = Text(answer, "error_description");
  if (description == nullptr) description = Text(answer, "message");
  if (description != nullptr) {
    // The first line says it; trace and correlation numbers follow.
    const std::string_view first =
        std::string_view(*description).substr(0, description->find('\n'));
    const std::size_t trace = first.find(" Trace ID:");
    return fmt::format("{}{}{}", error == nullptr ? "" : OneLine(*error, 64),
                       error == nullptr ? "" : ": ", OneLine(first.substr(0, trace), kMaxBytes));
  }
  return error == nullptr ? "" : OneLine(*error, 64);
}

}  // namespace penstock::identity
