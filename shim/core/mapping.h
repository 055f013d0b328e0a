// Index, arena, open-file table and session memory in this process's address space.
//
// Thread safety: only while the join lock is held, except that readers may hold any View ever published.
#pragma once

#include <stdint.h>

#include "shim/abi/handshake.h"
#include "shim/abi/session.h"
#include "shim/core/view.h"

namespace penstock {

struct WelcomeFds {
  int index;
  int arena;
  int session;
  int doorbell;
  int open_files;
  int folder;
};

// Maps what the sidecar gave and publishes a new View (unless the current one is of this very memory: a
// forked child's). The fds stay the caller's. 0, or a positive errno: EPROTO for memory that is not what it
// says it is, ENOMEM.
int MapView(const pst_welcome& welcome, const WelcomeFds& fds);

// Maps session memory: a new place each time, old ones stay mapped (a thread may be waiting there) up to
// a bound. Null if it is not usable.
pst_session* MapSession(const pst_welcome& welcome, int fd);

}  // namespace penstock
