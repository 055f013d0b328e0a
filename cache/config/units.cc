#include "cache/config/units.h"

#include <ctime>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <vector>

namespace penstock::cache {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kKi = 1ull << 10, kMi = 1ull << 20, kGi = 1ull << 30, kTi = 1ull << 40;
// Kubernetes writes 8Gi; a bare "8G" is taken as the binary unit, as most tools of the field do.
constexpr std::array kByteUnits = std::to_array<Unit>({
    {"", 1},
    {"b", 1},
    {"k", kKi},
    {"ki", kKi},
    {"kib", kKi},
    {"kb", 1000},
    {"m", kMi},
    {"mi", kMi},
    {"mib", kMi},
    {"mb", 1000'000},
    {"g", kGi},
    {"gi", kGi},
    {"gib", kGi},
    {"gb", 1000'000'000},
    {"t", kTi},
    {"ti", kTi},
    {"tib", kTi},
    {"tb", 1000'000'000'000},
});
constexpr std::array kBitUnits = std::to_array<Unit>({
    {"kbit", 1000},
    {"mbit", 1000'000},
    {"gbit", 1000'000'000},
});
constexpr std::array kTimeUnits = std::to_array<Unit>({
    {"ns", 1},
    {"us", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"min", 60'000'000'000},
    {"h", 3'600'000'000'000},
    {"d", 86'400'000'000'000},
});

// Splits "1.5GiB" into a number and a lower-case unit, and multiplies.
std::optional<std::uint64_t> Scale(std::string_view text, std::span<const Unit> units) {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;
  std::uint64_t fraction_scale = 1;
  std::size_t at = 0;
  const auto digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  if (!digit()) return std::nullopt;
  for (; digit(); ++at) {
    if (whole > (std::numeric_limits<std::uint64_t>::max() - 9) / 10) return std::nullopt;
    whole = whole * 10 + static_cast<std::uint64_t>(text[at] - '0');
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!digit()) return std::nullopt;
    for (; digit(); ++at) {
      if (fraction_scale >= 1'000'000) return std::nullopt;
      fraction = fraction * 10 + static_cast<std::uint64_t>(text[at] - '0');
      fraction_scale *= 10;
    }
  }
  while (at < text.size() && text[at] == ' ') ++at;
  std::string name(text.substr(at));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  if (unit == units.end()) return std::nullopt;
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (whole != 0 && unit->factor > kMost / whole) return std::nullopt;
  if (fraction != 0 && unit->factor < fraction_scale) return std::nullopt;  // "1.5" bytes
  const auto part = static_cast<std::uint64_t>(static_cast<long double>(unit->factor) *
                                               static_cast<long double>(fraction) /
                                               static_cast<long double>(fraction_scale));
  const std::uint64_t product = whole * unit->factor;
  if (part > kMost - product) return std::nullopt;
  return product + part;
}

// Levenshtein's distance, with a swap of neighbours as one step.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      now[j] =
          std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

}  // namespace

std::optional<std::uint64_t> ParseBytes(std::string_view text) { return Scale(text, kByteUnits); }

std::optional<std::uint64_t> ParseRate(std::string_view text) {
  if (!text.ends_with("/s")) return std::nullopt;
  text.remove_suffix(2);
  if (const auto bits = Scale(text, kBitUnits)) return *bits / 8;
  return ParseBytes(text);
}

std::optional<std::int64_t> ParseDuration(std::string_view text) {
  if (text == "0") return 0;
  const auto ns = Scale(text, kTimeUnits);
  if (!ns) return std::nullopt;
  return static_cast<std::int64_t>(*ns);
}

std::string FormatBytes(std::uint64_t bytes) {
  for (const auto& [name, factor] : {Unit{"TiB", kTi}, {"GiB", kGi}, {"MiB", kMi}, {"KiB", kKi}})
    if (bytes >= factor && bytes % factor == 0) return fmt::format("{}{}", bytes / factor, name);
  return fmt::format("{}", bytes);
}

std::string FormatBytesForPeople(std::uint64_t bytes) {
  for (const auto& [name, factor] : {Unit{"TiB", kTi}, {"GiB", kGi}, {"MiB", kMi}, {"KiB", kKi}})
    if (bytes >= factor)
      return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(factor),
                         name);
  return fmt::format("{} B", bytes);
}

std::string FormatDuration(std::int64_t ns) {
  const auto value = static_cast<std::uint64_t>(ns < 0 ? 0 : ns);
  for (const auto& [name, factor] : {Unit{"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}})
    if (value % factor == 0) return fmt::format("{}{}", value / factor, name);
  return fmt::format("{}ns", value);
}

std::string FormatUtc(std::int64_t ns) {
  const std::time_t seconds = ns / 1'000'000'000;
  std::tm utc{};
  if (gmtime_r(&seconds, &utc) == nullptr) return "?";
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc));
}

std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (text.size() > 64) break;  // not a slip of the finger
    const std::size_t distance = Distance(text, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace penstock::cache
