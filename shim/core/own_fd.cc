#include "shim/core/own_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "shim/core/client.h"
#include "shim/core/fd_table.h"
#include "shim/core/raw.h"
#include "shim/core/slots.h"

namespace penstock {
namespace {

struct OwnFd {
  int32_t fd = -1;
  uint64_t dev = 0;
  uint64_t ino = 0;
};
OwnFd g_own[kOwnCount];

// High enough to be out of a program's way, low enough to keep the kernel's table (and a fork) small.
int HighBase() {
  struct rlimit limit = {1024, 1024};
  Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
  if (limit.rlim_cur >= 1024) return 960;
  if (limit.rlim_cur > 96) return (int)limit.rlim_cur - 48;
  return (int)(limit.rlim_cur / 2);
}

bool Inode(int fd, uint64_t* dev, uint64_t* ino) {
  struct stat info;
  if (Raw(SYS_fstat, fd, &info) != 0) return false;
  *dev = info.st_dev;
  *ino = info.st_ino;
  return true;
}

void Mark(int fd, FdKind kind) {
  if ((unsigned)fd >= kMaxFds) return;
  __atomic_store_n(&g_fd_kind[fd], (uint8_t)kind, __ATOMIC_RELEASE);
  uint32_t high = __atomic_load_n(&g_fd_high, __ATOMIC_RELAXED);
  while (kind != kFdNone && high <= (unsigned)fd &&
         !__atomic_compare_exchange_n(&g_fd_high, &high, (unsigned)fd + 1, true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
  }
}

// A program that limits itself to few numbers counts on having all of them. The kernel looks at the
// limit only when it gives a number out, so for that moment it is a higher one, where the hard
// limit (or a privilege) allows.
long MoveBeyond(int fd) {
  constexpr rlim_t kEnough = 1024;
  struct rlimit limit, more;
  if (Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) != 0 || limit.rlim_cur >= kEnough)
    return -EINVAL;
  more = {kEnough, limit.rlim_max > kEnough ? limit.rlim_max : kEnough};
  if (Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, nullptr) != 0) return -EPERM;
  long high = Raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 960);
  Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
  return high;
}

}  // namespace

int PstMoveHigh(int fd) {
  long high = MoveBeyond(fd);
  if (high < 0) high = Raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HighBase());
  if (high == -EINVAL) high = Raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
  Raw(SYS_close, fd);
  if (high < 0) return (int)high;
  if (high >= (long)kMaxFds) {
    Raw(SYS_close, high);
    return -EMFILE;
  }
  if (PstFdKindOf((int)high) != kFdNone && PstFdKindOf((int)high) != kFdOwn)
    PstFdForgetSlow((int)high);
  Mark((int)high, kFdOwn);
  return (int)high;
}

int OwnFdChecked(Own which) {
  OwnFd& own = g_own[(int)which];
  int fd = __atomic_load_n(&own.fd, __ATOMIC_ACQUIRE);
  uint64_t dev, ino;
  if (fd < 0) return -1;
  if (Inode(fd, &dev, &ino) && dev == own.dev && ino == own.ino) return fd;
  __atomic_store_n(&own.fd, -1, __ATOMIC_RELEASE);
  if (PstFdKindOf(fd) == kFdOwn) Mark(fd, kFdNone);
  return -1;
}

int OwnFdSet(Own which, int fd) {
  OwnFdClose(which);
  int high = PstMoveHigh(fd);
  if (high < 0) return high;
  OwnFd& own = g_own[(int)which];
  if (!Inode(high, &own.dev, &own.ino)) return -EBADF;
  __atomic_store_n(&own.fd, high, __ATOMIC_RELEASE);
  return 0;
}

void OwnFdClose(Own which) {
  int fd = OwnFdChecked(which);
  if (fd < 0) return;
  __atomic_store_n(&g_own[(int)which].fd, -1, __ATOMIC_RELEASE);
  Mark(fd, kFdNone);
  Raw(SYS_close, fd);
}

void OwnFdCloseInherited() {
  for (int fd = PstFdNext(0, kMaxFds - 1); fd >= 0; fd = PstFdNext((unsigned)fd + 1, kMaxFds - 1)) {
    if (PstFdKindOf((int)fd) != kFdOwn) continue;
    bool keep = g_own[(int)Own::kOpenFiles].fd == fd && OwnFdChecked(Own::kOpenFiles) == fd;
    if (keep) continue;
    bool listed = OwnFdForget(fd);
    Mark(fd, kFdNone);
    // One that is listed was checked when it was set; one in hand is an O_PATH of a socket, and a close of it
    // by the program would have gone through our hooks.
    (void)listed;
    Raw(SYS_close, fd);
  }
}

bool OwnFdForget(int fd) {
  for (OwnFd& own : g_own) {
    if (own.fd != fd) continue;
    __atomic_store_n(&own.fd, -1, __ATOMIC_RELEASE);
    return true;
  }
  return false;
}

bool PstFdIsOwn(int fd) { return PstFdKindOf(fd) == kFdOwn; }

void PstOwnFdGone(int fd) {
  if (!PstFdIsOwn(fd)) return;
  Mark(fd, kFdNone);
  if (!OwnFdForget(fd)) PstWarmGone(fd);
}

}  // namespace penstock
