#include "shim/calls/ring_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/calls/landing.h"
#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/join.h"
#include "shim/core/own_fd.h"
#include "shim/core/raw.h"
#include "shim/core/time.h"

extern "C" int openat2(int dirfd, const char* path, struct open_how* how, size_t size);

namespace penstock {
namespace {

constexpr uint32_t kInjectResult = 1;  // IORING_NOP_INJECT_RESULT, Linux 6.10
constexpr uint32_t kAllocIndex = ~0u;  // IORING_FILE_INDEX_ALLOC
constexpr uint8_t kKeptFlags =
    IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC | IOSQE_CQE_SKIP_SUCCESS;
constexpr size_t kZerosBytes = 2 << 20;  // where zeros are read to: no number of a file is larger
constexpr int64_t kPatienceNs = 1'000'000'000;

template <class T>
T* P(uint64_t value) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(value));
}

bool CanInject() {
  static int8_t known;  // 1 yes, -1 no; the same for all threads
  int8_t now = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (now == 0) {
    struct utsname name;
    int major = 0, minor = 0;
    const char* at = uname(&name) == 0 ? name.release : "0";
    for (; *at >= '0' && *at <= '9'; ++at) major = major * 10 + (*at - '0');
    for (at += *at == '.'; *at >= '0' && *at <= '9'; ++at) minor = minor * 10 + (*at - '0');
    now = major > 6 || (major == 6 && minor >= 10) ? 1 : -1;
    __atomic_store_n(&known, now, __ATOMIC_RELAXED);
  }
  return now > 0;
}

io_uring_sqe* Blank(io_uring_sqe* entry, uint8_t operation) {
  const uint64_t user_data = entry->user_data;
  const uint8_t flags = entry->flags & kKeptFlags;
  memset(entry, 0, sizeof *entry);
  entry->opcode = operation;
  entry->flags = flags;
  entry->user_data = user_data;
  entry->fd = -1;
  return entry;
}

void BecomeRead(io_uring_sqe* entry, int fd, void* to, uint32_t bytes) {
  Blank(entry, IORING_OP_READ);
  entry->fd = fd;
  entry->addr = reinterpret_cast<uintptr_t>(to);
  entry->len = bytes;
}

void BecomeOpen(io_uring_sqe* entry, const char* path, int flags) {
  Blank(entry, IORING_OP_OPENAT);
  entry->fd = AT_FDCWD;
  entry->addr = reinterpret_cast<uintptr_t>(path);
  entry->open_flags = static_cast<uint32_t>(flags);
}

// /dev/zero under a number of our own: a read of n bytes from it gives n.
int Zeros(char** area) {
  static char* mapped;
  if (__atomic_load_n(&mapped, __ATOMIC_ACQUIRE) == nullptr) {
    long at = Raw(SYS_mmap, nullptr, kZerosBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at < 0 && at > -4096) return -1;
    __atomic_store_n(&mapped, reinterpret_cast<char*>(at), __ATOMIC_RELEASE);
  }
  *area = mapped;
  int fd = OwnFdChecked(Own::kZeros);
  if (fd >= 0) return fd;
  JoinLock lock(PstMonotonicNs() + kPatienceNs);
  if (!lock.held()) return -1;
  fd = OwnFdChecked(Own::kZeros);
  if (fd >= 0) return fd;
  long opened = Raw(SYS_openat, AT_FDCWD, "/dev/zero", O_RDONLY | O_CLOEXEC, 0);
  if (opened < 0 || OwnFdSet(Own::kZeros, static_cast<int>(opened)) != 0) return -1;
  return OwnFdChecked(Own::kZeros);
}

// For a kernel that has to find the result by itself. False: it can't.
bool BecomeSuccess(io_uring_sqe* entry, int result) {
  if (result == 0) return Blank(entry, IORING_OP_NOP), true;
  char* area;
  const int zeros = static_cast<size_t>(result) <= kZerosBytes ? Zeros(&area) : -1;
  if (zeros < 0) return false;
  BecomeRead(entry, zeros, area, static_cast<uint32_t>(result));
  return true;
}

void BecomeFailure(io_uring_sqe* entry, int err) {
  switch (err) {
    case ENOENT:
      return BecomeOpen(entry, "", O_RDONLY);
    case ENOTDIR:
      return BecomeOpen(entry, "/dev/null/none", O_RDONLY);
    case EISDIR:
      return BecomeOpen(entry, "/", O_WRONLY);
    case EEXIST:
      return BecomeOpen(entry, "/", O_WRONLY | O_CREAT | O_EXCL);
    case EBADF:
      return BecomeRead(entry, -1, nullptr, 0);
    default:
      break;
  }
  // /proc makes no unnamed files: EACCES for a user, EOPNOTSUPP for root.
  BecomeOpen(entry, "/proc", O_TMPFILE | O_WRONLY);
}

// The entry completes with `result`, which may be -errno.
void Become(io_uring_sqe* entry, int result) {
  if (CanInject()) {
    Blank(entry, IORING_OP_NOP);
    entry->rw_flags = kInjectResult;
    entry->len = static_cast<uint32_t>(result);
    return;
  }
  if (result >= 0 && BecomeSuccess(entry, result)) return;
  BecomeFailure(entry, result >= 0 ? EIO : -result);
}

