// Attributes of names: from the index, else from the sidecar.
//
// Thread safety: any thread, signal handlers.
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "shim/abi/record.h"
#include "shim/core/fd_table.h"
#include "shim/core/path.h"

namespace penstock {

// Attributes of a routed name. 0 and attr (kind file or directory), or a positive errno: the record's own
// for an absent name, ENOTDIR if a file stands where the path needs a directory (and for must_be_dir),
// EIO without a sidecar. A hit makes no system call.
int PstLookup(const Route& route, pst_attr* attr);
// The same for one that is opened with these flags: a file's first bytes may come along.
int PstLookupToOpen(const Route& route, int open_flags, pst_attr* attr);

// stat() of a path that this process knows by its very text (shim/core/name_table.h), before any routing. False:
// not known, absent, or not good any more; nothing was stored.
bool PstStatKnown(const char* path, struct stat* out);

// Fills what stat shows. `mount` decides st_dev, uid and gid.
void PstFillStat(const Mount& mount, const pst_attr& attr, struct stat* out);
void PstFillStat(const Mount& mount, const FdEntry& entry, struct stat* out);

// A virtual directory above a mount that is not on disk.
void PstFillVirtualStat(const char* path, uint32_t len, struct stat* out);

// An inherited number knows its slot only: asks the sidecar for the rest of what fstat shows, once.
void PstCompleteEntry(int fd, FdEntry* entry);

// 0 or a positive errno for access(2) of a file or directory of a read-only mount, for the
// program's real or `effective` user.
int PstCheckAccess(const Mount& mount, const pst_attr& attr, int mode, bool effective = false);

// The program's user or group may be another one from now on.
void PstForgetIds();

}  // namespace penstock
