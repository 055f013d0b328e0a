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

std::string Ms(std::uint64_t us) {
  return fmt::format("{:.1f} ms", static_cast<double>(us) / 1'000.0);
}

// The requests of one mount, a line for each kind.
std::string TrafficText(const std::string& path, const Json& traffic) {
  const auto kinds = traffic.find("requests");
  if (kinds == traffic.end() || !kinds->is_object() || kinds->empty()) return "";
  std::string out =
      fmt::format("requests for {}:\n  {:<8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}\n", path,
                  "kind", "2xx", "3xx", "4xx", "5xx", "none", "p50", "p99");
  for (const auto& [kind, counts] : kinds->items())
    out +=
        fmt::format("  {:<8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}\n", kind,
                    JsonNumber(counts, "2xx"), JsonNumber(counts, "3xx"), JsonNumber(counts, "4xx"),
                    JsonNumber(counts, "5xx"), JsonNumber(counts, "none"),
                    Ms(JsonNumber(counts, "p50_us")), Ms(JsonNumber(counts, "p99_us")));
  out += fmt::format("  received {}, sent {}, {} retries, {} throttled by the service",
                     cache::FormatBytesForPeople(JsonNumber(traffic, "bytes_received")),
                     cache::FormatBytesForPeople(JsonNumber(traffic, "bytes_sent")),
                     JsonNumber(traffic, "retries"), JsonNumber(traffic, "throttled"));
  if (const std::uint64_t paced = JsonNumber(traffic, "paced"); paced > 0)
    out += fmt::format(", {} held for a limit ({} ms together)", paced,
                       JsonNumber(traffic, "paced_ms"));
  return out + '\n';
}

double Money(const Json& cost, const char* key) {
  const auto found = cost.find(key);
  return found != cost.end() && found->is_number() ? found->get<double>() : 0;
}

std::string CostText(const Json& cost) {
  if (!cost.is_object() || Money(cost, "total") <= 0) return "";
  const std::string currency = cache::JsonString(cost, "currency");
  return fmt::format(
      "cost of requests: about {:.6f} {} (reads {:.6f}, lists {:.6f}, writes {:.6f}, transfer "
      "{:.6f})\n  at the prices of [cost]: an example unless you have set yours\n",
      Money(cost, "total"), currency, Money(cost, "reads"), Money(cost, "lists"),
      Money(cost, "writes"), Money(cost, "transfer"));
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
  if (const auto mounts = stat.find("mounts"); mounts != stat.end() && mounts->is_object())
    for (const auto& [path, traffic] : mounts->items()) out += TrafficText(path, traffic);
  if (const auto cost = stat.find("cost"); cost != stat.end()) out += CostText(*cost);
  const auto snapshots = stat.find("snapshots");
  if (snapshots == stat.end() || !snapshots->is_array()) return out;
  for (const Json& one : *snapshots) {
    out += fmt::format("{}: names of the snapshot {} of {}, {} files, {}\n",
                       cache::JsonString(one, "path"), cache::JsonString(one, "from"),
                       cache::JsonString(one, "created"), JsonNumber(one, "files"),
                       cache::JsonString(one, "digest"));
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
