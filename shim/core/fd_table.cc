#include "shim/core/fd_table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/core/client.h"
#include "shim/core/raw.h"
#include "shim/core/slots.h"
#include "shim/core/time.h"

namespace penstock {

alignas(64) uint8_t g_fd_kind[kMaxFds];
FdEntry* g_fd_entries;
uint32_t g_fd_count;
uint32_t g_fd_high;

namespace {

char* g_fd_paths;

char* PathArea(int fd) { return g_fd_paths + (uint64_t)(unsigned)fd * kFdPathBytes; }

void* Reserve(uint64_t bytes) {
  long at = Raw(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at < 0 && at > -4096 ? nullptr : (void*)at;
}

// Writers of one entry are rare and never wait for each other for long: an entry is written by the thread
// that was just given the number, and cleared by one that closes it.
uint32_t BeginWrite(FdEntry* entry) {
  uint32_t seq = __atomic_load_n(&entry->seq, __ATOMIC_RELAXED);
  for (int spin = 0;; ++spin) {
    if ((seq & 1u) == 0 &&
        __atomic_compare_exchange_n(&entry->seq, &seq, seq + 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
      break;
    }
    if (spin > 100) Raw(SYS_sched_yield);
    // A writer that a signal handler interrupted on this very thread cannot go on: take over.
    if (spin >= 200'000) {
      __atomic_store_n(&entry->seq, seq | 1u, __ATOMIC_RELAXED);
      seq &= ~1u;
      break;
    }
    seq = __atomic_load_n(&entry->seq, __ATOMIC_RELAXED);
  }
  __atomic_thread_fence(__ATOMIC_RELEASE);
  return seq;
}

void EndWrite(FdEntry* entry, uint32_t seq) {
  __atomic_store_n(&entry->seq, seq + 2, __ATOMIC_RELEASE);
}

// Everything but seq, with stores that are not torn into smaller ones.
void StoreFields(FdEntry* to, const FdEntry& from) {
  auto* target = (uint64_t*)(void*)to;
  uint64_t words[sizeof(FdEntry) / 8];
  memcpy(words, &from, sizeof words);
  __atomic_store_n(&to->slot, from.slot, __ATOMIC_RELAXED);
  for (unsigned i = 1; i < sizeof(FdEntry) / 8; ++i)
    __atomic_store_n(&target[i], words[i], __ATOMIC_RELAXED);
}

void RaiseHigh(int fd) {
  uint32_t high = __atomic_load_n(&g_fd_high, __ATOMIC_RELAXED);
  while (high <= (unsigned)fd &&
         !__atomic_compare_exchange_n(&g_fd_high, &high, (unsigned)fd + 1, true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
}

}  // namespace

bool PstFdTableInit() {
  struct rlimit limit = {kMaxFds, kMaxFds};
  Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
  uint64_t count = limit.rlim_max < kMaxFds ? limit.rlim_max : kMaxFds;
  if (count < 1024) count = 1024;
  // Address space only; a page is used for each number that was ever covered. Less where ulimit -v bites.
  for (; count >= 256; count /= 4) {
    void* entries = Reserve(count * sizeof(FdEntry));
    if (entries == nullptr) continue;
    void* paths = Reserve(count * kFdPathBytes);
    if (paths == nullptr) {
      Raw(SYS_munmap, entries, count * sizeof(FdEntry));
      continue;
    }
    Raw(SYS_madvise, paths, count * kFdPathBytes, MADV_DONTDUMP);
    g_fd_paths = (char*)paths;
    g_fd_entries = (FdEntry*)entries;
    g_fd_count = (uint32_t)count;
    return true;
  }
  return false;
}

uint32_t PstForkEpoch() { return __atomic_load_n(&g_client.epoch, __ATOMIC_RELAXED); }

bool PstFdAwait(int fd, int64_t* deadline_ns) {
  constexpr int64_t kHeldNs = 1'000'000'000, kNapNs = 50'000;
  if (PstFdKindOf(fd) == kFdNone) return false;
  int64_t now_ns = PstMonotonicNs();
  if (*deadline_ns == 0) {
    *deadline_ns = now_ns + kHeldNs;
    Raw(SYS_sched_yield);
    return true;
  }
  if (now_ns > *deadline_ns) return false;
  PstSleepNs(kNapNs);
  return true;
}

bool PstFdSnapshot(int fd, FdEntry* out) {
  if ((unsigned)fd >= g_fd_count || PstFdKindOf(fd) == kFdNone) return false;
  const auto* words = (const uint64_t*)(const void*)&g_fd_entries[fd];
  auto* to = (uint64_t*)(void*)out;
  int64_t deadline_ns = 0;
  for (int spin = 0; spin < 64 || PstFdAwait(fd, &deadline_ns); ++spin) {
    to[0] = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
    for (unsigned i = 1; i < sizeof(FdEntry) / 8; ++i)
      to[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if ((out->seq & 1u) == 0 && __atomic_load_n(&words[0], __ATOMIC_RELAXED) == to[0])
      return out->kind != kFdNone;
  }
  return false;
}

int PstFdPath(int fd, const FdEntry& entry, char* to) {
  if ((unsigned)fd >= g_fd_count || entry.path_len >= kFdPathBytes) return -1;
  memcpy(to, PathArea(fd), entry.path_len);
  to[entry.path_len] = 0;
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (__atomic_load_n(&g_fd_entries[fd].seq, __ATOMIC_RELAXED) != entry.seq) return -1;
  return (int)entry.path_len;
}

void PstFdSet(int fd, const FdEntry& entry, const char* path, uint32_t path_len) {
  if ((unsigned)fd >= g_fd_count) return;
  FdEntry stored = entry;
  stored.path_len = path_len;
  if (PST_UNLIKELY(g_fd_kind[fd] != kFdNone)) PstFdForgetSlow(fd);
  FdEntry* target = &g_fd_entries[fd];
  uint32_t seq = BeginWrite(target);
  StoreFields(target, stored);
  memcpy(PathArea(fd), path, path_len);
  EndWrite(target, seq);
  RaiseHigh(fd);
  __atomic_store_n(&g_fd_kind[fd], stored.kind, __ATOMIC_RELEASE);
}

void PstFdRefine(int fd, const FdEntry& entry, const char* path, uint32_t path_len) {
  if ((unsigned)fd >= g_fd_count || path_len >= kFdPathBytes) return;
  FdEntry* target = &g_fd_entries[fd];
  uint32_t seq = BeginWrite(target);
  if (seq == entry.seq) {
    FdEntry stored = entry;
    if (path_len > 0) {
      stored.path_len = path_len;
      memcpy(PathArea(fd), path, path_len);
    }
    StoreFields(target, stored);
  }
  EndWrite(target, seq);
}

FdDropped PstFdDrop(int fd) {
  FdDropped dropped = {kFdNone, kNoWarm, PST_NO_SLOT, 0, 0};
  if ((unsigned)fd >= g_fd_count || PstFdKindOf(fd) == kFdNone) return dropped;
  FdEntry* entry = &g_fd_entries[fd];
  uint32_t seq = BeginWrite(entry);
  if (entry->kind != kFdNone && g_fd_kind[fd] != kFdNone) {
    dropped = {entry->kind, entry->warm, entry->slot, entry->generation, entry->epoch};
    __atomic_store_n(&entry->kind, (uint8_t)kFdNone, __ATOMIC_RELAXED);
    __atomic_store_n(&g_fd_kind[fd], (uint8_t)kFdNone, __ATOMIC_RELEASE);
  }
  EndWrite(entry, seq);
  return dropped;
}

void PstFdDropped(const FdDropped& dropped) {
  if (dropped.slot != PST_NO_SLOT) PstSlotClosed(dropped);
}

void PstFdRestore(int fd, const FdEntry& entry, const FdDropped& dropped) {
  if (dropped.kind == kFdNone || (unsigned)fd >= g_fd_count) return;
  FdEntry* target = &g_fd_entries[fd];
  uint32_t seq = BeginWrite(target);
  StoreFields(target, entry);  // the path's bytes are still there
  EndWrite(target, seq);
  __atomic_store_n(&g_fd_kind[fd], entry.kind, __ATOMIC_RELEASE);
}

void PstFdForgetSlow(int fd) {
  if (PstFdKindOf(fd) == kFdOwn) {
    PstOwnFdGone(fd);
    return;
  }
  // Somebody closed the number behind our back: the slot is not ours to reuse at once (a duplicate may
  // have gone elsewhere), so only the reference is dropped.
  FdDropped dropped = PstFdDrop(fd);
  if (dropped.slot != PST_NO_SLOT) PstFdDropped(dropped);
}

int PstFdBecomeReal(int fd, const FdEntry& entry, int real) {
  long flags = Raw(SYS_fcntl, fd, F_GETFD);
  int cloexec = flags > 0 && (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0;
  FdEntry* target = &g_fd_entries[fd];
  uint32_t seq = BeginWrite(target);
  long done = -EAGAIN;
  if (seq == entry.seq && target->kind == kFdFile) {
    done = Raw(SYS_dup3, real, fd, cloexec);
    if (done >= 0) {
      __atomic_store_n(&target->kind, (uint8_t)kFdMaterialized, __ATOMIC_RELAXED);
      __atomic_store_n(&g_fd_kind[fd], (uint8_t)kFdMaterialized, __ATOMIC_RELEASE);
    }
  }
  EndWrite(target, seq);
  Raw(SYS_close, real);
  return done < 0 ? (int)-done : 0;
}

void PstFdDup(int from, const FdEntry& entry, int to) {
  if ((unsigned)to >= g_fd_count) return;
  FdEntry copy = entry;
  if (entry.slot != PST_NO_SLOT && !PstSlotTryRef(entry.slot)) {
    // Closed while it was duplicated: the number stands for a file whose slot is gone. Reads by position still
    // work; what needs the offset gives EBADF.
    copy.slot = PST_NO_SLOT;
  }
  char path[kFdPathBytes];
  int len = PstFdPath(from, entry, path);
  // Without its path a number still reads; a question names the key alone.
  PstFdSet(to, copy, path, len > 0 ? (uint32_t)len : 0);
}

int PstFdNext(unsigned first, unsigned last) {
  uint32_t high = __atomic_load_n(&g_fd_high, __ATOMIC_RELAXED);
  for (unsigned fd = first; fd < high && fd <= last; ++fd) {
    if (g_fd_kind[fd] != kFdNone && PstFdKindOf((int)fd) != kFdNone) return (int)fd;
  }
  return -1;
}

}  // namespace penstock
