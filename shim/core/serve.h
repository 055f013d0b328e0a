// Opening and reading covered files: what the hooks of open, read and their kin call, and what stdio's
// cookie, sendfile's bounce buffer and other families may call too.
//
// Thread safety: any thread, signal handlers. Results are the call's; failures are -errno, and errno
// itself is left alone.
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "shim/core/fd_table.h"
#include "shim/core/path.h"

namespace penstock {

// Opens a routed name (kMount). The number, or -errno.
int PstOpenRoute(const Route& route, int flags, mode_t mode);

// As PstOpenRoute, but a file is a real one from the beginning (kFdMaterialized), with a descriptor of its own and no
// slot; it waits for the whole file. With O_PATH a file is opened for reading all the same.
PST_COLD int PstOpenReal(const Route& route, int flags);

// Opens any path: -1 with *handled false if it is not covered.
int PstOpenAt(int dirfd, const char* path, int flags, mode_t mode, bool* handled);

// A descriptor (CLOEXEC) of the directory that stands for one above a mount that is not on disk (absolute and
// normalised). -errno: ENOENT if no mount lies below it.
PST_COLD int PstAncestorFd(const char* path);

// Bytes of the version of `entry` at `offset`, at most to its end; short only at the end or after an
// error. -errno: EIO, ESTALE, ...
ssize_t PstReadAt(int fd, const FdEntry& entry, void* to, size_t count, uint64_t offset);

// read(): claims at the shared offset. *native is set (and 0 returned) if the number turned out to be
// materialised meanwhile and now has a real fd: call the kernel.
ssize_t PstRead(int fd, const FdEntry& entry, void* to, size_t count, bool* native);

// readv(): as PstRead, but the bytes of the claimed range are read by `fill(offset, count)`, which returns
// how many it got or -errno.
template <class Fill>
ssize_t PstReadVector(int fd, const FdEntry& entry, size_t count, bool* native, Fill fill);

// Claims at most `count` bytes at the shared offset. The number claimed and *offset, 0 at the end; *native
// as in PstRead; -errno.
ssize_t PstClaim(int fd, const FdEntry& entry, size_t count, uint64_t* offset, bool* native);
// Gives back what could not be read of a claim.
void PstUnclaim(uint32_t slot, uint32_t generation, uint64_t offset, size_t claimed, ssize_t got);

template <class Fill>
ssize_t PstReadVector(int fd, const FdEntry& entry, size_t count, bool* native, Fill fill) {
  uint64_t offset = 0;
  ssize_t claimed = PstClaim(fd, entry, count, &offset, native);
  if (claimed <= 0) return claimed;
  ssize_t got = fill(offset, (size_t)claimed);
  if (got < claimed) PstUnclaim(entry.slot, entry.generation, offset, (size_t)claimed, got);
  return got;
}

// lseek() on a covered file; the new offset or -errno. *native as above.
int64_t PstSeek(int fd, const FdEntry& entry, int64_t offset, int whence, bool* native);

// The path of a number relative to its mount, NUL-terminated, into `to` (kFdPathBytes): from the table, or, for
// an inherited number, from the sidecar. Length, or -errno.
int PstFdPathOrAsk(int fd, const FdEntry& entry, char* to);

// The current offset without moving it, or -errno.
int64_t PstTell(const FdEntry& entry);

}  // namespace penstock
