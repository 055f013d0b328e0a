#include "shim/core/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "shim/abi/handshake.h"
#include "shim/core/client.h"
#include "shim/core/raw.h"

namespace penstock {
namespace {

static_assert(kWarmSlots == sizeof(g_client.warm) / sizeof(g_client.warm[0]));

// States of a reservation in hand.
constexpr uint32_t kEmpty = 0;    // no fd, no slot
constexpr uint32_t kFree = 1;     // fd and a free slot
constexpr uint32_t kUsed = 2;     // its slot is open
constexpr uint32_t kFilling = 3;  // one thread is setting it up or taking it down

// The free list: a stack threaded through this array. Only head and tag are wiped by fork.
uint32_t g_next_slot[PST_OPEN_FILE_SLOTS];
// Where counting ends: such a slot is never handed back, the sidecar frees it when the process is
// gone.
constexpr uint16_t kManyRefs = UINT16_MAX;
uint16_t g_refs[PST_OPEN_FILE_SLOTS];

using Warm = ClientPage::Warm;

void Push(uint32_t slot) {
  if (slot >= PST_OPEN_FILE_SLOTS) return;
  uint64_t head = __atomic_load_n(&g_client.pool_head, __ATOMIC_RELAXED), next;
  do {
    __atomic_store_n(&g_next_slot[slot], (uint32_t)head, __ATOMIC_RELAXED);
    next = ((head >> 32) + 1) << 32 | (slot + 1);
  } while (!__atomic_compare_exchange_n(&g_client.pool_head, &head, next, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

uint32_t Pop() {
  uint64_t head = __atomic_load_n(&g_client.pool_head, __ATOMIC_ACQUIRE), next;
  do {
    if ((uint32_t)head == 0) return PST_NO_SLOT;
    uint32_t below = __atomic_load_n(&g_next_slot[(uint32_t)head - 1], __ATOMIC_RELAXED);
    next = ((head >> 32) + 1) << 32 | below;
  } while (!__atomic_compare_exchange_n(&g_client.pool_head, &head, next, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE));
  return (uint32_t)head - 1;
}

bool Take(Warm* warm, uint32_t from, uint32_t to) {
  return __atomic_compare_exchange_n(&warm->state, &from, to, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED);
}

void SetState(Warm* warm, uint32_t state) { __atomic_store_n(&warm->state, state, __ATOMIC_RELEASE); }

PST_COLD uint32_t LeaseMore(const View* view) {
  uint32_t slots[PST_WELCOME_SLOTS];
  Ask ask;
  Answer answer;
  ask.op = PST_OP_LEASE;
  ask.length = PST_WELCOME_SLOTS;
  ask.reply = slots;
  ask.reply_capacity = sizeof slots;
  if (PstAsk(ask, &answer) != 0) return PST_NO_SLOT;
  PstSlotsLeased(view, slots, answer.length < PST_WELCOME_SLOTS ? (uint32_t)answer.length : PST_WELCOME_SLOTS);
  return Pop();
}

uint32_t PopOrLease(const View* view) {
  uint32_t slot = Pop();
  return slot != PST_NO_SLOT ? slot : LeaseMore(view);
}

// An O_PATH descriptor of the slot's socket inode: the lowest number, or -errno.
long OpenSlotInode(uint32_t slot, bool cloexec) {
  char name[12];
  char* at = name + sizeof name;
  *--at = 0;
  do {
    *--at = (char)('0' + slot % 10);
    slot /= 10;
  } while (slot != 0);
  for (int tries = 0;; ++tries) {
    int folder = PstSlotFolderFd();
    if (folder < 0) return folder;
    long fd = Raw(SYS_openat, folder, at, O_PATH | O_NOFOLLOW | (cloexec ? O_CLOEXEC : 0), 0);
    if (fd != -EBADF && fd != -ENOTDIR) return fd;
    if (tries >= 2) return -EIO;
    PstOwnFdGone(folder);
  }
}

// Writes a new open file into a slot that is ours. Its generation (even).
uint32_t OpenSlot(pst_slot* slot, const FdEntry& entry) {
  uint32_t generation =
      ((pst_word_generation(__atomic_load_n(&slot->word, __ATOMIC_RELAXED)) & ~1u) + 2) & 0xFFFF;
  // Claims of the generation before must fail before the fields change.
  __atomic_store_n(&slot->word, (uint64_t)generation << PST_OFFSET_BITS, __ATOMIC_RELAXED);
  PST_FENCE_RELEASE();
  __atomic_store_n(&slot->state, PST_SLOT_OPEN, __ATOMIC_RELAXED);
  slot->ns = entry.ns;
  slot->id = entry.id;
  slot->version = entry.version;
  slot->size = entry.size;
  slot->open_flags = entry.flags;
  slot->shared = 0;
  __atomic_store_n(&slot->session, g_client.session_id, __ATOMIC_RELEASE);
  return generation;
}

// `epoch` was read before the number existed: a fork between the two may have given it to a child.
bool Settle(const View* view, FdEntry* entry, uint32_t slot, uint8_t warm, long fd, uint32_t epoch) {
  pst_slot* line = PstSlotOf(view, slot);
  if (line == nullptr || !PstFdRoom((int)fd)) return false;
  entry->slot = slot;
  entry->warm = warm;
  entry->generation = OpenSlot(line, *entry);
  entry->epoch = epoch;
  __atomic_store_n(&g_refs[slot], (uint16_t)1, __ATOMIC_RELAXED);
  return true;
}

// Tries the reservations in hand. The number, or -errno; -EAGAIN: none was free.
long FromWarm(const View* view, FdEntry* entry, bool cloexec) {
  static __thread uint8_t hint;
  for (uint32_t i = 0; i < kWarmSlots; ++i) {
    uint32_t at = (hint + i) % kWarmSlots;
    Warm* warm = &g_client.warm[at];
    if (__atomic_load_n(&warm->state, __ATOMIC_RELAXED) != kFree || !Take(warm, kFree, kUsed)) continue;
    hint = (uint8_t)at;
    uint32_t epoch = PstForkEpoch();
    long fd = Raw(SYS_fcntl, warm->fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    if (PST_LIKELY(fd >= 0)) {
      if (PST_LIKELY(Settle(view, entry, warm->slot, (uint8_t)at, fd, epoch))) return fd;
      Raw(SYS_close, fd);
      fd = -EMFILE;
    }
    if (fd == -EBADF) {  // taken from us: the slot goes on without it
      uint32_t slot = warm->slot;
      SetState(warm, kEmpty);
      Push(slot);
      continue;
    }
    SetState(warm, kFree);
    return fd;
  }
  return -EAGAIN;
}

// Opens the slot's inode and, while fewer than kWarmSlots are in hand, keeps it there.
PST_COLD long FromPool(const View* view, FdEntry* entry, bool cloexec) {
  uint32_t slot = PopOrLease(view);
  if (slot == PST_NO_SLOT) return -ENOSPC;
  for (uint32_t i = 0; i < kWarmSlots; ++i) {
    Warm* warm = &g_client.warm[i];
    if (!Take(warm, kEmpty, kFilling)) continue;
    long opened = OpenSlotInode(slot, true);
    long high = opened < 0 ? opened : PstMoveHigh((int)opened);
    if (high < 0) {
      SetState(warm, kEmpty);
      if (high == -EMFILE) break;  // no room for one in hand; perhaps for the number itself
      Push(slot);
      return high;
    }
    warm->slot = slot;
    warm->fd = (int)high;
    SetState(warm, kFree);
    long fd = FromWarm(view, entry, cloexec);
    return fd == -EAGAIN ? FromPool(view, entry, cloexec) : fd;
  }
  uint32_t epoch = PstForkEpoch();
  long fd = OpenSlotInode(slot, cloexec);
  if (fd >= 0) {
    if (Settle(view, entry, slot, kNoWarm, fd, epoch)) return fd;
    Raw(SYS_close, fd);
    fd = -EMFILE;
  }
  Push(slot);
  return fd;
}

// The last number here of a file that the sidecar keeps open: a lock must not outlive it there.
PST_COLD void LetUnlock(const FdDropped& dropped) {
  Ask ask;
  ask.op = PST_OP_UNLOCK;
  ask.slot = dropped.slot;
  ask.slot_generation = dropped.generation;
  PstHint(ask);
}

}  // namespace

int PstReserve(const View* view, FdEntry* entry, bool cloexec) {
  for (int tries = 0; tries < 3; ++tries) {
    long fd = FromWarm(view, entry, cloexec);
    if (PST_UNLIKELY(fd == -EAGAIN)) fd = FromPool(view, entry, cloexec);
    if (PST_LIKELY(fd >= 0)) return (int)fd;
    if (fd != -EMFILE || tries == 1) return (int)fd;
    PstDropWarm();  // the program wants its last numbers: those in hand are among them
  }
  return -EMFILE;
}

bool PstSlotTryRef(uint32_t slot) {
  if (slot >= PST_OPEN_FILE_SLOTS) return false;
  uint16_t refs = __atomic_load_n(&g_refs[slot], __ATOMIC_RELAXED);
  do {
    if (refs == 0) return false;
    if (PST_UNLIKELY(refs == kManyRefs)) return true;
  } while (!__atomic_compare_exchange_n(&g_refs[slot], &refs, (uint16_t)(refs + 1), true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
  return true;
}

void PstSlotAddRef(uint32_t slot) {
  if (!PstSlotTryRef(slot) && slot < PST_OPEN_FILE_SLOTS)
    __atomic_fetch_add(&g_refs[slot], 1, __ATOMIC_RELAXED);
}

void PstSlotClosed(const FdDropped& dropped) {
  uint32_t slot = dropped.slot;
  if (slot >= PST_OPEN_FILE_SLOTS) return;
  // Another thread may be duplicating the number: no reference is ever taken or dropped at zero.
  uint16_t refs = __atomic_load_n(&g_refs[slot], __ATOMIC_RELAXED);
  do {
    if (refs == 0 || PST_UNLIKELY(refs == kManyRefs)) return;
  } while (!__atomic_compare_exchange_n(&g_refs[slot], &refs, (uint16_t)(refs - 1), true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
  if (refs != 1) return;
  Warm* warm = dropped.warm < kWarmSlots ? &g_client.warm[dropped.warm] : nullptr;
  if (warm != nullptr && (warm->slot != slot || __atomic_load_n(&warm->state, __ATOMIC_RELAXED) != kUsed))
    warm = nullptr;
  uint32_t epoch = PstForkEpoch();
  const View* view = PstView();
  pst_slot* line = view != nullptr ? PstSlotOf(view, slot) : nullptr;
  if (line != nullptr && PST_UNLIKELY(__atomic_load_n(&line->state, __ATOMIC_RELAXED) == PST_SLOT_MATERIALIZED))
    LetUnlock(dropped);
  if (PST_LIKELY(dropped.epoch == epoch && epoch != 0 && view != nullptr)) {
    if (line != nullptr) __atomic_store_n(&line->state, PST_SLOT_FREE, __ATOMIC_RELEASE);
    if (PST_LIKELY(warm != nullptr)) {
      SetState(warm, kFree);
    } else {
      Push(slot);
    }
    return;
  }
  // Another process may hold it: it stays as it is, and the sidecar frees it some day.
  if (warm != nullptr && Take(warm, kUsed, kFilling)) {
    int fd = warm->fd;
    __atomic_store_n(&g_fd_kind[fd], (uint8_t)kFdNone, __ATOMIC_RELEASE);
    Raw(SYS_close, fd);
    SetState(warm, kEmpty);
  }
}

void PstSlotsLeased(const View* view, const uint32_t* slots, uint32_t count) {
  for (uint32_t i = count; i-- > 0;) {
    if (slots[i] >= PST_OPEN_FILE_SLOTS || PstSlotOf(view, slots[i]) == nullptr) continue;
    if (__atomic_load_n(&g_refs[slots[i]], __ATOMIC_RELAXED) != 0) continue;  // we still hold it
    Push(slots[i]);
  }
}

void PstDropWarm() {
  for (Warm& warm : g_client.warm) {
    if (!Take(&warm, kFree, kFilling)) continue;
    int fd = warm.fd;
    uint32_t slot = warm.slot;
    __atomic_store_n(&g_fd_kind[fd], (uint8_t)kFdNone, __ATOMIC_RELEASE);
    Raw(SYS_close, fd);
    SetState(&warm, kEmpty);
    Push(slot);
  }
}

void PstWarmGone(int fd) {
  for (Warm& warm : g_client.warm) {
    if (warm.fd != fd) continue;
    if (Take(&warm, kFree, kFilling)) {
      uint32_t slot = warm.slot;
      warm.fd = -1;
      SetState(&warm, kEmpty);
      Push(slot);
    } else if (__atomic_load_n(&warm.state, __ATOMIC_RELAXED) == kUsed) {
      warm.fd = -1;  // the next use finds EBADF
    }
  }
}

void PstFdShareAll() {
  const View* view = PstView();
  if (view == nullptr) return;
  bool any = false;
  for (int fd = PstFdNext(0, kMaxFds - 1); fd >= 0; fd = PstFdNext((unsigned)fd + 1, kMaxFds - 1)) {
    FdEntry entry;
    if (!PstFdSnapshot(fd, &entry) || entry.slot == PST_NO_SLOT) continue;
    pst_slot* slot = PstSlotOf(view, entry.slot);
    if (slot == nullptr || (pst_word_generation(slot->word) | 1u) != (entry.generation | 1u)) continue;
    __atomic_store_n(&slot->shared, 1u, __ATOMIC_RELEASE);
    any = true;
  }
  if (any && g_client.epoch != 0) __atomic_fetch_add(&g_client.epoch, 1, __ATOMIC_RELAXED);
}

}  // namespace penstock
