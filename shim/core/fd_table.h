// The fd table: what each descriptor number of this process means to us.
//
// One byte a number (g_fd_kind, 0 = not ours) decides on the hot path. Entries and paths lie in
// chunks of kFdChunk numbers that are mapped when the first of them is covered (g_fd_chunks finds
// them); a chunk is never given back. Entries are read as consistent snapshots.
//
// The one rule (a stale entry is the only way to return wrong data):
//   Everything that closes or replaces a number calls PstFdDrop BEFORE the kernel call, so that
//   another thread that is given the number at once is never clobbered; everything that gets a new
//   number from the kernel calls PstFdForget on it (a close may have gone around us).
//
// Slots: an entry of kind file owns one reference to its open-file slot (counted per process, dup
// adds one, before the kernel's dup). The last PstFdDrop hands the slot back after the kernel
// close: see FdDropped.
//
// dup2 and dup3 hold both entries while the kernel works, so that who reads the target meanwhile
// waits, and finds the file before or the one after, as in the kernel. Only a reader that looked at
// an uncovered target before, and makes its call after, meets the reservation (EBADF): between the
// two lie a few instructions. Closing an uncovered target may take the kernel long (a lingering
// socket, a file on a network): then the source is not held, so that its readers go on, but looked
// at before and after.
//
// A vfork child would share this table with its parent: the vfork hook forks instead. A fork waits
// while entries are held over a system call (fork_gate.h).
//
// Thread safety: all functions from any thread and from signal handlers; no lock, no allocation.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "shim/abi/key.h"
#include "shim/abi/open_file.h"
#include "shim/core/hook.h"

