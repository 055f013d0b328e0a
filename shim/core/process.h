// The life of the process: start, fork, vfork, exec.
//
// Fork needs no hook to be safe (the session's page is wiped by the kernel); with the hook, slots are
// marked as shared and nothing of the parent is used by mistake.
#pragma once

#include <stdint.h>

namespace penstock {

// Before fork, vfork, posix_spawn and exec, in the calling thread: open slots become shared, a new epoch
// begins.
void PstBeforeFork();
// In the child of fork, before anything else runs there (async-signal-safe).
void PstAfterForkChild();

// Numbers this process inherited that are reservations (readlink ends in "/" PST_OPEN_FILE_DIR "/<slot>"),
// shadow directories or objects' files: enters them into the table. Run once by the constructor when there may be some; shim/calls/ run it again
// for a number received over SCM_RIGHTS. True if `fd` is one of ours now.
bool PstAdoptInherited(int fd);

}  // namespace penstock
