// Open-file slots and the reserved numbers made from them.
//
// A reservation is an O_PATH descriptor of the socket inode of a leased slot. Up to kWarmSlots of them are
// kept in hand at high numbers, each bound to one slot: an open duplicates one, which costs a fifth of an
// openat. Beyond that the slot's inode is opened by name.
//
// Generations: pst_slot_open's generation is even; materialising makes it odd (its low bit), which stops
// every claim at the old one and keeps the offset (materialize.h).
//
// Thread safety: any thread, signal handlers; lock-free.
#pragma once

#include <stdint.h>

#include "shim/abi/open_file.h"
#include "shim/core/fd_table.h"
#include "shim/core/view.h"

namespace penstock {

inline constexpr uint32_t kWarmSlots = 8;

// Opens a file description and a number for it. On success returns the number (lowest free, CLOEXEC if
// `cloexec`) and fills entry->slot, generation, warm, epoch; the caller then calls PstFdSet. `entry`
// brings ns, id, version, size, flags. -errno: EMFILE, ENFILE, EIO; -ENOSPC: no slot could be leased.
int PstReserve(const View* view, FdEntry* entry, bool cloexec);

// References of this process to a slot: its numbers. TryRef adds one unless there is none (the last number was
// closed meanwhile, and the slot may be somebody else's by now): false.
// AddRef is for numbers that this process inherited.
bool PstSlotTryRef(uint32_t slot);
void PstSlotAddRef(uint32_t slot);

// A number of the slot was closed (fd_table.h, PstFdDropped). At the last one the slot goes back to the
// pool, or, if the process has forked since the open, stays open for whoever else holds it.
void PstSlotClosed(const FdDropped& dropped);

// The slot behind an entry, or null if the number is out of bounds of the table.
PST_INLINE pst_slot* PstSlotOf(const View* view, uint32_t slot) {
  return PST_LIKELY(slot < view->slot_count) ? &view->slots[slot] : nullptr;
}

// Adds slots that the sidecar leased to this session.
void PstSlotsLeased(const View* view, const uint32_t* slots, uint32_t count);

// Closes the fds in hand; their slots stay leased. For EMFILE, and in a forked child (they are its
// parent's slots).
void PstDropWarm();

// `fd` was one in hand and is gone.
void PstWarmGone(int fd);

}  // namespace penstock
