#pragma once

// The guard: the process that answers the reported calls of a supervised program and of all that it
// starts.
//
// It is a child of the program, made just before the program's exec, with no exit signal: the
// program's own wait() does not find it. It holds no descriptor of the program's, stands in "/", in
// a session of its own, ignores every signal that can be ignored, and ends when the last process
// with the filter is gone. Inside it is an ordinary client of the sidecar, joined by this library.
//
// Calls are served by threads: one that takes a call while no other is waiting for one starts
// another first, so a file that is still being filled holds up nobody but who opened it. At most
// kMaxServers at a time.

namespace penstock {

inline constexpr int kMaxServers = 256;

// Becomes the guard: receives the listener over `channel`, says that it is ready, serves, ends the
// process. In the child, with one thread.
[[noreturn]] void PstGuard(int channel, bool strict);

// Was everything asked to be supervised (penstock run --strict)? In the guard only.
extern bool g_guard_strict;

// Says one line on the stderr of process or thread `thread`, once for each `once`.
void PstGuardSays(int thread, const char* line, bool* once);

}  // namespace penstock
