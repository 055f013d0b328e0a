// A rate kept as a moment: until then everything that was admitted is paid for. It is a token
// bucket without the tokens: the next may go once that moment has come, and each pushes it on by
// what it costs. Idle time is remembered up to `kBurstNs`, which bounds what goes out at once after
// it and lets a waiter who wakes late catch up.
//
// A cost that is larger than the burst (a large range at a low rate) is let through whole and paid
// for afterwards: nothing is ever too large to pass.
//
// Thread safety: plain values; pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

namespace penstock::origin {

// What may pass in a second; 0 stands for no limit.
struct TrafficLimits {
  std::uint64_t bytes_per_second = 0;
  std::uint64_t requests_per_second = 0;

  bool any() const { return bytes_per_second > 0 || requests_per_second > 0; }
};

// Each limit the lower of the two.
inline TrafficLimits TighterOf(const TrafficLimits& a, const TrafficLimits& b) {
  const auto lower = [](std::uint64_t x, std::uint64_t y) {
    return x == 0 || y == 0 ? std::max(x, y) : std::min(x, y);
  };
  return {lower(a.bytes_per_second, b.bytes_per_second),
          lower(a.requests_per_second, b.requests_per_second)};
}

inline constexpr std::int64_t kBurstNs = 50'000'000;
// What one request can cost at most, and how far ahead of now a rate can be at all: with this even
// garbage in a shared file delays nobody for longer.
inline constexpr std::int64_t kLongestCostNs = 60'000'000'000;

// How long `amount` takes at `per_second`; 0 without a limit.
inline std::int64_t CostNs(std::uint64_t amount, std::uint64_t per_second) {
  if (per_second == 0) return 0;
  const double ns = static_cast<double>(amount) / static_cast<double>(per_second) * 1e9;
  return static_cast<std::int64_t>(std::min(ns, static_cast<double>(kLongestCostNs)));
}

// The rate's moment `free_ns` as it counts at `now_ns`.
inline std::int64_t FreeAt(std::int64_t free_ns, std::int64_t now_ns) {
  if (free_ns > now_ns + 2 * kLongestCostNs) return now_ns;  // no rate gets there: garbage
  return std::max(free_ns, now_ns - kBurstNs);
}

}  // namespace penstock::origin
