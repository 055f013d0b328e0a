// Attributes of covered files, by number and by path: a read-only mount changes none of them, has
// no extended ones, and answers questions about itself.

#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/calls/support.h"

namespace penstock {
namespace {

// 0: not ours. Else the errno for a call that would change the attributes of a covered name.
int ChangeErrno(int dirfd, const char* path) {
  PathBuffer buffer;
  Route route;
  pst_attr attr;
  switch (RouteOf(dirfd, path, &buffer, &route)) {
    case Cover::kMount: {
      int err = PstLookup(route, &attr);
      return err != 0 ? err : EROFS;
    }
    case Cover::kError:
      return route.err;
    default:
      return 0;
  }
}

// 0: not ours. 1: covered and there. Negative: -errno.
int CoveredThere(const char* path) {
  PathBuffer buffer;
  Route route;
  pst_attr attr;
  switch (RouteOf(AT_FDCWD, path, &buffer, &route)) {
    case Cover::kMount: {
      int err = PstLookup(route, &attr);
      return err != 0 ? -err : 1;
    }
    case Cover::kError:
      return -route.err;
    case Cover::kAncestor: {
      // Above a mount: the disk's own folder, or one that only we know.
      KeepErrno keep;
      struct stat info;
      return real.stat(route.full, &info) == 0 ? 0 : 1;
    }
    default:
      return 0;
  }
}

constexpr long kRemoteFileSystem =
    0x65735546;  // FUSE's number: what `tail -f` and others take for remote
constexpr uint64_t kShownBlocks =
    1ull << 38;  // 1 PiB of 4 KiB blocks, none free: nothing can be written
constexpr uint64_t kShownFiles = 1ull << 32;

void FillStatfs(struct statfs* out) {
  memset(out, 0, sizeof *out);
  out->f_type = kRemoteFileSystem;
  out->f_bsize = 4096;
  out->f_frsize = 4096;
  out->f_blocks = kShownBlocks;
  out->f_files = kShownFiles;
  out->f_namelen = 255;
  out->f_flags = ST_RDONLY | ST_NOSUID | ST_NODEV | 0x20;  // 0x20: the flags are valid
}

void FillStatvfs(struct statvfs* out) {
  memset(out, 0, sizeof *out);
  out->f_bsize = 4096;
  out->f_frsize = 4096;
  out->f_blocks = kShownBlocks;
  out->f_files = kShownFiles;
  out->f_namemax = 255;
  out->f_flag = ST_RDONLY | ST_NOSUID | ST_NODEV;
}

bool CoveredFd(int fd) { return PST_UNLIKELY(IsCovered(PstFdKindOf(fd))); }

}  // namespace
}  // namespace penstock

using namespace penstock;

#define PST_REFUSE_FD(fd, err) \
  if (CoveredFd(fd)) return PstFail(IsPathOnly(fd) ? EBADF : (err))
// For a covered path: its own error (ENOENT...), else `err`.
#define PST_REFUSE_PATH(path, error)                                            \
  do {                                                                          \
    int there = CoveredThere(path);                                             \
    if (PST_UNLIKELY(there != 0)) return PstFail(there < 0 ? -there : (error)); \
  } while (false)

PST_EXPORT int fchmod(int fd, mode_t mode) {
  PST_REFUSE_FD(fd, EROFS);
  return real.fchmod(fd, mode);
}

PST_EXPORT int fchown(int fd, uid_t user, gid_t group) {
  PST_REFUSE_FD(fd, EROFS);
  return real.fchown(fd, user, group);
}

PST_EXPORT int futimens(int fd, const struct timespec* times) {
  PST_REFUSE_FD(fd, EROFS);
  return real.futimens(fd, times);
}

PST_EXPORT int futimes(int fd, const struct timeval* times) {
  PST_REFUSE_FD(fd, EROFS);
  return real.futimes(fd, times);
}

PST_EXPORT ssize_t fgetxattr(int fd, const char* name, void* value, size_t bytes) {
  PST_REFUSE_FD(fd, ENOTSUP);
  return real.fgetxattr(fd, name, value, bytes);
}

PST_EXPORT int fsetxattr(int fd, const char* name, const void* value, size_t bytes, int flags) {
  PST_REFUSE_FD(fd, ENOTSUP);
  return real.fsetxattr(fd, name, value, bytes, flags);
}

PST_EXPORT ssize_t flistxattr(int fd, char* list, size_t bytes) {
  if (CoveredFd(fd)) return 0;
  return real.flistxattr(fd, list, bytes);
}

