// The process's view of index, arena and open-file table: immutable, swapped as a whole.
//
// A view stays valid for the life of the process: after a rejoin the new memory is mapped over the old
// addresses, or, when it is larger than the reservation, elsewhere, and the old view keeps its place (a
// bounded number of times). A reader that was in the middle of a copy discards it by the generation.
//
// Thread safety: PstView() from anywhere, also in a forked child that has not joined.
#pragma once

#include <stdint.h>

#include "shim/abi/index.h"
#include "shim/abi/open_file.h"
#include "shim/core/hook.h"

namespace penstock {

struct Mount {
  const char* path;      // absolute, normalised; in the view's own memory
  uint32_t path_len;
  uint32_t ns;
  uint32_t flags;        // PST_MOUNT_*
  uint32_t uid;
  uint32_t gid;
  uint32_t st_dev;
};

struct View {
  pst_view index;
  pst_slot* slots;           // of the open-file table, writable
  uint64_t slot_count;
  uint64_t incarnation;
  uint32_t mount_count;
  Mount mounts[PST_MAX_MOUNTS];
  // The mount of each configured prefix when that is certain (same path, nothing mounted below it),
  // else UINT32_MAX: look for the longest mount.
  uint32_t prefix_mount[PST_MAX_MOUNTS];
};

extern const View* g_view;

// The current view, or null before this process (or an ancestor by fork) ever joined.
PST_INLINE const View* PstView() { return __atomic_load_n(&g_view, __ATOMIC_ACQUIRE); }

// The view of the shortest way of a read, null once a thread was asked to end: reads then take the
// long way, which is a cancellation point.
extern const View* g_hot_view;
PST_INLINE const View* PstHotView() { return __atomic_load_n(&g_hot_view, __ATOMIC_ACQUIRE); }
PST_COLD void PstNoHotView(void (*end_point)());  // libc's pthread_testcancel
extern void (*g_end_point)();                     // null: nobody was asked

// The view, joining the sidecar first if there is none: waits up to PENSTOCK_WAIT. Null with *err =
// EIO if no sidecar of our version answered in time (the next calls fail fast for a while).
PST_COLD const View* PstJoinedView(int* err);

}  // namespace penstock
