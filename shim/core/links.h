// Links outside that lead into a mount (~/data -> /data/train): the kernel finds nothing behind
// them, so after its ENOENT they are walked here. The same for a mount whose own path leads over a
// link: programs that resolve names themselves arrive at the disk's name of the folder above it
// (looked for once).
//
// Thread safety: any thread, signal handlers. No allocation; errno is left alone.
#pragma once

#include "shim/core/path.h"

namespace penstock {

struct LinkedPath {
  Scratch text;
  PathBuffer buffer;
};

// True if `path` leads into (or above) a mount through a link: `out` is the route, which points into
// `linked`. `follow` false: a link as the last component stays a link. That a folder holds no such way is
// remembered for a short time, because programs look for many names that are not there.
PST_COLD bool PstRouteThroughLinks(int dirfd, const char* path, bool follow, LinkedPath* linked, Route* out);

}  // namespace penstock
