#pragma once

// The serving half of the guard: threads that take reported calls and answer them.
//
// A thread that takes a call while no other is waiting for one starts another first, so a file that
// is still being filled holds up nobody but who opened it. At most kMaxServers at a time.
//
// What has been taken and not answered stands in memory that outlives the process (Taken), so that
// its successor can answer it: the kernel hands a call out once. It writes it there itself, so
// there is no moment between.

#include <linux/seccomp.h>
#include <stdint.h>

#include "shim/supervise/target.h"

namespace penstock {

inline constexpr int kMaxServers = 256;

struct Taken {
  uint32_t state;  // 0 free, 1 a server's
  uint32_t tries;  // to answer it
  union {
    seccomp_notif call;  // id 0: none at the moment
    char room[512];      // the kernel's structure may be longer than the one we know
  };
};

// Serves until the last process with the filter is gone, then ends the process with 0; 1 if it
// cannot. `taken`: kMaxServers of them.
[[noreturn]] void PstServeAll(int listener, Taken* taken);

}  // namespace penstock
