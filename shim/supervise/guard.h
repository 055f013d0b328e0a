#pragma once

// The guard: the process that answers the reported calls of a supervised program and of all that it
// starts.
//
// It is a child of the program, made just before the program's exec, with no exit signal: the
// program's own wait() does not find it. It holds no descriptor of the program's, stands in "/", in
// a session of its own, ignores every signal that can be ignored, and ends when the last process
// with the filter is gone. Inside it is an ordinary client of the sidecar, joined by this library.
//
// If there were no guard any more, every reported call would fail with ENOSYS. So there are two
// processes: the first does nothing but hold the listener and wait for the second, which serves;
// when that one dies, it says so on the program's stderr and makes another one, which answers what
// the dead one had begun.

#include <sys/types.h>

namespace penstock {

// Becomes the guard: receives the listener over `channel`, says that it is ready, serves, ends the
// process. In the child, with one thread.
[[noreturn]] void PstGuard(int channel, bool strict);

// Was everything asked to be supervised (penstock run --strict)? In the guard only.
extern bool g_guard_strict;
// The first of the two processes. In the guard only.
extern pid_t g_guard_pid;

// Says one line on the stderr of process or thread `thread`.
void PstGuardSays(int thread, const char* line);

}  // namespace penstock
