#include "shim/core/time.h"

#include <linux/futex.h>
#include <time.h>

#include "shim/core/raw.h"

namespace penstock {
namespace {

int64_t Ns(const timespec& t) { return (int64_t)t.tv_sec * 1'000'000'000 + t.tv_nsec; }
timespec Spec(int64_t ns) {
  if (ns < 0) ns = 0;
  return {(time_t)(ns / 1'000'000'000), (long)(ns % 1'000'000'000)};
}

}  // namespace

int64_t PstMonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Ns(now);
}

int64_t PstCoarseNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Ns(now);
}

void PstSleepNs(int64_t ns) {
  timespec wait = Spec(ns);
  Raw(SYS_nanosleep, &wait, nullptr);
}

void PstFutexWait(const uint32_t* word, uint32_t value, int64_t ns, bool shared) {
  timespec wait = Spec(ns);
  Raw(SYS_futex, word, FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG), value, &wait, nullptr, 0);
}

void PstFutexWake(uint32_t* word, int count, bool shared) {
  Raw(SYS_futex, word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), count, nullptr, nullptr, 0);
}

}  // namespace penstock
