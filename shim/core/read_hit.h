// The whole way of a read that hits in one piece: the number's file, the place of its bytes, one
// copy, one check. Everything is inlined into the hook and lives in registers. Whatever is unusual
// takes the long way (serve.h), which does all of it again from the beginning.
//
// Thread safety: any thread, signal handlers.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "shim/copy/copy.h"
#include "shim/core/client.h"
#include "shim/core/fd_table.h"
#include "shim/core/run_cache.h"
#include "shim/core/slots.h"
#include "shim/core/view.h"

namespace penstock {

// Where this thread is expected next, for the numbers that it reads. A table of its own: a hit stores to no
// line that another thread's hits use.
struct ReadCursor {
  uint32_t fd;
  uint32_t range;
};
inline constexpr unsigned kReadCursors = 8;
extern __thread ReadCursor t_read_cursors[kReadCursors];

// Follows a reader from range to range: called where a read takes a range's first byte. True if it came from
// the range before, or a few back: threads that read one open file in turns skip each other's.
PST_INLINE bool PstInSequence(int fd, uint32_t range) {
  constexpr uint32_t kSkipped = 4;
  ReadCursor* cursor = &t_read_cursors[(unsigned)fd % kReadCursors];
  uint32_t past = range - cursor->range;
  if (past == 0 && cursor->fd == (unsigned)fd) return false;  // the same place again
  bool follows = cursor->fd == (unsigned)fd && past <= kSkipped;
  if (range == 0) follows = true;
  *cursor = {(unsigned)fd, range};
  return follows;
}

// The last range whose first byte was taken is where a sequential reader stands.
PST_INLINE void PstNoteRun(int fd, uint64_t offset, uint64_t count) {
  const uint64_t last = (offset + count - 1) >> PST_RANGE_SHIFT;
  if (last << PST_RANGE_SHIFT >= offset) (void)PstInSequence(fd, (uint32_t)last);
}

// Claims at most `count` bytes at the shared offset: how many (0 at the end) and *offset, or -1 if
// the slot is not the file's any more.
PST_INLINE int64_t PstClaimNow(const FdFile& file, uint64_t count, uint64_t* offset) {
  const View* view = PstHotView();
  pst_slot* slot = PST_LIKELY(view != nullptr) ? PstSlotOf(view, file.slot) : nullptr;
  return PST_LIKELY(slot != nullptr)
             ? pst_slot_claim(slot, file.generation, file.size, count, offset)
             : -1;
}

// `count` bytes at `offset`, not beyond the file's end: true if all of them were at a place that
// this process knows and are now in `to`. False: nothing that counts was stored.
PST_INLINE bool PstReadHit(int fd, const FdFile& file, void* to, uint64_t count, uint64_t offset) {
  const View* view = PstHotView();
  if (PST_UNLIKELY(view == nullptr)) return false;
  Run run;
  if (!RunFind(&view->index, file, offset, count, &run) || PST_UNLIKELY(run.count != count))
    return false;
  PstCopy(to, run.bytes, count);
  if (PST_UNLIKELY(!RunCurrent(&view->index, run))) return false;
  PstNoteRun(fd, offset, count);
  pst_counters* line = PstCounters();
  if (PST_LIKELY(line != nullptr)) PstCountRead(line, ReadFrom::kMemory, count);
  return true;
}

}  // namespace penstock
