#pragma once

// Entries of an io_uring submission queue that name covered files. The kernel would look such a
// name up on the local disk; so the call is made here, through our own hook, just before the entry
// is submitted, and the entry is changed into one that completes with the hook's result. Flags
// (links, drain, async) and user data stay.
//
// An opened file is real (see uring.h). A direct descriptor goes into the ring's table of files
// before the entry is submitted; IORING_FILE_INDEX_ALLOC gives EINVAL, as kernels without it do.
// Before Linux 6.10, which can be asked for any result, errors other than ENOENT, ENOTDIR, EISDIR,
// EEXIST and EBADF become EACCES (for root EOPNOTSUPP).
//
// Thread safety: any thread that may submit to that ring. errno is left alone.

#include "shim/core/hook.h"

struct io_uring_sqe;

namespace penstock {

PST_COLD void PstRingEntry(io_uring_sqe* entry, int ring);

}  // namespace penstock
