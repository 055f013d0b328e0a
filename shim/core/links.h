// Links outside that lead into a mount (~/data -> /data/train): the kernel finds nothing behind
// them, so after its ENOENT they are walked here. The same for a mount whose own path leads over a
// link: programs that resolve names themselves arrive at the disk's name of the folder above it
// (looked for once).
//
// Thread safety: any thread, signal handlers. No allocation; errno is left alone.
#pragma once

#include <string.h>

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

// May this path be a link to a number of this process (/dev/stdin, /dev/fd/N, /proc/self/fd/N)? For what is
// worth a closer look: PstNumberNamed.
inline bool PstMayNameNumber(const char* path) {
  __asm__("" : "+r"(path));  // the headers promise the compiler that nobody passes null; programs do (to probe statx)
  if (path == nullptr || path[0] != '/') return false;
  if (path[1] == 'd') return strncmp(path + 1, "dev/fd/", 7) == 0 || strncmp(path + 1, "dev/std", 7) == 0;
  return path[1] == 'p' && strncmp(path + 1, "proc/", 5) == 0;
}

// The number that such a path names, whether it is open or not; -1 if it names none of this process's.
int PstNumberNamed(const char* path);

}  // namespace penstock
