// Joining: from nothing (or from a dead sidecar, or from a parent's memory) to a session.
//
// Thread safety: any thread; one lock, held with signals blocked, waited for with a deadline.
#pragma once

#include <stdint.h>

#include "shim/abi/session.h"

namespace penstock {

// The session to ask on, joining or joining again if need be: waits until `deadline_ns`
// (CLOCK_MONOTONIC) at most. Null with *err: EIO, or EMFILE/ENFILE where descriptors are missing.
pst_session* EnsureSession(int64_t deadline_ns, int* err);

// How long a call may wait for a sidecar from now on: PENSTOCK_WAIT, or almost nothing while an earlier
// call has just waited in vain.
int64_t JoinDeadlineNs();

// The sidecar behind `session` does not answer any more.
void SessionLost(pst_session* session);

// Does the other end of the session's socket still exist?
bool SidecarAlive();

class JoinLock {
 public:
  explicit JoinLock(int64_t deadline_ns);
  ~JoinLock();
  JoinLock(const JoinLock&) = delete;
  JoinLock& operator=(const JoinLock&) = delete;
  bool held() const { return held_; }

 private:
  uint64_t mask_ = 0;
  bool held_ = false;
};

}  // namespace penstock
