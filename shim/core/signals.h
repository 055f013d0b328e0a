// All signals held off for a few instructions: where this thread holds something that a handler on it would
// wait for.
//
// Thread safety: any thread, signal handlers; nests.
#pragma once

#include <signal.h>
#include <stdint.h>

#include "shim/core/raw.h"

namespace penstock {

// The mask as the kernel has it. Returns the one before.
inline uint64_t PstBlockSignals() {
  uint64_t all = ~0ull, before = 0;
  Raw(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof before);
  return before;
}

inline void PstRestoreSignals(uint64_t before) {
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
}

}  // namespace penstock
