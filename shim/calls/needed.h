#pragma once

// What a shared library asks its loader for. The loader opens dependencies by calls that no hook
// sees, so those that lie in a mount have to be loaded before it.
//
// Thread safety: any thread. No allocation; the file stays mapped for the call only.

#include <stddef.h>

namespace penstock {

// For each DT_NEEDED name of the ELF file behind `fd`: calls each(context, name, search), where
// `search` is the file's own DT_RUNPATH or DT_RPATH, or "". Does nothing for a file that is not a
// well-formed library of this machine.
void EachNeeded(int fd, void (*each)(void* context, const char* name, const char* search),
                void* context);

}  // namespace penstock