// Does the kernel have to be kept from this name?
bool Ours(int dirfd, const char* path) {
  if (path == nullptr) return false;
  PathBuffer buffer;
  Route route;
  if (RouteOf(dirfd, path, &buffer, &route) != Cover::kNone) return true;
  // As in the hooks, but what the kernel would answer has to be known before it is asked.
  if (!PstMayLand() && Raw(SYS_faccessat, dirfd, path, F_OK) == 0) return false;
  LinkedPath linked;
  return PstLands(dirfd, path, true, &linked, &route);
}

int ResultOf(long value) { return value >= 0 ? static_cast<int>(value) : -errno; }

// An opened file into the ring's own table, at the place that the entry names.
int InstallDirect(int ring, int fd, uint32_t index) {
  if (index == kAllocIndex) {
    close(fd);
    return -EINVAL;
  }
  struct io_uring_files_update update = {index - 1, 0, reinterpret_cast<uintptr_t>(&fd)};
  long done = Raw(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE, &update, 1);
  close(fd);
  return done == 1 ? 0 : done < 0 ? static_cast<int>(done) : -EINVAL;
}

void Open(io_uring_sqe* entry, int ring) {
  const char* path = P<const char>(entry->addr);
  const uint32_t direct = entry->file_index;
  int result;
  if (!Ours(entry->fd, path)) return;
  if (entry->opcode == IORING_OP_OPENAT) {
    result = openat(entry->fd, path, static_cast<int>(entry->open_flags),
                    static_cast<mode_t>(entry->len));
  } else {
    result = openat2(entry->fd, path, P<struct open_how>(entry->addr2), entry->len);
  }
  result = ResultOf(result);
  if (result >= 0 && direct != 0) result = InstallDirect(ring, result, direct);
  Become(entry, result);
}

void Stat(io_uring_sqe* entry) {
  const char* path = P<const char>(entry->addr);
  const bool empty =
      (entry->statx_flags & AT_EMPTY_PATH) != 0 && (path == nullptr || *path == '\0');
  if (empty ? !IsCovered(PstFdKindOf(entry->fd)) : !Ours(entry->fd, path)) return;
  Become(entry, ResultOf(statx(entry->fd, empty ? "" : path, static_cast<int>(entry->statx_flags),
                               entry->len, P<struct statx>(entry->addr2))));
}

// Closed by the kernel a moment later: until then the number is a real file that we know nothing
// of.
void Close(io_uring_sqe* entry) {
  if (entry->file_index != 0) return;
  if (PstFdIsOwn(entry->fd)) {
    entry->fd = -1;
  } else if (PstFdKindOf(entry->fd) != kFdNone) {
    PstFdDropped(PstFdDrop(entry->fd));
  }
}

void ChangeName(io_uring_sqe* entry) {
  const char* path = P<const char>(entry->addr);
  const char* other = P<const char>(entry->addr2);
  const int dirfd = entry->fd, other_dirfd = static_cast<int>(entry->len);
  long result;
  switch (entry->opcode) {
    case IORING_OP_MKDIRAT:
      if (!Ours(dirfd, path)) return;
      result = mkdirat(dirfd, path, static_cast<mode_t>(entry->len));
      break;
    case IORING_OP_UNLINKAT:
      if (!Ours(dirfd, path)) return;
      result = unlinkat(dirfd, path, static_cast<int>(entry->unlink_flags));
      break;
    case IORING_OP_SYMLINKAT:
      if (!Ours(dirfd, other)) return;
      result = symlinkat(path, dirfd, other);
      break;
    case IORING_OP_LINKAT:
      if (!Ours(dirfd, path) && !Ours(other_dirfd, other)) return;
      result = linkat(dirfd, path, other_dirfd, other, static_cast<int>(entry->hardlink_flags));
      break;
    default:
      if (!Ours(dirfd, path) && !Ours(other_dirfd, other)) return;
      result = renameat2(dirfd, path, other_dirfd, other, entry->rename_flags);
      break;
  }
  Become(entry, ResultOf(result));
}

void Attribute(io_uring_sqe* entry) {
  const char* path = P<const char>(entry->addr3);
  if (!Ours(AT_FDCWD, path)) return;
  const char* name = P<const char>(entry->addr);
  void* value = P<void>(entry->addr2);
  Become(entry, ResultOf(entry->opcode == IORING_OP_GETXATTR
                             ? getxattr(path, name, value, entry->len)
                             : setxattr(path, name, value, entry->len,
                                        static_cast<int>(entry->xattr_flags))));
}

}  // namespace

void PstRingEntry(io_uring_sqe* entry, int ring) {
  KeepErrno keep;
  switch (entry->opcode) {
    case IORING_OP_OPENAT:
    case IORING_OP_OPENAT2:
      return Open(entry, ring);
    case IORING_OP_STATX:
      return Stat(entry);
    case IORING_OP_CLOSE:
      return Close(entry);
    case IORING_OP_RENAMEAT:
    case IORING_OP_UNLINKAT:
    case IORING_OP_MKDIRAT:
    case IORING_OP_SYMLINKAT:
    case IORING_OP_LINKAT:
      return ChangeName(entry);
    case IORING_OP_SETXATTR:
    case IORING_OP_GETXATTR:
      return Attribute(entry);
    default:
      // A number that came from elsewhere (SCM_RIGHTS) and is not real yet.
      if ((entry->flags & IOSQE_FIXED_FILE) == 0) MakeReal(entry->fd);
  }
}

}  // namespace penstock
