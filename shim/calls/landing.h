#pragma once

// Mounts whose path also exists on the local disk. There a symbolic link from outside leads the kernel to
// the local files, with no error that would show it, so names are walked before the kernel gets them. Where
// no prefix exists on disk (the usual case in a container) this costs one load.
//
// Thread safety: any thread, signal handlers. errno is left alone.

#include "shim/calls/support.h"
#include "shim/core/links.h"

namespace penstock {

enum class OnDisk : uint8_t { kUnknown, kNone, kSome };
extern OnDisk g_prefixes_on_disk;

PST_COLD bool PstLooksOnDisk();

// May an uncovered name lead into a mount without the kernel failing?
// Before the constructor has run nothing is covered, and nothing is looked for.
PST_INLINE bool PstMayLand() {
  return PST_UNLIKELY(g_prefixes_on_disk != OnDisk::kNone) && g_config.active && PstLooksOnDisk();
}

// True if `path`, not covered by its text, leads into a mount through a link. `out` points into `linked`.
inline bool PstLands(int dirfd, const char* path, bool follow, LinkedPath* linked, Route* out) {
  return PstRouteThroughLinks(dirfd, path, follow, linked, out) &&
         (out->cover == Cover::kMount || out->cover == Cover::kError);
}

}  // namespace penstock
