// stat, lstat, fstat, fstatat, statx, their old __xstat forms, access and faccessat.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim/calls/landing.h"
#include "shim/calls/stat_form.h"
#include "shim/calls/support.h"
#include "shim/core/job_path.h"
#include "shim/core/links.h"

namespace penstock {
namespace {

constexpr int kStatFlags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;

enum class Result : uint8_t { kDone, kFailed, kNotOurs };

PST_COLD Result FailWith(int err) {
  errno = err;
  return Result::kFailed;
}

// A directory above a mount: the disk's if it is there (perhaps a link to it), else a virtual one.
PST_COLD Result StatAncestor(const Route& route, bool follow, struct stat* out) {
  KeepErrno keep;
  if (!follow && !route.must_be_dir && real.lstat(route.full, out) == 0) return Result::kDone;
  if (real.stat(route.full, out) == 0) return Result::kDone;
  PstFillVirtualStat(route.full, (uint32_t)strlen(route.full), out);
  return Result::kDone;
}

// `follow`: for a name outside of every mount or above one, whose last component may be a link.
Result StatRoute(const Route& route, bool follow, struct stat* out) {
  if (PST_UNLIKELY(route.cover != Cover::kMount)) {
    if (route.cover == Cover::kNone)
      return (follow ? real.stat(route.full, out) : real.lstat(route.full, out)) == 0
                 ? Result::kDone
                 : Result::kFailed;
    return route.cover == Cover::kError ? FailWith(route.err) : StatAncestor(route, follow, out);
  }
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (PST_UNLIKELY(err != 0)) return FailWith(err);
  PstFillStat(route.view->mounts[route.mount], attr, out);
  return Result::kDone;
}

PST_INLINE Result StatPath(int dirfd, const char* path, bool follow, struct stat* out) {
  if (PST_LIKELY(PstStatKnown(path, out))) return Result::kDone;
  if (!PstMayCover(dirfd, path)) return Result::kNotOurs;
  PathBuffer buffer;
  Route route;
  if (PST_UNLIKELY(PstRoute(dirfd, path, &buffer, &route) == Cover::kNone) && route.full == nullptr)
    return Result::kNotOurs;
  return StatRoute(route, follow, out);
}

// The kernel found nothing: perhaps a link outside leads into a mount.
PST_COLD Result StatThroughLinks(int dirfd, const char* path, bool follow, struct stat* out) {
  if (errno != ENOENT || !g_config.active) return Result::kNotOurs;
  LinkedPath linked;
  Route route;
  if (!PstRouteThroughLinks(dirfd, path, follow, &linked, &route)) return Result::kNotOurs;
  return StatRoute(route, follow, out);
}

// The kernel would find the local disk's: a link leads into a mount that is on disk too.
PST_COLD Result StatLanded(int dirfd, const char* path, bool follow, struct stat* out) {
  LinkedPath linked;
  Route route;
  return PstLands(dirfd, path, follow, &linked, &route) ? StatRoute(route, follow, out)
                                                        : Result::kNotOurs;
}

Result StatFd(int fd, struct stat* out) {
  FdKind kind = PstFdKindOf(fd);
  if (PST_LIKELY(kind == kFdNone) || kind == kFdAncestor) return Result::kNotOurs;
  if (kind == kFdOwn) return FailWith(EBADF);
  FdEntry entry;
  const View* view = PstView();
  if (view == nullptr || !PstFdSnapshot(fd, &entry) || entry.mount >= view->mount_count)
    return Result::kNotOurs;
  if (PST_UNLIKELY(entry.mtime_ns == INT64_MIN)) PstCompleteEntry(fd, &entry);
  PstFillStat(view->mounts[entry.mount], entry, out);
  return Result::kDone;
}

Result StatCwd(struct stat* out) { return StatPath(AT_FDCWD, ".", true, out); }

Result StatAt(int dirfd, const char* path, struct stat* out, int flags) {
  if ((flags & AT_EMPTY_PATH) != 0 && (path == nullptr || path[0] == 0))
    return dirfd == AT_FDCWD ? StatCwd(out) : StatFd(dirfd, out);
  return StatPath(dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, out);
}

int Answer(Result result) { return result == Result::kDone ? 0 : -1; }

}  // namespace

void PstWidenStat(const struct stat& from, struct statx* out) {
  memset(out, 0, sizeof *out);
  out->stx_mask = STATX_BASIC_STATS;
  out->stx_blksize = (uint32_t)from.st_blksize;
  out->stx_nlink = (uint32_t)from.st_nlink;
  out->stx_uid = from.st_uid;
  out->stx_gid = from.st_gid;
  out->stx_mode = (uint16_t)from.st_mode;
  out->stx_ino = from.st_ino;
  out->stx_size = (uint64_t)from.st_size;
  out->stx_blocks = (uint64_t)from.st_blocks;
  out->stx_atime = {from.st_atim.tv_sec, (uint32_t)from.st_atim.tv_nsec, {}};
  out->stx_mtime = {from.st_mtim.tv_sec, (uint32_t)from.st_mtim.tv_nsec, {}};
  out->stx_ctime = {from.st_ctim.tv_sec, (uint32_t)from.st_ctim.tv_nsec, {}};
  out->stx_dev_major = major(from.st_dev);
  out->stx_dev_minor = minor(from.st_dev);
}

namespace {

Result AccessRoute(const Route& route, int mode, bool effective) {
  if (route.cover == Cover::kError) return FailWith(route.err);
  if (route.cover == Cover::kNone) return real.access(route.full, mode) == 0 ? Result::kDone : Result::kFailed;
  if (route.cover == Cover::kAncestor) {
    {
      KeepErrno keep;
      struct stat info;
      if (real.stat(route.full, &info) == 0)
        return real.access(route.full, mode) == 0 ? Result::kDone : FailWith(errno);
    }
    return (mode & W_OK) != 0 ? FailWith(EROFS) : Result::kDone;
  }
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err == 0) err = PstCheckAccess(route.view->mounts[route.mount], attr, mode, effective);
  return err == 0 ? Result::kDone : FailWith(err);
}

Result AccessAt(int dirfd, const char* path, int mode, bool effective) {
  if (!PstMayCover(dirfd, path)) return Result::kNotOurs;
  if (PST_UNLIKELY((mode & ~(R_OK | W_OK | X_OK)) != 0)) return FailWith(EINVAL);
  PathBuffer buffer;
  Route route;
  if (PstRoute(dirfd, path, &buffer, &route) == Cover::kNone && route.full == nullptr) return Result::kNotOurs;
  return AccessRoute(route, mode, effective);
}

PST_COLD Result AccessLanded(int dirfd, const char* path, int mode, bool effective) {
  LinkedPath linked;
  Route route;
  return PstLands(dirfd, path, true, &linked, &route) ? AccessRoute(route, mode, effective)
                                                      : Result::kNotOurs;
}

// A link of one of our numbers, see StatNumber.
PST_COLD Result AccessNumber(const char* path, int mode, bool effective) {
  const int number = g_config.active ? PstNumberNamed(path) : -1;
  FdEntry entry;
  const View* view = PstView();
  if (number < 0 || !IsCovered(PstFdKindOf(number)) || view == nullptr || !PstFdSnapshot(number, &entry) ||
      entry.mount >= view->mount_count)
    return Result::kNotOurs;
  if (PST_UNLIKELY(entry.mtime_ns == INT64_MIN)) PstCompleteEntry(number, &entry);
  pst_attr attr = {};
  attr.kind = entry.kind == kFdDirectory ? PST_KIND_DIRECTORY : PST_KIND_FILE;
  attr.mode = entry.mode;
  const int err = PstCheckAccess(view->mounts[entry.mount], attr, mode, effective);
  return err == 0 ? Result::kDone : FailWith(err);
}

// As AccessAt, and through links.
PST_INLINE Result AccessOurs(int dirfd, const char* path, int mode, bool effective) {
  Result result = AccessAt(dirfd, path, mode, effective);
  if (result == Result::kNotOurs && PstMayLand()) result = AccessLanded(dirfd, path, mode, effective);
  if (result == Result::kNotOurs && PST_UNLIKELY(PstMayNameNumber(path)))
    result = AccessNumber(path, mode, effective);
  return result;
}

PST_COLD int AccessThroughLinks(int dirfd, const char* path, int mode, bool effective, int result) {
  if (errno != ENOENT || !g_config.active) return result;
  LinkedPath linked;
  Route route;
  if (!PstRouteThroughLinks(dirfd, path, true, &linked, &route)) return result;
  Result found = AccessRoute(route, mode, effective);
  return found == Result::kNotOurs ? result : Answer(found);
}

// The kernel has allowed something. By a number's link (/dev/fd/N) it looked at the reservation.
PST_COLD int AccessByNumber(const char* path, int mode, bool effective) {
  if (!g_config.active || path == nullptr ||
      (strncmp(path, "/dev/", 5) != 0 && strncmp(path, "/proc/", 6) != 0))
    return 0;
  KeepErrno keep;
  Scratch scratch;
  char* name = scratch.Get();
  if (name == nullptr || realpath(path, name) == nullptr) return 0;
  Result found = AccessAt(AT_FDCWD, name, mode, effective);
  if (found == Result::kFailed) keep.Set(errno);
  return found == Result::kFailed ? -1 : 0;
}

// A link of a number (/dev/fd/N, /proc/PID/fd/N) led the kernel to a socket: perhaps to a reservation, which
// stands for one of our files. Changes nothing otherwise.
PST_COLD Result StatByNumber(const char* path, struct stat* out) {
  if (!g_config.active || path == nullptr || path[0] != '/') return Result::kNotOurs;
  KeepErrno keep;
  Scratch scratch;
  char* name = scratch.Get();
  return name != nullptr && realpath(path, name) != nullptr &&
                 StatPath(AT_FDCWD, name, true, out) == Result::kDone
             ? Result::kDone
             : Result::kNotOurs;
}

// A link of one of our numbers: what the number shows. The kernel would show the reservation or the object.
PST_COLD Result StatNumber(const char* path, struct stat* out) {
  if (!g_config.active) return Result::kNotOurs;
  const int number = PstNumberNamed(path);
  return number >= 0 && IsCovered(PstFdKindOf(number)) ? StatFd(number, out) : Result::kNotOurs;
}

// The end of a stat by name: done, or the kernel's answer, or what a link leads to.
template <class Call>
PST_INLINE int Settle(Result result, int dirfd, const char* path, bool follow, struct stat* out, Call call) {
  if (PST_LIKELY(result != Result::kNotOurs)) return Answer(result);
  if (PstMayLand()) {
    result = StatLanded(dirfd, path, follow, out);
    if (result != Result::kNotOurs) return Answer(result);
  }
  if (PST_UNLIKELY(PstMayNameNumber(path)) && follow) {
    result = StatNumber(path, out);
    if (result != Result::kNotOurs) return Answer(result);
  }
  int kernel = call();
  if (PST_LIKELY(kernel == 0)) {
    if (PST_UNLIKELY(S_ISSOCK(out->st_mode)) && follow) StatByNumber(path, out);
    return 0;
  }
  Result linked = StatThroughLinks(dirfd, path, follow, out);
  return linked == Result::kNotOurs ? kernel : Answer(linked);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int stat(const char* path, struct stat* out) {
  return Settle(StatPath(AT_FDCWD, path, true, out), AT_FDCWD, path, true, out,
                [&] { return real.stat(path, out); });
}

PST_EXPORT int lstat(const char* path, struct stat* out) {
  return Settle(StatPath(AT_FDCWD, path, false, out), AT_FDCWD, path, false, out,
                [&] { return real.lstat(path, out); });
}

PST_EXPORT int fstat(int fd, struct stat* out) {
  Result result = StatFd(fd, out);
  return PST_LIKELY(result == Result::kNotOurs) ? real.fstat(fd, out) : Answer(result);
}

PST_EXPORT int fstatat(int dirfd, const char* path, struct stat* out, int flags) {
  if (PST_UNLIKELY((flags & ~kStatFlags) != 0)) return real.fstatat(dirfd, path, out, flags);
  return Settle(StatAt(dirfd, path, out, flags), dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, out,
                [&] { return real.fstatat(dirfd, path, out, flags); });
}

PST_EXPORT int statx(int dirfd, const char* path, int flags, unsigned mask, struct statx* out) {
  constexpr int kKnown = kStatFlags | AT_STATX_SYNC_TYPE;
  if (PST_UNLIKELY((flags & ~kKnown) != 0 || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE))
    return real.statx(dirfd, path, flags, mask, out);
  struct stat info;
  Result result = StatAt(dirfd, path, &info, flags);
  bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  if (PST_LIKELY(result == Result::kNotOurs) && PstMayLand()) result = StatLanded(dirfd, path, follow, &info);
  if (PST_LIKELY(result == Result::kNotOurs) && PST_UNLIKELY(PstMayNameNumber(path)) && follow)
    result = StatNumber(path, &info);
  if (PST_LIKELY(result == Result::kNotOurs)) {
    int kernel = real.statx(dirfd, path, flags, mask, out);
    if (PST_LIKELY(kernel == 0)) {
      if (PST_LIKELY(!S_ISSOCK(out->stx_mode)) || !follow) return 0;
      result = StatByNumber(path, &info);
    } else {
      result = StatThroughLinks(dirfd, path, follow, &info);
    }
    if (result == Result::kNotOurs) return kernel;
  }
  if (result == Result::kDone) PstWidenStat(info, out);
  return Answer(result);
}

PST_EXPORT int __xstat(int version, const char* path, struct stat* out) {
  return Settle(StatPath(AT_FDCWD, path, true, out), AT_FDCWD, path, true, out,
                [&] { return real.__xstat(version, path, out); });
}

PST_EXPORT int __lxstat(int version, const char* path, struct stat* out) {
  return Settle(StatPath(AT_FDCWD, path, false, out), AT_FDCWD, path, false, out,
                [&] { return real.__lxstat(version, path, out); });
}

PST_EXPORT int __fxstat(int version, int fd, struct stat* out) {
  Result result = StatFd(fd, out);
  return PST_LIKELY(result == Result::kNotOurs) ? real.__fxstat(version, fd, out) : Answer(result);
}

PST_EXPORT int __fxstatat(int version, int dirfd, const char* path, struct stat* out, int flags) {
  if (PST_UNLIKELY((flags & ~kStatFlags) != 0)) return real.__fxstatat(version, dirfd, path, out, flags);
  return Settle(StatAt(dirfd, path, out, flags), dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, out,
                [&] { return real.__fxstatat(version, dirfd, path, out, flags); });
}

PST_EXPORT int access(const char* path, int mode) {
  Result result = AccessOurs(AT_FDCWD, path, mode, false);
  if (PST_LIKELY(result == Result::kNotOurs)) {
    int kernel = real.access(path, mode);
    if (PST_LIKELY(kernel == 0))
      return (mode & (W_OK | X_OK)) == 0 ? 0 : AccessByNumber(path, mode, false);
    return AccessThroughLinks(AT_FDCWD, path, mode, false, kernel);
  }
  return Answer(result);
}

PST_EXPORT int eaccess(const char* path, int mode) {
  Result result = AccessOurs(AT_FDCWD, path, mode, true);
  if (PST_LIKELY(result == Result::kNotOurs)) {
    int kernel = real.eaccess(path, mode);
    if (PST_LIKELY(kernel == 0))
      return (mode & (W_OK | X_OK)) == 0 ? 0 : AccessByNumber(path, mode, true);
    return AccessThroughLinks(AT_FDCWD, path, mode, true, kernel);
  }
  return Answer(result);
}

PST_EXPORT int faccessat(int dirfd, const char* path, int mode, int flags) {
  if ((flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
    return real.faccessat(dirfd, path, mode, flags);
  const bool effective = (flags & AT_EACCESS) != 0;
  if ((flags & AT_EMPTY_PATH) != 0 && path != nullptr && path[0] == 0) {
    struct stat info;
    Result own = dirfd == AT_FDCWD ? StatCwd(&info) : StatFd(dirfd, &info);
    if (own == Result::kNotOurs) return real.faccessat(dirfd, path, mode, flags);
    if (own == Result::kDone && (mode & W_OK) != 0) return PstFail(EROFS);
    return Answer(own);
  }
  Result result = AccessOurs(dirfd, path, mode, effective);
  if (PST_LIKELY(result == Result::kNotOurs)) {
    int kernel = real.faccessat(dirfd, path, mode, flags);
    if (PST_LIKELY(kernel == 0))
      return (mode & (W_OK | X_OK)) == 0 || (flags & AT_SYMLINK_NOFOLLOW) != 0
                 ? 0
                 : AccessByNumber(path, mode, effective);
    return AccessThroughLinks(dirfd, path, mode, effective, kernel);
  }
  return Answer(result);
}
