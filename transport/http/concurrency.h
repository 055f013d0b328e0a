// How many requests to keep on the wire at once: found by measurement, never above what the
// configuration allows.
//
// It begins at kFirstLimit and doubles while each doubling moves distinctly more, then holds the
// smallest number that moved the most. From time to time it tries one step more or less and keeps
// what is better: more where throughput grows, less where it does not suffer. A throttled answer
// (429, 503), or a body that does not come within the time of a try, takes three tenths off, once for all requests that were on the wire then, and ends
// the doubling.
//
// Throughput is measured in epochs, over those in which (nearly) always a request had to wait for a
// place: when the callers ask for less than the limit allows, nothing can be learned and nothing
// changes. A request counts for its bytes and kRequestWork more, so that small ones count too.
//
// Thread safety: one thread at a time. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>

#include "transport/base/clock.h"

namespace penstock::origin {

class ConcurrencyLimit {
 public:
  static constexpr std::uint32_t kFirstLimit = 8;
  static constexpr std::int64_t kEpochNs = 100 * kNsPerMs;
  static constexpr double kRequestWork = 64 * 1024;
  static constexpr double kWorthDoubling = 1.1;  // growth that a doubling has to bring
  static constexpr double kWorthAStep = 1.03;
  static constexpr double kBackOff = 0.7;
  static constexpr int kEpochsBetweenProbes = 20;

  explicit ConcurrencyLimit(std::uint32_t most);

  std::uint32_t limit() const { return limit_; }

  struct Ended {
    std::int64_t started_ns = 0;
    std::uint64_t bytes = 0;
    bool throttled = false;    // or choked, as above
    bool others_wait = false;  // a request wants a place and has none
  };
  // A request is over.
  void NoteEnd(const Ended& ended, std::int64_t now_ns);

 private:
  enum class Phase : std::uint8_t { kDoubling, kHolding, kProbingUp, kProbingDown };

  void BackOff(std::int64_t now_ns);
  void EndEpoch(double rate);
  void SetLimit(std::uint32_t limit);
  void Hold(std::uint32_t limit, double rate);
  void BeginEpoch(std::int64_t now_ns);
  std::uint32_t Step() const { return limit_ / 8 + 1; }

  const std::uint32_t most_;
  std::uint32_t limit_;
  Phase phase_ = Phase::kDoubling;
  std::uint32_t held_limit_ = 0;  // what a probe is compared with
  double held_rate_ = 0;          // work a second
  int epochs_to_probe_ = 0;
  bool next_probe_up_ = true;

  std::int64_t last_end_ns_ = INT64_MIN / 2;
  std::int64_t epoch_began_ns_ = 0;
  std::uint32_t epoch_ends_ = 0;
  double epoch_work_ = 0;
  std::uint32_t epoch_waits_ = 0;  // of the ends: others waited
  bool settling_ = false;  // the first epoch after a change shows both levels: not counted
  std::int64_t backed_off_ns_ = INT64_MIN;
};

}  // namespace penstock::origin
