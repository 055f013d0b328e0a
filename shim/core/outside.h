// Questions to the kernel about places outside of mounts, by raw calls: for ".." and for links.
//
// Thread safety: any thread, signal handlers.
#pragma once

#include <stdint.h>

namespace penstock {

// Replaces the absolute path in `text` (NUL-terminated, *len bytes, room for `capacity` with NUL) by what
// the kernel calls that directory: links resolved. 0, or a positive errno (ENOENT, ENOTDIR, ...). A directory
// above a mount that is not on disk stays as it is.
int OutsideResolve(char* text, uint32_t* len, uint32_t capacity);

// The kernel's path of a directory descriptor. Length, or -errno.
int OutsideFdPath(int fd, char* to, uint32_t capacity);

// "/proc/self/fd/N" into `to` (at least 32 bytes).
void ProcFdPath(int fd, char* to);

}  // namespace penstock
