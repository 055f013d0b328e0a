// Reading covered files: PstReadAt, PstRead, PstSeek and PstTell of serve.h.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/copy/copy.h"
#include "shim/core/client.h"
#include "shim/core/materialize.h"
#include "shim/core/read_hit.h"
#include "shim/core/run_cache.h"
#include "shim/core/serve.h"
#include "shim/core/slots.h"

namespace penstock {

__thread ReadCursor t_read_cursors[kReadCursors];

namespace {

constexpr uint64_t kMaxCount = 0x7ffff000;  // as the kernel's MAX_RW_COUNT
constexpr int kFetchTries = 8;

pst_key KeyAt(const FdEntry& entry, uint64_t offset) {
  return {entry.id, entry.version, entry.ns, (uint32_t)(offset >> PST_RANGE_SHIFT)};
}

// Where the policy wants to know of hits. The log is shared by the process's threads, each note in
// a place of its own (a sidecar that looks just now may find the place's old note). An entry is
// noted until the sidecar has seen it, and then its flag is gone.
PST_COLD void NoteRecency(const pst_entry& entry) {
  pst_session* session = __atomic_load_n(&g_client.session, __ATOMIC_RELAXED);
  if (session == nullptr) return;
  uint64_t head = __atomic_fetch_add(&session->log_head, 1, __ATOMIC_RELAXED);
  uint64_t place = ((uint64_t)entry.segment << 32) | (entry.offset / PST_ALIGN);
  __atomic_store_n(&session->log[head % PST_ACCESS_LOG_ENTRIES], place, __ATOMIC_RELAXED);
}

// A reader that came here in sequence asks for what follows.
PST_COLD void AskAhead(int fd, const FdEntry& entry, uint32_t range) {
  uint64_t offset = ((uint64_t)range + 1) << PST_RANGE_SHIFT;
  if (offset >= entry.size) return;
  Scratch scratch;
  char* path = scratch.Get();
  int len = path != nullptr ? PstFdPath(fd, entry, path) : -1;
  if (len <= 0) return;  // a hint is not worth a question
  Ask ask;
  ask.op = PST_OP_FETCH;
  ask.ns = entry.ns;
  ask.id = entry.id;
  ask.version = entry.version;
  ask.offset = offset;
  ask.length = entry.size - offset < PST_RANGE_BYTES ? entry.size - offset : PST_RANGE_BYTES;
  ask.slot = entry.slot;
  ask.slot_generation = entry.generation;
  ask.path = path;
  ask.path_len = (uint32_t)len;
  PstHint(ask);
}

PST_COLD void Marked(int fd, const FdEntry& entry, const pst_entry& found, bool in_sequence) {
  if ((found.flags & PST_ENTRY_RECENCY) != 0) NoteRecency(found);
  if ((found.flags & PST_ENTRY_READAHEAD) != 0 && in_sequence) AskAhead(fd, entry, found.key.range);
}

// One try at the bytes of one range. Bytes copied, or 0: not there (any more).
PST_INLINE uint64_t CopyRange(const pst_view* view, int fd, const FdEntry& entry, unsigned char* to,
                              uint64_t count, uint64_t offset) {
  const pst_key key = KeyAt(entry, offset);
  pst_entry found;
  if (PST_UNLIKELY(!pst_find(view, &key, &found))) return 0;
  uint64_t in = offset & (PST_RANGE_BYTES - 1);
  if (PST_UNLIKELY(in >= found.length)) return 0;
  uint64_t n = found.length - in;
  if (n > count) {
    n = count;
  } else if (n < count) {
    // The next range's bucket is on its way while this one is copied.
    const pst_key next = KeyAt(entry, offset + n);
    __builtin_prefetch(&view->buckets[pst_hash_bucket(pst_key_hash(&next), view->bucket_mask, 0)]);
  }
  PstCopy(to, pst_entry_bytes(view, &found) + in, n);
  if (PST_UNLIKELY(!pst_entry_current(view, &found))) return 0;
  bool in_sequence = in == 0 && PstInSequence(fd, key.range);
  if (PST_UNLIKELY(found.flags != 0)) {
    Marked(fd, entry, found, in_sequence);
  } else {
    RunKeep(entry, found);
  }
  return n;
}

// One try at bytes whose place this process knows: all that lie together. Bytes copied, or 0.
PST_INLINE uint64_t CopyKnown(const pst_view* view, int fd, const FdEntry& entry, unsigned char* to,
                              uint64_t count, uint64_t offset) {
  Run run;
  if (!RunFind(view, entry, offset, count, &run)) return 0;
  PstCopy(to, run.bytes, run.count);
  if (PST_UNLIKELY(!RunCurrent(view, run))) return 0;
  PstNoteRun(fd, offset, run.count);
  return run.count;
}

// The bytes are not in the arena: has them fetched, or takes the slow lane when they never stay for long
// enough. Bytes copied, or -errno; *from becomes where they were.
PST_COLD ssize_t ReadMissing(int fd, const FdEntry& entry, unsigned char* to, uint64_t count,
                             uint64_t offset, ReadFrom* from) {
  Scratch scratch;
  char* path = scratch.Get();
  static_assert(kFdPathBytes <= kScratchBytes);
  if (path == nullptr) return -ENOMEM;
  int path_len = PstFdPathOrAsk(fd, entry, path);
  if (path_len < 0) return path_len;
  Ask ask;
  Answer answer;
  ask.op = PST_OP_FETCH;
  ask.ns = entry.ns;
  ask.id = entry.id;
  ask.version = entry.version;
  ask.offset = offset;
  ask.length = count;
  ask.slot = entry.slot;
  ask.slot_generation = entry.generation;
  ask.path = path;
  ask.path_len = (uint32_t)path_len;
  for (int tries = 0; tries < kFetchTries; ++tries) {
    int err = PstAsk(ask, &answer);
    if (err != 0) return -err;
    const bool nvme = answer.length == PST_FETCHED_FROM_NVME;
    if (!nvme || *from == ReadFrom::kMemory) *from = nvme ? ReadFrom::kNvme : ReadFrom::kOrigin;
    // A rejoin may have brought another view.
    uint64_t n = CopyRange(&PstView()->index, fd, entry, to, count, offset);
    if (n > 0) return (ssize_t)n;
  }
  *from = ReadFrom::kOrigin;
  ask.op = PST_OP_READ;
  ask.length = count < PST_PATH_MAX ? count : PST_PATH_MAX;
  ask.reply = to;
  ask.reply_capacity = (uint32_t)ask.length;
  int err = PstAsk(ask, &answer);
  if (err != 0) return -err;
  return answer.length > 0 ? (ssize_t)answer.length : -EIO;
}

}  // namespace

int PstFdPathOrAsk(int fd, const FdEntry& entry, char* to) {
  int len = PstFdPath(fd, entry, to);
  if (PST_LIKELY(len > 0)) return len;
  if (len < 0 || (entry.kind != kFdFile && entry.kind != kFdMaterialized)) return len < 0 ? -EBADF : len;
  Ask ask;
  Answer answer;
  ask.op = PST_OP_NAME;
  ask.ns = entry.ns;
  ask.id = entry.id;
  ask.length = PST_PATH_MAX;
  ask.reply = to;
  ask.reply_capacity = kFdPathBytes;
  int err = PstAsk(ask, &answer);
  if (err != 0) return -err;
  to[answer.path_len] = 0;
  return (int)answer.path_len;
}

ssize_t PstReadAt(int fd, const FdEntry& entry, void* to, size_t count, uint64_t offset) {
  if (PST_UNLIKELY(offset >= entry.size)) return 0;
  uint64_t want = entry.size - offset;
  if (want > count) want = count;
  if (PST_UNLIKELY(want > kMaxCount)) want = kMaxCount;
  const View* view = PstView();
  auto* at = (unsigned char*)to;
  uint64_t done = 0;
  ReadFrom from = ReadFrom::kMemory;
  while (done < want) {
    uint64_t n = 0;
    if (PST_LIKELY(view != nullptr)) {
      n = CopyKnown(&view->index, fd, entry, at + done, want - done, offset + done);
      if (n == 0) n = CopyRange(&view->index, fd, entry, at + done, want - done, offset + done);
    }
    if (PST_UNLIKELY(n == 0)) {
      ssize_t got = ReadMissing(fd, entry, at + done, want - done, offset + done, &from);
      if (got < 0) {
        if (done == 0) return got;
        break;
      }
      n = (uint64_t)got;
      view = PstView();
    }
    done += n;
  }
  pst_counters* line = PstCounters();
  if (PST_LIKELY(line != nullptr)) PstCountRead(line, from, done);
  return (ssize_t)done;
}

namespace {

// The slot would not be claimed: materialised by somebody (the number then becomes a real fd), or stale.
PST_COLD ssize_t Unclaimable(int fd, const FdEntry& entry, bool* native) {
  int err = PstAdoptMaterialized(fd, entry);
  if (err != 0) return -err;
  *native = true;
  return 0;
}

}  // namespace

ssize_t PstClaim(int fd, const FdEntry& entry, size_t count, uint64_t* offset, bool* native) {
  *native = false;
  const View* view = PstView();
  if (PST_UNLIKELY(view == nullptr)) return -EBADF;  // every entry was made with a view
  pst_slot* slot = PstSlotOf(view, entry.slot);
  if (PST_UNLIKELY(slot == nullptr)) return -EBADF;
  if (PST_UNLIKELY(count > kMaxCount)) count = kMaxCount;
  int64_t claimed = pst_slot_claim(slot, entry.generation, entry.size, count, offset);
  return PST_LIKELY(claimed >= 0) ? claimed : Unclaimable(fd, entry, native);
}

void PstUnclaim(uint32_t slot, uint32_t generation, uint64_t offset, size_t claimed, ssize_t got) {
  pst_slot* at = PstSlotOf(PstView(), slot);
  if (at == nullptr) return;
  uint64_t read = got > 0 ? (uint64_t)got : 0;
  pst_slot_unclaim(at, generation, offset + claimed, offset + read);
}

ssize_t PstRead(int fd, const FdEntry& entry, void* to, size_t count, bool* native) {
  uint64_t offset = 0;
  ssize_t claimed = PstClaim(fd, entry, count, &offset, native);
  if (PST_UNLIKELY(claimed <= 0)) return claimed;
  ssize_t got = PstReadAt(fd, entry, to, (size_t)claimed, offset);
  if (PST_UNLIKELY(got < claimed))
    PstUnclaim(entry.slot, entry.generation, offset, (size_t)claimed, got);
  return got;
}

int64_t PstTell(const FdEntry& entry) {
  int err = EIO;
  const View* view = PstJoinedView(&err);
  if (view == nullptr) return -err;
  pst_slot* slot = PstSlotOf(view, entry.slot);
  if (slot == nullptr) return -EBADF;
  uint64_t word = PST_LOAD_RELAXED(&slot->word);
  if ((pst_word_generation(word) & ~1u) != entry.generation) return -EBADF;
  return (int64_t)pst_word_offset(word);
}

int64_t PstSeek(int fd, const FdEntry& entry, int64_t offset, int whence, bool* native) {
  *native = false;
  int err = EIO;
  const View* view = PstView() != nullptr ? PstView() : PstJoinedView(&err);
  if (PST_UNLIKELY(view == nullptr)) return -err;
  pst_slot* slot = PstSlotOf(view, entry.slot);
  if (PST_UNLIKELY(slot == nullptr)) return -EBADF;
  auto size = (int64_t)entry.size;
  int64_t by = offset;
  if (whence == SEEK_DATA || whence == SEEK_HOLE) {
    if (offset < 0 || offset >= size) return -ENXIO;
    if (whence == SEEK_HOLE) by = size;
  } else if (whence == SEEK_END) {
    if (__builtin_add_overflow(size, offset, &by)) return -EINVAL;
  } else if (whence != SEEK_SET && whence != SEEK_CUR) {
    return -EINVAL;
  }
  int64_t at = pst_slot_seek(slot, entry.generation, by, whence == SEEK_CUR);
  if (PST_UNLIKELY(at == PST_SEEK_STALE)) return Unclaimable(fd, entry, native);
  return at >= 0 ? at : -EINVAL;
}

}  // namespace penstock
