#include "shim/core/fd_table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/core/bytes.h"
#include "shim/core/client.h"
#include "shim/core/fork_gate.h"
#include "shim/core/job_path.h"
#include "shim/core/outside.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"
#include "shim/core/signals.h"
#include "shim/core/slots.h"
#include "shim/core/time.h"

namespace penstock {

alignas(64) uint8_t g_fd_kind[kMaxFds];
FdChunk* g_fd_chunks[kMaxFds / kFdChunk];
uint32_t g_fd_high;

namespace {

// Where the path of a number that has an entry lies.
char* PathArea(int fd) { return g_fd_chunks[(unsigned)fd / kFdChunk]->paths[(unsigned)fd % kFdChunk]; }

// The bytes of a path are read while another thread may write them, and then not believed (seq):
// eight at a time, each as one load or store. An area begins at a multiple of 8, and the last word
// may hold bytes beyond the path.
using PathWord = uint64_t __attribute__((may_alias));
static_assert(offsetof(FdChunk, paths) % 8 == 0 && kFdPathBytes % 8 == 0);

void StorePath(int fd, const char* path, uint32_t len) {
  auto* to = (PathWord*)(void*)PathArea(fd);
  uint32_t at = 0;
  for (; at + 8 <= len; at += 8)
    __atomic_store_n(&to[at / 8], LoadWord(path + at), __ATOMIC_RELAXED);
  if (at == len) return;
  uint64_t last = 0;
  if (PST_LIKELY(len >= 8)) {
    last = LoadWord(path + len - 8) >> (8 * (at + 8 - len));
  } else {
    for (uint32_t i = 0; i < len; ++i) last |= (uint64_t)(unsigned char)path[i] << (8 * i);
  }
  __atomic_store_n(&to[at / 8], last, __ATOMIC_RELAXED);
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

void LoadPath(int fd, char* path, uint32_t len) {
  const auto* from = (const PathWord*)(const void*)PathArea(fd);
  for (uint32_t at = 0; at < len; at += 8) {
    const uint64_t word = __atomic_load_n(&from[at / 8], __ATOMIC_RELAXED);
    memcpy(path + at, &word, len - at < 8 ? len - at : 8);
  }
}

void MovePath(int to, int from, uint32_t len) {
  const auto* source = (const PathWord*)(const void*)PathArea(from);
  auto* target = (PathWord*)(void*)PathArea(to);
  for (uint32_t i = 0; i < (len + 7) / 8; ++i)
    __atomic_store_n(&target[i], __atomic_load_n(&source[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

uint8_t KindNow(int fd) { return __atomic_load_n(&g_fd_kind[fd], __ATOMIC_RELAXED); }
void SetKind(int fd, uint8_t kind) { __atomic_store_n(&g_fd_kind[fd], kind, __ATOMIC_RELEASE); }

// The entry of a number that may be anything.
FdEntry* AnyEntry(int fd) { return (unsigned)fd < kMaxFds ? PstFdEntryOf(fd) : nullptr; }

// Writers of one entry are rare and never wait for each other for long: an entry is written by the
// thread that was just given the number, and cleared by one that closes it. Naps rather than
// yields: the holder may be of a lower priority.
uint32_t BeginWrite(FdEntry* entry) {
  constexpr int kSpins = 100, kYields = 1000;
  constexpr int64_t kPatienceNs = 2'000'000'000, kNapNs = 50'000;
  int64_t deadline_ns = 0;
  uint32_t seq = __atomic_load_n(&entry->seq, __ATOMIC_RELAXED);
  for (int spin = 0;; ++spin) {
    uint32_t taken = seq | 1u;
    if (PST_UNLIKELY(deadline_ns != 0) && PstMonotonicNs() > deadline_ns) taken = (seq | 1u) + 2;
    // A writer that a signal handler interrupted on this very thread cannot go on: after a while it
    // loses the entry, and sees at its end that the number is another one.
    if (((seq & 1u) == 0 || taken != (seq | 1u)) &&
        __atomic_compare_exchange_n(&entry->seq, &seq, taken, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
      __atomic_thread_fence(__ATOMIC_RELEASE);
      return taken - 1;
    }
    if (spin > kYields) {
      if (deadline_ns == 0) deadline_ns = PstMonotonicNs() + kPatienceNs;
      PstSleepNs(kNapNs);
    } else if (spin > kSpins) {
      Raw(SYS_sched_yield);
    }
    seq = __atomic_load_n(&entry->seq, __ATOMIC_RELAXED);
  }
}

// Does the writer that BeginWrite gave `seq` still have the entry?
bool StillHeld(const FdEntry* entry, uint32_t seq) {
  return __atomic_load_n(&entry->seq, __ATOMIC_RELAXED) == seq + 1;
}

void EndWrite(FdEntry* entry, uint32_t seq) {
  if (PST_LIKELY(StillHeld(entry, seq))) __atomic_store_n(&entry->seq, seq + 2, __ATOMIC_RELEASE);
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

bool PstFdRoom(int fd) {
  if ((unsigned)fd >= kMaxFds) return false;
  FdChunk** place = &g_fd_chunks[(unsigned)fd / kFdChunk];
  if (PST_LIKELY(__atomic_load_n(place, __ATOMIC_ACQUIRE) != nullptr)) return true;
  long at = Raw(SYS_mmap, nullptr, sizeof(FdChunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
  if (at < 0 && at > -4096) return false;
  auto* chunk = (FdChunk*)at;
  Raw(SYS_madvise, chunk, sizeof *chunk, MADV_DONTDUMP);
  FdChunk* first = nullptr;
  if (!__atomic_compare_exchange_n(place, &first, chunk, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
    Raw(SYS_munmap, chunk, sizeof *chunk);
  return true;
}

uint32_t PstForkEpoch() { return __atomic_load_n(&g_client.epoch, __ATOMIC_RELAXED); }

bool PstFdAwait(int fd, int64_t* deadline_ns) {
  // A dup2 may wait for the kernel to close what was on its target; nothing else takes long.
  constexpr int64_t kHeldNs = 1'000'000'000, kReplacedNs = 30'000'000'000, kNapNs = 50'000;
  if (PstFdKindOf(fd) == kFdNone) return false;
  int64_t now_ns = PstMonotonicNs();
  if (*deadline_ns == 0) {
    *deadline_ns = now_ns + kHeldNs;
    Raw(SYS_sched_yield);
    return true;
  }
  if (now_ns > *deadline_ns + (PstHolds() ? kReplacedNs : 0)) return false;
  PstSleepNs(kNapNs);
  return true;
}

bool PstFdSnapshot(int fd, FdEntry* out) {
  const auto* words = (const uint64_t*)(const void*)AnyEntry(fd);
  if (words == nullptr || PstFdKindOf(fd) == kFdNone) return false;
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
  const FdEntry* now = AnyEntry(fd);
  if (now == nullptr || entry.path_len >= kFdPathBytes) return -1;
  LoadPath(fd, to, entry.path_len);
  to[entry.path_len] = 0;
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (__atomic_load_n(&now->seq, __ATOMIC_RELAXED) != entry.seq) return -1;
  return (int)entry.path_len;
}

void PstFdSet(int fd, const FdEntry& entry, const char* path, uint32_t path_len) {
  FdEntry* target = AnyEntry(fd);
  if (PST_UNLIKELY(target == nullptr)) return;
  FdEntry stored = entry;
  stored.path_len = path_len;
  if (PST_UNLIKELY(KindNow(fd) != kFdNone)) PstFdForgetSlow(fd);
  RaiseHigh(fd);
  uint32_t seq = BeginWrite(target);
  StoreFields(target, stored);
  StorePath(fd, path, path_len);
  EndWrite(target, seq);
  SetKind(fd, stored.kind);
}

void PstFdRefine(int fd, const FdEntry& entry, const char* path, uint32_t path_len) {
  FdEntry* target = AnyEntry(fd);
  if (target == nullptr || path_len >= kFdPathBytes) return;
  uint64_t signals = PstBlockSignals();  // the program uses the number, perhaps in a handler
  uint32_t seq = BeginWrite(target);
  if (seq == entry.seq) {
    FdEntry stored = entry;
    if (path_len > 0) {
      stored.path_len = path_len;
      StorePath(fd, path, path_len);
    }
    StoreFields(target, stored);
  }
  EndWrite(target, seq);
  PstRestoreSignals(signals);
}

FdDropped PstFdDrop(int fd) {
  FdDropped dropped = {kFdNone, kNoWarm, PST_NO_SLOT, 0, 0};
  FdEntry* entry = AnyEntry(fd);
  if (entry == nullptr || PstFdKindOf(fd) == kFdNone) return dropped;
  uint32_t seq = BeginWrite(entry);
  if (entry->kind != kFdNone && KindNow(fd) != kFdNone) {
    dropped = {entry->kind, entry->warm, entry->slot, entry->generation, entry->epoch};
    __atomic_store_n(&entry->kind, (uint8_t)kFdNone, __ATOMIC_RELAXED);
    SetKind(fd, kFdNone);
  }
  EndWrite(entry, seq);
  return dropped;
}

void PstFdDropped(const FdDropped& dropped) {
  if (dropped.slot != PST_NO_SLOT) PstSlotClosed(dropped);
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
  FdEntry* target = AnyEntry(fd);
  if (target == nullptr) {
    Raw(SYS_close, real);
    return EBADF;
  }
  uint64_t signals = PstHoldEnter();
  uint32_t seq = BeginWrite(target);
  long done = -EAGAIN;
  if (seq == entry.seq && target->kind == kFdFile) {
    done = Raw(SYS_dup3, real, fd, cloexec);
    if (done >= 0) {
      __atomic_store_n(&target->kind, (uint8_t)kFdMaterialized, __ATOMIC_RELAXED);
      SetKind(fd, kFdMaterialized);
    }
  }
  EndWrite(target, seq);
  PstHoldLeave(signals);
  Raw(SYS_close, real);
  return done < 0 ? (int)-done : 0;
}

bool PstFdTakeSource(int from, FdSource* source) {
  constexpr int kTries = 100;
  source->ours = false;
  for (int tries = 0;; ++tries) {
    FdKind kind = PstFdKindOf(from);
    if (PST_LIKELY(kind == kFdNone || kind == kFdOwn) || !PstFdSnapshot(from, &source->entry)) return false;
    source->ours = true;
    if (source->entry.slot == PST_NO_SLOT || PstSlotTryRef(source->entry.slot)) return true;
    // Closed meanwhile: the next look says so.
    if (tries == kTries) {
      source->entry.slot = PST_NO_SLOT;
      return true;
    }
  }
}

void PstFdGiveBack(const FdSource& source) {
  const FdEntry& entry = source.entry;
  PstFdDropped({entry.kind, entry.warm, entry.slot, entry.generation, entry.epoch});
}

bool PstFdDuplicated(int from, const FdSource& source, int to, int* err) {
  *err = 0;
  if (!PstFdRoom(to)) {
    *err = EMFILE;
  } else {
    // The path's bytes go from table to table, and count only if the source is the same afterwards: then the
    // kernel, too, duplicated what the entry says.
    FdEntry* target = AnyEntry(to);
    FdEntry stored = source.entry;
    if (PST_UNLIKELY(KindNow(to) != kFdNone)) PstFdForgetSlow(to);
    RaiseHigh(to);
    uint32_t seq = BeginWrite(target);
    StoreFields(target, stored);
    MovePath(to, from, stored.path_len < kFdPathBytes ? stored.path_len : 0);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (PstFdChanged(from, source.entry)) {
      *err = EAGAIN;
      __atomic_store_n(&target->kind, (uint8_t)kFdNone, __ATOMIC_RELAXED);
    }
    EndWrite(target, seq);
    if (PST_LIKELY(*err == 0)) {
      SetKind(to, stored.kind);
      return true;
    }
  }
  Raw(SYS_close, to);
  PstFdGiveBack(source);
  return false;
}

namespace {

bool OfOurs(int fd) {
  FdKind kind = PstFdKindOf(fd);
  return kind != kFdNone && kind != kFdOwn;
}

// A covered file onto a number that can have no entry: the kernel refuses it, or we have to.
int NoRoomErrno(int to) {
  struct rlimit limit = {0, 0};
  Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
  return to >= 0 && (uint64_t)to < limit.rlim_cur ? EMFILE : 0;
}

}  // namespace

bool PstFdHold(int from, int to, FdReplacing* held, int* err) {
  bool ours = OfOurs(from);
  *err = 0;
  if (!ours && !OfOurs(to)) return false;
  if (!PstFdRoom(to)) {
    *err = NoRoomErrno(to);
    return false;
  }
  held->from = from;
  held->to = to;
  held->looked = ours && !OfOurs(to);
  held->installed = false;
  held->tries = 0;
  // Before anything is held: it may be held by somebody who wants this target.
  if (held->looked && !PstFdTakeSource(from, &held->seen)) return false;
  held->source = ours && !held->looked ? AnyEntry(from) : nullptr;
  held->target = AnyEntry(to);
  held->referenced = false;
  held->signals = PstHoldEnter();
  // The lower number first: two dup2 in opposite directions must not wait for each other.
  if (held->source != nullptr && from < to) held->source_seq = BeginWrite(held->source);
  held->target_seq = BeginWrite(held->target);
  if (held->source != nullptr && from > to) held->source_seq = BeginWrite(held->source);
  if (held->source != nullptr && held->source->kind == kFdNone) {  // closed meanwhile
    EndWrite(held->source, held->source_seq);
    held->source = nullptr;
  }
  held->kind_before = KindNow(to);
  if (held->source == nullptr && !held->looked && held->kind_before == kFdNone) {
    EndWrite(held->target, held->target_seq);
    PstHoldLeave(held->signals);
    return false;
  }
  const FdEntry* source = held->looked ? &held->seen.entry : held->source;
  if (held->source != nullptr)
    held->referenced = source->slot != PST_NO_SLOT && PstSlotTryRef(source->slot);
  // Who reads the target from now on waits for the outcome.
  if (source != nullptr && held->kind_before == kFdNone) SetKind(to, source->kind);
  return true;
}

namespace {

// Does the kernel's number `to` stand for the slot of `entry`, which is referenced and so still the
// same?
PST_COLD bool StandsForSlot(int to, const FdEntry& entry) {
  Scratch scratch;
  char* path = scratch.Get();
  if (entry.kind != kFdFile || path == nullptr || OutsideFdPath(to, path, PST_PATH_MAX) <= 0)
    return false;
  const JobPath known = PstParseJobPath(path);
  return known.kind == JobPathKind::kFile && known.number == entry.slot;
}

// Is what was seen of the source what the kernel has put onto the target?
bool SeenIsThere(FdReplacing* held) {
  if (!held->seen.ours) return PstFdKindOf(held->from) == kFdNone;
  held->same = !PstFdChanged(held->from, held->seen.entry);
  return PST_LIKELY(held->same) || StandsForSlot(held->to, held->seen.entry);
}

// Ends a replacement after which it is not known what the number is: reads of a reservation fail
// loudly.
PST_COLD void EndUnknown(const FdReplacing& held) {
  if (StillHeld(held.target, held.target_seq)) {
    __atomic_store_n(&held.target->kind, (uint8_t)kFdNone, __ATOMIC_RELAXED);
    SetKind(held.to, kFdNone);
  }
  EndWrite(held.target, held.target_seq);
  if (held.source != nullptr) EndWrite(held.source, held.source_seq);
  PstHoldLeave(held.signals);
}

}  // namespace

bool PstFdReplaced(FdReplacing* state, bool done) {
  constexpr int kTries = 100;
  const FdReplacing& held = *state;
  FdEntry* target = held.target;
  FdDropped over = {kFdNone, kNoWarm, PST_NO_SLOT, 0, 0};
  const bool seen = held.looked && held.seen.ours;
  const FdEntry* source = seen ? &held.seen.entry : held.source;
  const uint32_t path_len =
      source != nullptr && source->path_len < kFdPathBytes ? source->path_len : 0;
  if (done) MovePath(held.to, held.from, path_len);  // counts if the source is the same afterwards
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (held.looked && PST_UNLIKELY(done ? !SeenIsThere(state) : held.installed)) {
    if (held.seen.ours) PstFdGiveBack(held.seen);
    if (done && held.tries < kTries) {
      ++state->tries;
      state->installed = true;
      (void)PstFdTakeSource(held.from, &state->seen);
      return false;
    }
    EndUnknown(held);
    return true;
  }
  // The kernel took so long that another writer was let in: what the numbers are is not known any
  // more, and a reference stays taken.
  if (PST_UNLIKELY(!StillHeld(target, held.target_seq) ||
                   (held.source != nullptr && !StillHeld(held.source, held.source_seq)))) {
    EndUnknown(held);
    return true;
  }
  const bool referenced = seen ? source->slot != PST_NO_SLOT : held.referenced;
  if (done && held.kind_before != kFdNone && target->kind != kFdNone)
    over = {target->kind, target->warm, target->slot, target->generation, target->epoch};
  if (!done) {
    if (referenced)
      over = {source->kind, source->warm, source->slot, source->generation, source->epoch};
    SetKind(held.to, held.kind_before);
  } else if (source == nullptr) {
    __atomic_store_n(&target->kind, (uint8_t)kFdNone, __ATOMIC_RELAXED);
    SetKind(held.to, kFdNone);
  } else {
    FdEntry stored;
    memcpy(&stored, source, sizeof stored);
    if (!referenced) stored.slot = PST_NO_SLOT;
    // A file that stands for its slot without its path: the sidecar is asked for its name.
    if (seen && PST_UNLIKELY(!held.same)) stored.path_len = 0;
    StoreFields(target, stored);
    RaiseHigh(held.to);
    SetKind(held.to, stored.kind);
  }
  EndWrite(target, held.target_seq);
  if (held.source != nullptr) EndWrite(held.source, held.source_seq);
  PstHoldLeave(held.signals);
  PstFdDropped(over);
  return true;
}

void PstFdAfterFork() {
  uint32_t high = __atomic_load_n(&g_fd_high, __ATOMIC_RELAXED);
  for (uint32_t chunk = 0; chunk * kFdChunk < high; ++chunk) {
    if (g_fd_chunks[chunk] == nullptr) continue;
    for (FdEntry& entry : g_fd_chunks[chunk]->entries) {
      uint32_t seq = __atomic_load_n(&entry.seq, __ATOMIC_RELAXED);
      if (PST_UNLIKELY((seq & 1u) != 0)) __atomic_store_n(&entry.seq, seq + 1, __ATOMIC_RELEASE);
    }
  }
}

int PstFdNext(unsigned first, unsigned last) {
  uint32_t high = __atomic_load_n(&g_fd_high, __ATOMIC_RELAXED);
  for (unsigned fd = first; fd < high && fd <= last; ++fd) {
    if (KindNow((int)fd) != kFdNone) return (int)fd;
  }
  return -1;
}

}  // namespace penstock
