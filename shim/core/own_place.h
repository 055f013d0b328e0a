// Descriptors by the program's own way to the job's folder.
//
// The sidecar passes directories of the job's folder as descriptors. In another container it opened them
// through its own mount of that folder, so the kernel's links of such a descriptor (/proc/self/fd/N,
// /proc/self/cwd), and of what is opened below it, name no path of this program. The same directory
// opened here has a name that the next program recognises.
//
// Thread safety: any thread, signal handlers.
#pragma once

#include "shim/core/hook.h"

namespace penstock {

// Takes `fd` of the directory `tail` (relative to the job's folder) and returns the same number, which then
// names the directory opened by this program's own path, or, where that is another directory or can't be
// opened, what it named before. CLOEXEC either way.
PST_COLD int PstByOwnPlace(int fd, const char* tail, int flags);

}  // namespace penstock
