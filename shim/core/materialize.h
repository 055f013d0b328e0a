// Turning a covered number into a real fd of an immutable file, for what only the kernel can do.
//
// All sharers of one open-file slot (dup, fork, exec) end up on the same open file, which the sidecar
// keeps for the slot. Protocol on the slot's word:
//   1. ask MATERIALIZE with slot and generation (always the even one): the range is there, we have the fd
//   2. freeze: compare-and-swap the word from (generation, offset) to (generation | 1, offset). Whoever
//      wins sets the real fd's offset with lseek and then stores state PST_SLOT_MATERIALIZED; every claim
//      at the even generation has failed since the freeze
//   3. losers wait (bounded) for the state; a winner that died is stood in for by whoever runs out of
//      patience, from the frozen offset
//   4. dup3 the fd onto the number and change its entry's kind
//
// Thread safety: any thread.
#pragma once

#include <stdint.h>

#include "shim/core/fd_table.h"

namespace penstock {

// Makes number `fd` a real fd of the whole file: once it is native, reads anywhere must find their bytes.
// (mmap, which knows its range, maps another fd: PstMaterializeEntry.) 0, or a positive errno (ENOSPC: larger
// than the NVMe tier; EIO; ESTALE). Real fds, directories and other kinds: 0, nothing to do.
int PstMaterialize(int fd);

// A real fd of a routed file version without any slot: *fd_out is new, with an offset of its own.
int PstMaterializeEntry(const FdEntry& entry, const char* path, uint32_t path_len, uint64_t offset,
                        uint64_t length, bool cloexec, int* fd_out);

// The slot of `entry` is frozen or materialised by another sharer: take over its open file. 0, or a
// positive errno (EBADF if the generation shows that the entry is stale).
PST_COLD int PstAdoptMaterialized(int fd, const FdEntry& entry);

}  // namespace penstock
