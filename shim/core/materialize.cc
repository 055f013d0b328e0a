#include "shim/core/materialize.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shim/core/client.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/slots.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr int64_t kPatienceNs = 1'000'000'000;  // with a winner that froze the slot and went silent
constexpr int64_t kPauseNs = 50'000;

Ask MaterializeAsk(const FdEntry& entry, const char* path, uint32_t path_len) {
  Ask ask;
  ask.op = PST_OP_MATERIALIZE;
  ask.ns = entry.ns;
  ask.id = entry.id;
  ask.version = entry.version;
  ask.path = path;
  ask.path_len = path_len;
  return ask;
}

// Stops claims at the entry's generation and hands the offset to the real open file, once for all sharers.
// 0, or EBADF for a stale entry.
int Freeze(pst_slot* slot, const FdEntry& entry, int real) {
  int64_t patience_ns = PstMonotonicNs() + kPatienceNs;
  for (;;) {
    uint64_t word = PST_LOAD_ACQUIRE(&slot->word);
    uint32_t generation = pst_word_generation(word);
    if ((generation & ~1u) != entry.generation) return EBADF;
    if ((generation & 1u) == 0) {
      if (!PST_CAS(&slot->word, &word, word | (1ull << PST_OFFSET_BITS))) continue;
    } else if (PST_LOAD_ACQUIRE(&slot->state) == PST_SLOT_MATERIALIZED) {
      return 0;
    } else if (PstMonotonicNs() < patience_ns) {
      PstSleepNs(kPauseNs);
      continue;
    }
    // The winner, or whoever stands in for one that died: the frozen offset cannot change any more.
    Raw(SYS_lseek, real, (long)pst_word_offset(word), SEEK_SET);
    PST_STORE_RELEASE(&slot->state, PST_SLOT_MATERIALIZED);
    return 0;
  }
}

// The process's other numbers of the same open file: the sidecar keeps it for latecomers, but not
// for ever.
void MaterializeTwins(int fd, const FdEntry& entry) {
  for (int twin = PstFdNext(0, kMaxFds - 1); twin >= 0;
       twin = PstFdNext((unsigned)twin + 1, kMaxFds - 1)) {
    FdEntry other;
    if (twin == fd || PstFdKindOf(twin) != kFdFile || !PstFdSnapshot(twin, &other) ||
        other.slot != entry.slot || other.generation != entry.generation || other.kind != kFdFile)
      continue;
    const long real = Raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    if (real < 0) return;
    PstFdForget((int)real);
    FdEntry now;
    const bool still =
        PstFdSnapshot(fd, &now) && now.kind == kFdMaterialized && now.slot == entry.slot;
    if (still)
      (void)PstFdBecomeReal(twin, other, (int)real);
    else
      Raw(SYS_close, real);
  }
}

int MaterializeFile(int fd, const FdEntry& entry) {
  int err = EIO;
  const View* view = PstJoinedView(&err);
  if (view == nullptr) return err;
  pst_slot* slot = PstSlotOf(view, entry.slot);
  if (slot == nullptr) return EBADF;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return ENOMEM;
  int len = PstFdPathOrAsk(fd, entry, path);
  if (len < 0) return -len;
  Ask ask = MaterializeAsk(entry, path, (uint32_t)len);
  ask.slot = entry.slot;
  ask.slot_generation = entry.generation;
  Answer answer;
  int real = PstAskFd(ask, &answer);
  if (real < 0) return -real;
  err = Freeze(slot, entry, real);
  if (err != 0) {
    Raw(SYS_close, real);
    return err;
  }
  PstCount(&pst_counters::passthrough);
  err = PstFdBecomeReal(fd, entry, real);
  if (err == 0) MaterializeTwins(fd, entry);
  return err;
}

}  // namespace

int PstMaterialize(int fd) {
  for (int tries = 0; tries < 4; ++tries) {
    FdEntry entry;
    if (!PstFdSnapshot(fd, &entry) || entry.kind != kFdFile) return 0;
    if ((entry.flags & O_PATH) != 0) return EBADF;
    int err = MaterializeFile(fd, entry);
    // The number may have become another file meanwhile.
    if (err != EAGAIN && (err != EBADF || !PstFdChanged(fd, entry))) return err;
  }
  return EBADF;
}

int PstMaterializeEntry(const FdEntry& entry, const char* path, uint32_t path_len, uint64_t offset,
                        uint64_t length, bool cloexec, int* fd_out) {
  Ask ask = MaterializeAsk(entry, path, path_len);
  ask.offset = offset;
  ask.length = length;
  Answer answer;
  int fd = PstAskFd(ask, &answer);
  if (fd < 0) return -fd;
  if (!cloexec) {
    long done = Raw(SYS_fcntl, fd, F_SETFD, 0);
    if (done < 0) {
      Raw(SYS_close, fd);
      return (int)-done;
    }
  }
  *fd_out = fd;
  return 0;
}

int PstAdoptMaterialized(int fd, const FdEntry& entry) {
  const View* view = PstView();
  pst_slot* slot = view != nullptr ? PstSlotOf(view, entry.slot) : nullptr;
  if (slot == nullptr) return EBADF;
  uint32_t generation = pst_word_generation(PST_LOAD_ACQUIRE(&slot->word));
  if (generation != (entry.generation | 1u)) return EBADF;
  return PstMaterialize(fd);
}

}  // namespace penstock