namespace penstock {

inline constexpr uint32_t kMaxFds = 1u << 20;  // numbers beyond are never covered: their calls fail with EMFILE
inline constexpr uint32_t kFdChunk = 64;       // numbers a chunk: 264 KiB of address space
inline constexpr uint32_t kFdPathBytes = PST_PATH_MAX;
inline constexpr uint8_t kNoWarm = 0xFF;
inline constexpr uint32_t kFdPathOnly = O_PATH;

enum FdKind : uint8_t {
  kFdNone = 0,
  kFdFile = 1,          // reserved number, served from the arena
  kFdDirectory = 2,     // real fd of the shadow directory
  kFdMaterialized = 3,  // real fd of the object's file: the kernel serves it, we only dress up stat
  kFdOwn = 4,           // the library's own: the program has no business with it
  kFdAncestor = 5,      // real directory above a mount: relative paths through it can be covered
};

struct alignas(64) FdEntry {
  // What a read needs: one line.
  uint32_t seq;          // odd while it changes
  uint32_t slot;         // or PST_NO_SLOT
  uint32_t generation;   // of the slot, 16 bits, even
  uint16_t mount;        // index in View::mounts
  uint8_t kind;          // FdKind
  uint8_t warm;          // reservation in hand that it came from, or kNoWarm
  uint32_t ns;
  uint32_t flags;        // O_ACCMODE and status flags of the open (no O_CLOEXEC: that is the kernel's)
  pst_key128 id;
  uint64_t version;
  uint64_t size;
  uint32_t epoch;        // PstForkEpoch() at open
  uint32_t path_len;     // of PstFdPath, relative to the mount
  // What fstat needs, and hints.
  int64_t mtime_ns;
  uint64_t ino;
  uint32_t mode;         // permission bits
  uint32_t nlink;
  uint64_t reserved[4];
};
static_assert(sizeof(FdEntry) == 128);

struct FdChunk {
  FdEntry entries[kFdChunk];
  char paths[kFdChunk][kFdPathBytes];
};

extern uint8_t g_fd_kind[kMaxFds];
extern FdChunk* g_fd_chunks[kMaxFds / kFdChunk];
extern uint32_t g_fd_high;        // no number of ours was ever >= this

// The entry of a number, or null if it never had one. `fd` must be in [0, kMaxFds).
PST_INLINE FdEntry* PstFdEntryOf(int fd) {
  FdChunk* chunk = __atomic_load_n(&g_fd_chunks[(unsigned)fd / kFdChunk], __ATOMIC_ACQUIRE);
  return PST_LIKELY(chunk != nullptr) ? &chunk->entries[(unsigned)fd % kFdChunk] : nullptr;
}

// Makes sure that a number can have an entry. False: it lies beyond the table, or there is no memory; the
// caller then closes it and fails with EMFILE, since a covered number without an entry would be the kernel's.
bool PstFdRoom(int fd);

// Grows at every fork and exec of this process; 0 in a forked child that has not joined yet. An entry
// whose epoch is another one may be held by another process.
uint32_t PstForkEpoch();

// Kind of a number. Not covered: one compare, one load.
PST_INLINE FdKind PstFdKindOf(int fd) {
  if (PST_UNLIKELY((unsigned)fd >= kMaxFds)) return kFdNone;
  uint8_t kind = __atomic_load_n(&g_fd_kind[fd], __ATOMIC_ACQUIRE);
  return (FdKind)kind;
}

// Waits while another thread holds entry `fd` (over a system call, or preempted): a short nap, or false when
// there is nothing to wait for: the number is not ours any more, or it has been held since *deadline_ns (0 at
// the first call), which only a holder that is gone does.
PST_COLD bool PstFdAwait(int fd, int64_t* deadline_ns);

// The line that a read needs, as a consistent copy (the second line of *out is not filled). False: the
// number is not ours any more. Hot.
PST_INLINE bool PstFdHot(int fd, FdEntry* out) {
  using Word = uint64_t __attribute__((may_alias));
  const auto* words = (const Word*)(const void*)PstFdEntryOf(fd);
  if (PST_UNLIKELY(words == nullptr)) return false;
  uint64_t line[8];
  int64_t deadline_ns = 0;
  for (int spin = 0; PST_LIKELY(spin < 64) || PstFdAwait(fd, &deadline_ns); ++spin) {
    line[0] = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
    for (int i = 1; i < 8; ++i) line[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (PST_LIKELY((line[0] & 1u) == 0 && __atomic_load_n(&words[0], __ATOMIC_RELAXED) == line[0])) {
      auto* to = (Word*)(void*)out;  // word by word: a wider copy would wait for the stores into `line`
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) to[i] = line[i];
      return out->kind != kFdNone;
    }
  }
  return false;
}

// Has the number become another file (or been closed) since `entry` was read?
PST_INLINE bool PstFdChanged(int fd, const FdEntry& entry) {
  const FdEntry* now = PstFdEntryOf(fd);
  return now == nullptr || __atomic_load_n(&now->seq, __ATOMIC_ACQUIRE) != entry.seq;
}

// What a hit needs of an open file: small enough to live in registers.
struct FdFile {
  uint32_t slot;
  uint32_t generation;
  uint32_t ns;
  pst_key128 id;
  uint64_t version;
  uint64_t size;
};

// A consistent look at a number's file. False: not a file of ours that can be read, or its entry is changing:
// PstFdHot tells. `fd` must be in [0, kMaxFds). Hot.
PST_INLINE bool PstFdFileNow(int fd, FdFile* out) {
  using Word = uint64_t __attribute__((may_alias));
  const auto* words = (const Word*)(const void*)PstFdEntryOf(fd);
  if (PST_UNLIKELY(words == nullptr)) return false;
  const uint64_t first = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
  const uint64_t second = __atomic_load_n(&words[1], __ATOMIC_RELAXED);
  const uint64_t third = __atomic_load_n(&words[2], __ATOMIC_RELAXED);
  out->id.lo = __atomic_load_n(&words[3], __ATOMIC_RELAXED);
  out->id.hi = __atomic_load_n(&words[4], __ATOMIC_RELAXED);
  out->version = __atomic_load_n(&words[5], __ATOMIC_RELAXED);
  out->size = __atomic_load_n(&words[6], __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  static_assert(offsetof(FdEntry, slot) == 4 && offsetof(FdEntry, generation) == 8 &&
                offsetof(FdEntry, kind) == 14 && offsetof(FdEntry, ns) == 16 && offsetof(FdEntry, flags) == 20 &&
                offsetof(FdEntry, id) == 24 && offsetof(FdEntry, version) == 40 && offsetof(FdEntry, size) == 48);
  out->slot = (uint32_t)(first >> 32);
  out->generation = (uint32_t)second;
  out->ns = (uint32_t)third;
  return PST_LIKELY((first & 1u) == 0 && (uint8_t)(second >> 48) == kFdFile &&
                    (third >> 32 & kFdPathOnly) == 0 && __atomic_load_n(&words[0], __ATOMIC_RELAXED) == first);
}

// A consistent copy of an entry. False if the number is not ours (any more).
bool PstFdSnapshot(int fd, FdEntry* out);

// The path of a number relative to its mount, copied into `to` (kFdPathBytes bytes, NUL-terminated).
// Its length, or -1 if the number is not `entry`'s any more. For kFdAncestor the path is absolute.
int PstFdPath(int fd, const FdEntry& entry, char* to);

// Publishes an entry for a number that the kernel has just given to this thread and that has room
// (PstFdRoom). `entry.seq` is ignored, `path` must be shorter than kFdPathBytes. Takes over the caller's
// reference to entry.slot.
void PstFdSet(int fd, const FdEntry& entry, const char* path, uint32_t path_len);

// Stores what was learnt about a number (a changed snapshot and its path), unless it is another file by now.
void PstFdRefine(int fd, const FdEntry& entry, const char* path, uint32_t path_len);

// First half of closing or replacing a number: clears the entry. Call it before the kernel call, and
// FdDropped after it (even if the kernel call failed with anything but EBADF the number is gone on
// Linux). Cheap if the number is not ours: test PstFdKindOf first where it matters.
struct FdDropped {
  uint8_t kind;          // what it was
  uint8_t warm;
  uint32_t slot;         // PST_NO_SLOT: nothing to hand back
  uint32_t generation;
  uint32_t epoch;
};
FdDropped PstFdDrop(int fd);
// Second half: gives the slot back to the pool if this was the last reference and nobody else can hold
// it.
void PstFdDropped(const FdDropped& dropped);

// A number that the kernel has just handed out: nothing of ours may be left on it.
PST_COLD void PstFdForgetSlow(int fd);
PST_INLINE void PstFdForget(int fd) {
  if ((unsigned)fd < kMaxFds &&
      PST_UNLIKELY(__atomic_load_n(&g_fd_kind[fd], __ATOMIC_RELAXED) != kFdNone))
    PstFdForgetSlow(fd);
}

// Puts `real` (an fd, which is closed in any case) onto number `fd` with dup3, if the number still is what
// `entry` (a snapshot) says, and makes its entry kFdMaterialized. The entry is held while the kernel works, so
// that nobody else can be given the number meanwhile. 0, or a positive errno; EAGAIN: it is another file now.
int PstFdBecomeReal(int fd, const FdEntry& entry, int real);

// dup: `call` gives a duplicate of number `from`, by the kernel. Returns what it returned, and makes the new
// number another one of the same open file. -1 with errno EMFILE: the number can have no entry.
template <class Call>
int PstFdDuplicate(int from, Call call);

// dup2: `call` puts a duplicate of `from` onto `to`, by the kernel; both differ, and at least one is ours (and
// none kFdOwn). Returns what it returned. In one step, for whoever uses the two numbers meanwhile.
template <class Call>
int PstFdReplace(int from, int to, Call call);

// The next number of ours in [first, last], or -1: for close_range and closefrom, which then drop, close and
// finish number by number (own fds, kFdOwn, are among them and stay open: they are CLOEXEC).
int PstFdNext(unsigned first, unsigned last);

// Marks all open slots as shared (slot->shared) and starts a new epoch: before fork, vfork and exec.
void PstFdShareAll();

// In a forked child: the writers of entries that were being written are not here. Such a number is
// one that the program had not been given yet, or is being closed, or (fstat of an inherited one)
// its words are each old or new.
void PstFdAfterFork();

// ---- the halves of PstFdDuplicate and PstFdReplace ----

// A source as it was before the kernel's dup, with a reference to its slot in hand.
struct FdSource {
  FdEntry entry;
  bool ours;
};
bool PstFdTakeSource(int from, FdSource* source);
void PstFdGiveBack(const FdSource& source);
// Makes `to` the source's. False: the source changed meanwhile, or there is no room (*err).
bool PstFdDuplicated(int from, const FdSource& source, int to, int* err);

struct FdReplacing {
  int from, to;
  FdEntry* source;    // held; null if `from` is not ours, or is only looked at
  FdEntry* target;    // held
  uint32_t source_seq, target_seq;
  uint8_t kind_before;  // of `to`
  bool referenced;      // the source's slot
  bool looked;     // `seen` stands for the source: the kernel's close of `to` may take its time
  bool same;       // what was seen has not changed
  bool installed;  // a call before this one has put something onto `to`
  int tries;
  FdSource seen;
  uint64_t signals;     // the thread's mask: a handler must not meet what its own thread holds
};
// False: nothing of ours is in it any more (*err 0), or it cannot be done (*err).
bool PstFdHold(int from, int to, FdReplacing* held, int* err);
// False: `from` has become another file while the kernel worked: make the call again.
bool PstFdReplaced(FdReplacing* held, bool done);

template <class Call>
int PstFdDuplicate(int from, Call call) {
  constexpr int kTries = 100;  // somebody closes and opens the source's number meanwhile, again and again
  for (int tries = 0;; ++tries) {
    FdSource source;
    bool ours = PstFdTakeSource(from, &source);
    int to = call();
    if (to >= 0) PstFdForget(to);
    if (PST_UNLIKELY(to < 0)) {
      if (ours) PstFdGiveBack(source);
      return to;
    }
    if (!ours) return to;
    int err = EBADF;
    if (PST_LIKELY(PstFdDuplicated(from, source, to, &err))) return to;
    if (err != EAGAIN || tries == kTries) return PstFail(err == EAGAIN ? EBADF : err);
  }
}

template <class Call>
int PstFdReplace(int from, int to, Call call) {
  FdReplacing held;
  int err = 0;
  if (!PstFdHold(from, to, &held, &err)) return err != 0 ? PstFail(err) : call();
  for (;;) {
    int result = call();
    if (PST_LIKELY(PstFdReplaced(&held, result >= 0))) return result;
  }
}

}  // namespace penstock
