#pragma once

// What a path argument of a supervised program's call stands for.
//
// Thread safety: one thread. A Place is large: it lives on a server's stack.

#include "shim/core/links.h"
#include "shim/core/path.h"
#include "shim/supervise/target.h"

namespace penstock {

struct Place {
  bool ours = false;            // else the kernel's: let the call pass
  char path[2 * PST_PATH_MAX];  // absolute, as the program means it; in the guard it means the same
  Route route = {};             // if ours; `full` and `text` may point into what follows
  PathBuffer buffer;
  LinkedPath linked;
};

// Finds out. `address` is the program's path, seen from its `dirfd`; `follow`: a link as the last
// component counts as what it leads to. 0, or -errno for the call to fail with. What cannot be read
// is the kernel's to refuse.
int PstLocate(const Call& call, int dirfd, uint64_t address, bool follow, Place* place);

// The directory behind a number or the working directory ("cwd", "fd/3") in the program's terms,
// into `to` (2 * PST_PATH_MAX bytes). Its length; 0 if it is none of ours; -errno.
int PstOwnDirectory(const Call& call, const char* what, char* to);

}  // namespace penstock
