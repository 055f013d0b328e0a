// The version token and attributes of a file in a folder.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "transport/origin/origin.h"

namespace penstock::origin {

// stat(2) of `path` below the folder `folder` (AT_FDCWD: as it stands), links followed; "" is `folder`
// itself, an open file. A network file system asks its server (AT_STATX_FORCE_SYNC): its cached attributes
// would hide for seconds that a file was written to. 0, or an errno.
int FreshStat(int folder, const char* path, struct stat* attributes);

// "device-inode-size-mtime-ctime" in hexadecimal; the times in nanoseconds.
std::string FileVersion(const struct stat& attributes);

// True if both describe the same version: all that FileVersion() holds is equal.
bool SameVersion(const struct stat& a, const struct stat& b);

// How long to wait until a further change cannot keep these times any more: what is left of the tick of
// the clock that stamps them. A change in the future (a server whose clock is ahead of ours, a clock that
// was set back) does not tell its age: a whole tick, unless one was `waited` for without a change.
std::int64_t TickLeftNs(const struct stat& attributes, std::int64_t wall_ns, std::int64_t tick_ns,
                        bool waited);

// True for what an origin shows: regular files and directories.
bool IsServed(const struct stat& attributes);

// Fills kind, size, mtime and version. REQUIRES: IsServed(attributes).
void FillInfo(const struct stat& attributes, ObjectInfo* info);

}  // namespace penstock::origin
