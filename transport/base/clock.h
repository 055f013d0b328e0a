// Time as an interface, so that tests and the simulator own it.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace penstock {

inline constexpr std::int64_t kNsPerUs = 1'000;
inline constexpr std::int64_t kNsPerMs = 1'000'000;
inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic nanoseconds: deadlines and durations. The zero point means nothing.
  virtual std::int64_t NowNs() const = 0;
  // Nanoseconds since 1970 UTC: dates that others read, never durations.
  virtual std::int64_t WallNs() const = 0;
};

// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
 public:
  std::int64_t NowNs() const override;
  std::int64_t WallNs() const override;
  static SystemClock& Get();  // lives for ever
};

// A clock that moves only when told.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t now_ns = 0, std::int64_t wall_ns = 0)
      : now_ns_(now_ns), wall_ns_(wall_ns) {}
  std::int64_t NowNs() const override { return now_ns_.load(std::memory_order_acquire); }
  std::int64_t WallNs() const override { return wall_ns_.load(std::memory_order_acquire); }
  void AdvanceNs(std::int64_t ns) {
    now_ns_.fetch_add(ns, std::memory_order_acq_rel);
    wall_ns_.fetch_add(ns, std::memory_order_acq_rel);
  }

 private:
  std::atomic<std::int64_t> now_ns_;
  std::atomic<std::int64_t> wall_ns_;
};

}  // namespace penstock
