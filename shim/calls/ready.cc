// Readiness and devices: a covered file is a regular file, so it is always ready, never a terminal,
// and epoll refuses it.

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"

namespace penstock {
namespace {

constexpr short kReady = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

constexpr nfds_t kPollOnStack = 192;

// Runs `call(fds, wait)` on a copy in which the covered entries are hidden from the kernel (a negative
// number is skipped) and fills in their answers. `wait` is false if one of them is ready, so the call must
// not sleep. The program's own entries are only answered: other threads may wait on the same array.
template <class Call>
PST_COLD int PollOnCopy(struct pollfd* fds, nfds_t count, Call call) {
  struct pollfd some[kPollOnStack];
  struct pollfd* copy = some;
  size_t bytes = count * sizeof *fds;
  if (count > kPollOnStack) {
    long memory = count <= INT32_MAX ? Raw(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                     : -EINVAL;
    if (memory < 0 && memory > -4096) return PstFail(static_cast<int>(-memory));
    copy = reinterpret_cast<struct pollfd*>(memory);
  }
  int ready = 0;
  for (nfds_t i = 0; i < count; ++i) {
    copy[i] = fds[i];
    copy[i].revents = 0;
    if (PstFdKindOf(copy[i].fd) != kFdFile) continue;
    copy[i].fd = INT32_MIN;  // told from the program's own negative numbers by `mine` below
    copy[i].events = static_cast<short>(copy[i].events & kReady);
    if (copy[i].events != 0) ++ready;
  }
  int result = call(copy, ready == 0);
  if (result >= 0) {
    for (nfds_t i = 0; i < count; ++i) {
      bool mine = copy[i].fd == INT32_MIN && fds[i].fd != INT32_MIN;
      fds[i].revents = mine ? copy[i].events : copy[i].revents;
    }
    result += ready;
  } else if (ready > 0 && errno == EINTR) {
    result = ready;  // nothing slept: we had an answer
    for (nfds_t i = 0; i < count; ++i)
      fds[i].revents = copy[i].fd == INT32_MIN && fds[i].fd != INT32_MIN ? copy[i].events : short{0};
  }
  if (copy != some) Raw(SYS_munmap, copy, bytes);
  return result;
}

template <class Call>
PST_INLINE int PollAround(struct pollfd* fds, nfds_t count, Call call) {
  for (nfds_t i = 0; i < count; ++i) {
    if (PST_UNLIKELY(PstFdKindOf(fds[i].fd) == kFdFile)) return PollOnCopy(fds, count, call);
  }
  return call(fds, true);
}

constexpr int kMaxSelect = 65536;
constexpr int kBitsPerWord = 8 * static_cast<int>(sizeof(fd_mask));
constexpr int kSelectWords = kMaxSelect / kBitsPerWord;

fd_mask* Words(fd_set* set) { return reinterpret_cast<fd_mask*>(set); }

// Takes the covered numbers out of `set` and notes them in `taken`. How many.
int TakeCovered(fd_set* set, int limit, fd_mask* taken) {
  if (set == nullptr) return 0;
  int count = 0;
  for (int word = 0; word * kBitsPerWord < limit; ++word) {
    taken[word] = 0;
    for (fd_mask rest = Words(set)[word]; rest != 0; rest &= rest - 1) {
      int fd = word * kBitsPerWord + __builtin_ctzl(static_cast<unsigned long>(rest));
      if (fd >= limit || PstFdKindOf(fd) != kFdFile) continue;
      taken[word] |= rest & -rest;
      ++count;
    }
    Words(set)[word] &= ~taken[word];
  }
  return count;
}

void PutBack(fd_set* set, int limit, const fd_mask* taken) {
  if (set == nullptr) return;
  for (int word = 0; word * kBitsPerWord < limit; ++word) Words(set)[word] |= taken[word];
}

bool AnyCovered(const fd_set* set, int limit) {
  if (set == nullptr) return false;
  const auto* words = reinterpret_cast<const fd_mask*>(set);
  for (int word = 0; word * kBitsPerWord < limit; ++word) {
    for (fd_mask rest = words[word]; rest != 0; rest &= rest - 1) {
      int fd = word * kBitsPerWord + __builtin_ctzl(static_cast<unsigned long>(rest));
      if (fd < limit && PstFdKindOf(fd) == kFdFile) return true;
    }
  }
  return false;
}

// As PollAround.
template <class Call>
PST_COLD int SelectAround(int limit, fd_set* in, fd_set* out, fd_set* except, Call call) {
  static_assert(2 * kSelectWords * sizeof(fd_mask) <= kScratchBytes);
  Scratch scratch, more;
  auto* taken_in = reinterpret_cast<fd_mask*>(scratch.Get());
  auto* taken_except = reinterpret_cast<fd_mask*>(more.Get());
  if (taken_in == nullptr || taken_except == nullptr) return PstFail(ENOMEM);
  fd_mask* taken_out = taken_in + kSelectWords;
  int ready = TakeCovered(in, limit, taken_in) + TakeCovered(out, limit, taken_out);
  TakeCovered(except, limit, taken_except);  // a regular file has no exceptional state
  int result = call(ready == 0);
  if (result < 0) {
    PutBack(in, limit, taken_in);
    PutBack(out, limit, taken_out);
    PutBack(except, limit, taken_except);
    return result;
  }
  PutBack(in, limit, taken_in);
  PutBack(out, limit, taken_out);
  return result + ready;
}

template <class Call>
int Select(int limit, fd_set* in, fd_set* out, fd_set* except, Call call) {
  int covered_limit =
      static_cast<unsigned>(limit) < g_fd_high ? limit : static_cast<int>(g_fd_high);
  if (PST_LIKELY(!AnyCovered(in, covered_limit) && !AnyCovered(out, covered_limit) &&
                 !AnyCovered(except, covered_limit)) ||
      limit > kMaxSelect)
    return call(true);
  return SelectAround(limit, in, out, except, call);
}

int FileIoctl(int fd, unsigned long request, void* argument) {
  switch (request) {
    case FIOCLEX:
      return real.fcntl(fd, F_SETFD, FD_CLOEXEC);
    case FIONCLEX:
      return real.fcntl(fd, F_SETFD, 0);
    case FIONBIO: {
      int flags = fcntl(fd, F_GETFL);
      return fcntl(fd, F_SETFL,
                   *static_cast<int*>(argument) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
    }
    case FIONREAD: {
      FdEntry entry;
      if (!PstFdSnapshot(fd, &entry)) return real.ioctl(fd, request, argument);
      int64_t at = PstTell(entry);
      if (at < 0) return PstFail(static_cast<int>(-at));
      auto size = static_cast<int64_t>(entry.size);
      *static_cast<int*>(argument) = static_cast<int>(size - at);
      return 0;
    }
    case FIGETBSZ:
      *static_cast<int*>(argument) = 4096;
      return 0;
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
      return PstFail(EBADF);  // not open for writing
    case FS_IOC_FIEMAP:
      return PstFail(EOPNOTSUPP);
    default:
      return PstFail(ENOTTY);
  }
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int poll(struct pollfd* fds, nfds_t count, int timeout_ms) {
  return PollAround(fds, count, [=](struct pollfd* entries, bool wait) {
    return real.poll(entries, count, wait ? timeout_ms : 0);
  });
}

PST_EXPORT int ppoll(struct pollfd* fds, nfds_t count, const struct timespec* timeout,
                     const sigset_t* mask) {
  static constexpr struct timespec kNow = {0, 0};
  return PollAround(fds, count, [=](struct pollfd* entries, bool wait) {
    return real.ppoll(entries, count, wait ? timeout : &kNow, mask);
  });
}

PST_EXPORT int select(int limit, fd_set* in, fd_set* out, fd_set* except, struct timeval* timeout) {
  return Select(limit, in, out, except, [=](bool wait) {
    struct timeval now = {0, 0};
    return real.select(limit, in, out, except, wait ? timeout : &now);
  });
}

PST_EXPORT int pselect(int limit, fd_set* in, fd_set* out, fd_set* except,
                       const struct timespec* timeout, const sigset_t* mask) {
  static constexpr struct timespec kNow = {0, 0};
  return Select(limit, in, out, except, [=](bool wait) {
    return real.pselect(limit, in, out, except, wait ? timeout : &kNow, mask);
  });
}

PST_EXPORT int epoll_ctl(int epoll, int operation, int fd, struct epoll_event* event) {
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return PstFail(EPERM);
  return real.epoll_ctl(epoll, operation, fd, event);
}

PST_EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  if (IsCoveredPathOnly(fd)) return PstFail(EBADF);
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return FileIoctl(fd, request, argument);
  // Cloning from a covered file into another: across devices, as between any two file systems.
  if (PST_UNLIKELY(request == FICLONE) &&
      IsCovered(PstFdKindOf(static_cast<int>(reinterpret_cast<intptr_t>(argument)))))
    return PstFail(EXDEV);
  if (PST_UNLIKELY(request == FICLONERANGE) && argument != nullptr &&
      IsCovered(
          PstFdKindOf(static_cast<int>(static_cast<struct file_clone_range*>(argument)->src_fd))))
    return PstFail(EXDEV);
  return real.ioctl(fd, request, argument);
}
