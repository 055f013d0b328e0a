#include "transport/base/clock.h"

#include <ctime>

namespace penstock {
namespace {

std::int64_t ReadClockNs(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);  // cannot fail for the two clocks used here
  return static_cast<std::int64_t>(now.tv_sec) * kNsPerSecond + now.tv_nsec;
}

}  // namespace

std::int64_t SystemClock::NowNs() const { return ReadClockNs(CLOCK_MONOTONIC); }
std::int64_t SystemClock::WallNs() const { return ReadClockNs(CLOCK_REALTIME); }

SystemClock& SystemClock::Get() {
  static SystemClock clock;
  return clock;
}

}  // namespace penstock
