// The fd table: what each descriptor number of this process means to us.
//
// One byte a number (g_fd_kind, 0 = not ours) decides on the hot path; entries lie in reserved memory
// and are read as consistent snapshots.
//
// The one rule (a stale entry is the only way to return wrong data):
//   Everything that closes or replaces a number calls PstFdDrop BEFORE the kernel call, so that another
//   thread that is given the number at once is never clobbered; everything that gets a new number from
//   the kernel calls PstFdForget on it (a close may have gone around us).
//
// Slots: an entry of kind file owns one reference to its open-file slot (counted per process, dup adds
// one). The last PstFdDrop hands the slot back after the kernel close: see FdDropped.
//
// A vfork child would share this table with its parent: the vfork hook forks instead.
//
// Thread safety: all functions from any thread and from signal handlers; no lock, no allocation.
#pragma once

#include <stdint.h>

#include "shim/abi/key.h"
#include "shim/abi/open_file.h"
#include "shim/core/hook.h"

namespace penstock {

inline constexpr uint32_t kMaxFds = 1u << 20;
inline constexpr uint32_t kFdPathBytes = PST_PATH_MAX;
inline constexpr uint8_t kNoWarm = 0xFF;

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
  uint32_t next_range;   // where a sequential reader is expected next
  uint32_t reserved0;
  uint64_t reserved[3];
};
static_assert(sizeof(FdEntry) == 128);

extern uint8_t g_fd_kind[kMaxFds];
extern FdEntry* g_fd_entries;     // null while the library is transparent
extern uint32_t g_fd_count;       // numbers that have an entry: [0, g_fd_count)
extern uint32_t g_fd_high;        // no number of ours was ever >= this

// Reserves the memory. Once, by the constructor; false if there is no address space.
bool PstFdTableInit();

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
  const auto* words = (const Word*)(const void*)&g_fd_entries[fd];
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

// A consistent copy of an entry. False if the number is not ours (any more).
bool PstFdSnapshot(int fd, FdEntry* out);

// The path of a number relative to its mount, copied into `to` (kFdPathBytes bytes, NUL-terminated).
// Its length, or -1 if the number is not `entry`'s any more. For kFdAncestor the path is absolute.
int PstFdPath(int fd, const FdEntry& entry, char* to);

// Publishes an entry for a number that the kernel has just given to this thread. `entry.seq` is ignored,
// `path` must be shorter than kFdPathBytes. Takes over the caller's reference to entry.slot.
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

// Puts an entry back when the kernel call that should have closed it did not happen (dup2's EBADF).
// `entry` is a snapshot from before PstFdDrop, whose FdDropped must then not be finished.
void PstFdRestore(int fd, const FdEntry& entry, const FdDropped& dropped);

// A number that the kernel has just handed out: nothing of ours may be left on it.
PST_COLD void PstFdForgetSlow(int fd);
PST_INLINE void PstFdForget(int fd) {
  if ((unsigned)fd < kMaxFds && PST_UNLIKELY(g_fd_kind[fd] != kFdNone)) PstFdForgetSlow(fd);
}

// Puts `real` (an fd, which is closed in any case) onto number `fd` with dup3, if the number still is what
// `entry` (a snapshot) says, and makes its entry kFdMaterialized. The entry is held while the kernel works, so
// that nobody else can be given the number meanwhile. 0, or a positive errno; EAGAIN: it is another file now.
int PstFdBecomeReal(int fd, const FdEntry& entry, int real);

// dup: makes `to`, which the kernel has just made a duplicate of `from`, another number of the same open
// file. `entry` is a snapshot of `from` taken BEFORE the kernel call. Adds a reference to the slot.
void PstFdDup(int from, const FdEntry& entry, int to);

// The next number of ours in [first, last], or -1: for close_range and closefrom, which then drop, close and
// finish number by number (own fds, kFdOwn, are among them and stay open: they are CLOEXEC).
int PstFdNext(unsigned first, unsigned last);

// Marks all open slots as shared (slot->shared) and starts a new epoch: before fork, vfork and exec.
void PstFdShareAll();

}  // namespace penstock