PST_EXPORT int fremovexattr(int fd, const char* name) {
  PST_REFUSE_FD(fd, ENOTSUP);
  return real.fremovexattr(fd, name);
}

PST_EXPORT ssize_t getxattr(const char* path, const char* name, void* value, size_t bytes) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.getxattr(path, name, value, bytes);
}

PST_EXPORT ssize_t lgetxattr(const char* path, const char* name, void* value, size_t bytes) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.lgetxattr(path, name, value, bytes);
}

PST_EXPORT ssize_t listxattr(const char* path, char* list, size_t bytes) {
  int there = CoveredThere(path);
  if (PST_UNLIKELY(there != 0)) return there > 0 ? 0 : PstFail(-there);
  return real.listxattr(path, list, bytes);
}

PST_EXPORT ssize_t llistxattr(const char* path, char* list, size_t bytes) {
  int there = CoveredThere(path);
  if (PST_UNLIKELY(there != 0)) return there > 0 ? 0 : PstFail(-there);
  return real.llistxattr(path, list, bytes);
}

PST_EXPORT int setxattr(const char* path, const char* name, const void* value, size_t bytes,
                        int flags) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.setxattr(path, name, value, bytes, flags);
}

PST_EXPORT int lsetxattr(const char* path, const char* name, const void* value, size_t bytes,
                         int flags) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.lsetxattr(path, name, value, bytes, flags);
}

PST_EXPORT int removexattr(const char* path, const char* name) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.removexattr(path, name);
}

PST_EXPORT int lremovexattr(const char* path, const char* name) {
  PST_REFUSE_PATH(path, ENOTSUP);
  return real.lremovexattr(path, name);
}

PST_EXPORT int statfs(const char* path, struct statfs* out) {
  int there = CoveredThere(path);
  if (PST_LIKELY(there == 0)) return real.statfs(path, out);
  if (there < 0) return PstFail(-there);
  FillStatfs(out);
  return 0;
}

PST_EXPORT int fstatfs(int fd, struct statfs* out) {
  if (!CoveredFd(fd)) return real.fstatfs(fd, out);
  FillStatfs(out);
  return 0;
}

PST_EXPORT int statvfs(const char* path, struct statvfs* out) {
  int there = CoveredThere(path);
  if (PST_LIKELY(there == 0)) return real.statvfs(path, out);
  if (there < 0) return PstFail(-there);
  FillStatvfs(out);
  return 0;
}

PST_EXPORT int fstatvfs(int fd, struct statvfs* out) {
  if (!CoveredFd(fd)) return real.fstatvfs(fd, out);
  FillStatvfs(out);
  return 0;
}

PST_EXPORT long pathconf(const char* path, int name) {
  int there = CoveredThere(path);
  if (PST_LIKELY(there == 0)) return real.pathconf(path, name);
  if (there < 0) return PstFail(-there);
  return real.pathconf("/", name);  // the same limits
}

PST_EXPORT long fpathconf(int fd, int name) {
  return CoveredFd(fd) ? real.pathconf("/", name) : real.fpathconf(fd, name);
}

PST_EXPORT int inotify_add_watch(int fd, const char* path, unsigned mask) {
  PST_REFUSE_PATH(path, EOPNOTSUPP);
  return real.inotify_add_watch(fd, path, mask);
}

PST_EXPORT int fanotify_mark(int fd, unsigned flags, uint64_t mask, int dirfd, const char* path) {
  int err = ChangeErrno(dirfd, path);
  if (PST_UNLIKELY(err != 0)) return PstFail(err == EROFS ? EOPNOTSUPP : err);
  return real.fanotify_mark(fd, flags, mask, dirfd, path);
}

PST_EXPORT int name_to_handle_at(int dirfd, const char* path, struct file_handle* handle,
                                 int* mount, int flags) {
  int err = ChangeErrno(dirfd, path);
  if (PST_UNLIKELY(err != 0)) return PstFail(err == EROFS ? EOPNOTSUPP : err);
  return real.name_to_handle_at(dirfd, path, handle, mount, flags);
}

// glibc's and musl's formula.
PST_EXPORT key_t ftok(const char* path, int project) {
  PathBuffer buffer;
  Route route;
  const Cover cover = RouteOf(AT_FDCWD, path, &buffer, &route);
  if (PST_LIKELY(cover == Cover::kNone)) return real.ftok(path, project);
  struct stat info;
  if (stat(path, &info) != 0) return -1;
  return static_cast<key_t>((info.st_ino & 0xffff) | (info.st_dev & 0xff) << 16 |
                            (static_cast<unsigned>(project) & 0xff) << 24);
}
