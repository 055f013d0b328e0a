#pragma once

// Yama's ptrace_scope 1 (Ubuntu's default): a process may look into another one only if that is its
// descendant, or has named it by prctl(PR_SET_PTRACER). The guard is no ancestor of the program;
// the program names it before its exec, and each child that the program makes is made to do so
// before it runs.
//
// Thread safety: any thread.

#include <sys/types.h>

namespace penstock {

// Is that so here, for a process with our rights? Reads two files of /proc.
bool PstYamaRestricts();

}  // namespace penstock
