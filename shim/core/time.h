// Clocks and short sleeps by raw calls. Any thread, signal handlers; errno is left alone.
#pragma once

#include <stdint.h>

namespace penstock {

// CLOCK_MONOTONIC in nanoseconds (vDSO).
int64_t PstMonotonicNs();

// CLOCK_MONOTONIC_COARSE in nanoseconds (vDSO, a few ns).
int64_t PstCoarseNs();

// Sleeps; a signal ends it early.
void PstSleepNs(int64_t ns);

// Waits on a futex word of our own (private) or in shared memory while it is `value`, at most `ns`.
void PstFutexWait(const uint32_t* word, uint32_t value, int64_t ns, bool shared);
void PstFutexWake(uint32_t* word, int count, bool shared);

}  // namespace penstock
