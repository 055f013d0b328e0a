// close, close_range, closefrom. An entry goes before its number does (core/fd_table.h).

#include <linux/close_range.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/client.h"
#include "shim/core/raw.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace penstock {
namespace {

PST_COLD int CloseCovered(int fd) {
  // Ours to close: to the program this number does not exist.
  if (PstFdIsOwn(fd)) return PstFail(EBADF);
  FdDropped dropped = PstFdDrop(fd);
  int result = real.close(fd);
  if (PST_LIKELY(result == 0)) {
    PstFdDropped(dropped);
    return 0;
  }
  KeepErrno keep;
  PstFdDropped(dropped);
  return result;
}

// Closes [first, last] but for our own numbers, which are CLOEXEC: in stretches between them.
template <class Range>
int CloseAround(unsigned first, unsigned last, Range range) {
  for (int fd = PstFdNext(first, last); fd >= 0; fd = PstFdNext(static_cast<unsigned>(fd) + 1, last)) {
    if (PstFdIsOwn(fd)) {
      if (static_cast<unsigned>(fd) > first) {
        int result = range(first, static_cast<unsigned>(fd) - 1);
        if (result != 0) return result;
      }
      first = static_cast<unsigned>(fd) + 1;
      continue;
    }
    CloseCovered(fd);
  }
  return first <= last ? range(first, last) : 0;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int close(int fd) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.close(fd);
  return CloseCovered(fd);
}

// musl's.
PST_EXPORT int posix_close(int fd, int flags) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.posix_close(fd, flags);
  return CloseCovered(fd);
}

// A message queue is a number like any other.
PST_EXPORT int mq_close(mqd_t queue) {
  if (PST_LIKELY(PstFdKindOf(queue) == kFdNone)) return real.mq_close(queue);
  return CloseCovered(queue);
}

PST_EXPORT int close_range(unsigned first, unsigned last, int flags) {
  bool cloexec_only = (static_cast<unsigned>(flags) & CLOSE_RANGE_CLOEXEC) != 0;
  if (PST_LIKELY(!g_config.active) || first > last || cloexec_only ||
      (static_cast<unsigned>(flags) & ~CLOSE_RANGE_UNSHARE) != 0)
    return real.close_range(first, last, flags);
  if (flags != 0 && MayHaveThreads()) OpenRealFromNow();
  return CloseAround(first, last, [flags](unsigned from, unsigned to) {
    return real.close_range(from, to, flags);
  });
}

PST_EXPORT void closefrom(int first) {
  if (PST_LIKELY(!g_config.active)) return real.closefrom(first);
  unsigned from = first < 0 ? 0 : static_cast<unsigned>(first);
  KeepErrno keep;
  CloseAround(from, ~0u, [](unsigned low, unsigned high) {
    if (high == ~0u) {
      real.closefrom(static_cast<int>(low));
      return 0;
    }
    if (Raw(SYS_close_range, low, high, 0) == 0) return 0;
    for (unsigned fd = low; fd <= high; ++fd) Raw(SYS_close, fd);
    return 0;
  });
}
