// When a slow request deserves a second one beside it, and how many may: the slowest few percent of
// an origin's answers take many times the median, and a second request ends most of them early.
//
// The delay follows from what was measured: kQuantile of the recent latencies of requests of the
// same size, never less than three times their median nor than kLeastDelayNs. The budget is a share of all requests: each one
// that ends earns kShare of a hedge, at most kMostTokens are saved up, and a throttled answer stops
// hedging for kQuietNs.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "transport/base/clock.h"

namespace penstock::origin {

class Hedging {
 public:
  static constexpr double kQuantile = 0.95;
  static constexpr double kShare = 0.03;
  static constexpr double kMostTokens = 16;
  static constexpr std::size_t kSamples = 128;  // of each size
  static constexpr std::size_t kFewestSamples = 32;
  static constexpr std::int64_t kLeastDelayNs = 50 * kNsPerMs;  // below, nobody notices
  static constexpr std::int64_t kQuietNs = 10 * kNsPerSecond;

  // A first request for `bytes` was answered after `latency_ns` on the wire.
  void NoteLatency(std::uint64_t bytes, std::int64_t latency_ns);
  void NoteThrottled(std::int64_t now_ns) { quiet_until_ns_ = now_ns + kQuietNs; }

  // After how long on the wire a request for `bytes` is slow; nullopt while too little is known.
  std::optional<std::int64_t> DelayNs(std::uint64_t bytes);
  // True if the budget allows one more; takes it.
  bool Take(std::int64_t now_ns);

 private:
  // Sizes up to 16 KiB, 64 KiB, ..., 4 MiB, and beyond.
  static constexpr std::size_t kSizes = 6;
  struct Size {
    std::array<std::int64_t, kSamples> latencies_ns{};
    std::size_t count = 0;  // ever noted
    std::size_t fresh = 0;  // since delay_ns was computed
    std::int64_t delay_ns = 0;
  };
  static std::size_t SizeOf(std::uint64_t bytes);

  std::array<Size, kSizes> sizes_;
  double tokens_ = 1;
  std::int64_t quiet_until_ns_ = INT64_MIN;
};

}  // namespace penstock::origin
