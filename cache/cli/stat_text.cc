#include "cache/cli/stat_text.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "cache/config/units.h"

namespace penstock::cli {
namespace {

using cache::Json;
using cache::JsonNumber;

bool IsBytes(std::string_view name) { return name.find("bytes") != std::string_view::npos; }

std::uint64_t Counter(const Json& stat, const char* name) {
  const auto counters = stat.find("counters");
  return counters == stat.end() ? 0 : JsonNumber(*counters, name);
}

std::uint64_t Grown(const Json& before, const Json& after, const char* name) {
  const std::uint64_t a = Counter(before, name);
  const std::uint64_t b = Counter(after, name);
  return b > a ? b - a : 0;
}

}  // namespace

std::string StatText(const Json& stat) {
  std::string out;
  for (const char* group : {"counters", "now"}) {
    const auto values = stat.find(group);
    if (values == stat.end() || !values->is_object()) continue;
    out += fmt::format("{}\n", std::string_view(group) == "now" ? "now:" : "since the start:");
    for (const auto& [name, value] : values->items()) {
      if (!value.is_number_integer()) continue;
      const std::uint64_t number = JsonNumber(*values, name.c_str());
      out += fmt::format("  {:<24} {}", name, number);
      if (IsBytes(name) && number >= 1024)
        out += fmt::format(" ({})", cache::FormatBytesForPeople(number));
      out += '\n';
    }
  }
  return out;
}

std::string StatDifferenceText(const Json& before, const Json& after) {
  constexpr std::array kNames = {
      "hits_memory", "bytes_memory",    "hits_nvme",         "misses",    "hits_name",
      "passthrough", "origin_requests", "origin_bytes_read", "evictions", "corrupt_dropped"};
  std::string out = "penstock: while it ran:\n";
  for (const char* name : kNames) {
    const std::uint64_t grown = Grown(before, after, name);
    out += fmt::format("  {:<20} {}", name, grown);
    if (IsBytes(name) && grown >= 1024)
      out += fmt::format(" ({})", cache::FormatBytesForPeople(grown));
    out += '\n';
  }
  return out;
}

std::string StatRateText(const Json& before, const Json& after, double seconds) {
  const auto rate = [&](const char* name) {
    return static_cast<double>(Grown(before, after, name)) / (seconds > 0 ? seconds : 1);
  };
  const auto bytes = [&](const char* name) {
    return cache::FormatBytesForPeople(static_cast<std::uint64_t>(rate(name))) + "/s";
  };
  return fmt::format("{:>12.0f} {:>13} {:>10.0f} {:>12.0f} {:>13} {:>11.0f}", rate("hits_memory"),
                     bytes("bytes_memory"), rate("misses"), rate("origin_requests"),
                     bytes("origin_bytes_read"), rate("evictions"));
}

}  // namespace penstock::cli
