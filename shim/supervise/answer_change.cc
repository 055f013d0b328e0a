// Calls that change names or attributes. On a covered name this library's own call refuses them,
// with the errno that a read-only file system would give.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "shim/calls/support.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/numbers.h"

namespace penstock {
namespace {

int I(uint64_t value) { return static_cast<int>(value); }
auto M(uint64_t value) { return static_cast<mode_t>(value); }

// Where a call has its paths: (dirfd, path) as argument numbers; -1: the working directory, or no
// second path.
struct Paths {
  long number;
  signed char dirfd, path, dirfd2, path2;
};

constexpr signed char kNone = -1;
constexpr Paths kPaths[] = {
#ifdef SYS_open
    {SYS_mkdir, kNone, 0, kNone, kNone},
    {SYS_rmdir, kNone, 0, kNone, kNone},
    {SYS_unlink, kNone, 0, kNone, kNone},
    {SYS_rename, kNone, 0, kNone, 1},
    {SYS_link, kNone, 0, kNone, 1},
    {SYS_symlink, kNone, 1, kNone, kNone},
    {SYS_mknod, kNone, 0, kNone, kNone},
    {SYS_chmod, kNone, 0, kNone, kNone},
    {SYS_chown, kNone, 0, kNone, kNone},
    {SYS_lchown, kNone, 0, kNone, kNone},
    {SYS_utime, kNone, 0, kNone, kNone},
    {SYS_utimes, kNone, 0, kNone, kNone},
    {SYS_futimesat, 0, 1, kNone, kNone},
#endif
#ifdef SYS_renameat
    {SYS_renameat, 0, 1, 2, 3},
#endif
    {SYS_mkdirat, 0, 1, kNone, kNone},
    {SYS_unlinkat, 0, 1, kNone, kNone},
    {SYS_renameat2, 0, 1, 2, 3},
    {SYS_linkat, 0, 1, 2, 3},
    {SYS_symlinkat, 1, 2, kNone, kNone},
    {SYS_mknodat, 0, 1, kNone, kNone},
    {SYS_fchmodat, 0, 1, kNone, kNone},
    {SYS_fchmodat2, 0, 1, kNone, kNone},
    {SYS_fchownat, 0, 1, kNone, kNone},
    {SYS_utimensat, 0, 1, kNone, kNone},
    {SYS_truncate, kNone, 0, kNone, kNone},
    {SYS_setxattr, kNone, 0, kNone, kNone},
    {SYS_lsetxattr, kNone, 0, kNone, kNone},
    {SYS_getxattr, kNone, 0, kNone, kNone},
    {SYS_lgetxattr, kNone, 0, kNone, kNone},
    {SYS_listxattr, kNone, 0, kNone, kNone},
    {SYS_llistxattr, kNone, 0, kNone, kNone},
    {SYS_removexattr, kNone, 0, kNone, kNone},
    {SYS_lremovexattr, kNone, 0, kNone, kNone},
    {SYS_inotify_add_watch, kNone, 1, kNone, kNone},
    {SYS_name_to_handle_at, 0, 1, kNone, kNone},
};

// This library's call on the same name. What it would read or write through pointers is not passed
// on: on a covered name it does not get that far, and outside (where ".." left a folder of ours)
// only what needs none is done.
long Change(const Call& call, const char* path, const char* path2, bool covered) {
  const uint64_t* a = call.args;
  switch (call.number) {
#ifdef SYS_open
    case SYS_mkdir:
      return mkdir(path, M(a[1]));
    case SYS_rmdir:
      return rmdir(path);
    case SYS_unlink:
      return unlink(path);
    case SYS_rename:
      return rename(path, path2);
    case SYS_link:
      return link(path, path2);
    case SYS_symlink:
      return symlink("", path);
    case SYS_mknod:
      return mknod(path, M(a[1]), a[2]);
    case SYS_chmod:
      return chmod(path, M(a[1]));
    case SYS_chown:
      return chown(path, static_cast<uid_t>(a[1]), static_cast<gid_t>(a[2]));
    case SYS_lchown:
      return lchown(path, static_cast<uid_t>(a[1]), static_cast<gid_t>(a[2]));
#endif
#ifdef SYS_renameat
    case SYS_renameat:
      return renameat(AT_FDCWD, path, AT_FDCWD, path2);
#endif
    case SYS_mkdirat:
      return mkdir(path, M(a[2]));
    case SYS_unlinkat:
      return unlinkat(AT_FDCWD, path, I(a[2]));
    case SYS_renameat2:
      return renameat2(AT_FDCWD, path, AT_FDCWD, path2, static_cast<unsigned>(a[4]));
    case SYS_linkat:
      return linkat(AT_FDCWD, path, AT_FDCWD, path2, I(a[4]));
    case SYS_symlinkat:
      return symlink("", path);
    case SYS_mknodat:
      return mknod(path, M(a[2]), a[3]);
    case SYS_fchmodat:
    case SYS_fchmodat2:
      return chmod(path, M(a[2]));
    case SYS_fchownat:
      return fchownat(AT_FDCWD, path, static_cast<uid_t>(a[2]), static_cast<gid_t>(a[3]), I(a[4]));
    case SYS_truncate:
      return truncate(path, static_cast<off_t>(a[1]));
    default:
      break;
  }
  if (!covered) return PstFail(EXDEV);
  switch (call.number) {
#ifdef SYS_open
    case SYS_utime:
    case SYS_utimes:
    case SYS_futimesat:
#endif
    case SYS_utimensat:
      return utimensat(AT_FDCWD, path, nullptr, 0);
    case SYS_setxattr:
    case SYS_lsetxattr:
      return setxattr(path, "user.x", "", 0, 0);
    case SYS_getxattr:
    case SYS_lgetxattr:
      return getxattr(path, "user.x", nullptr, 0);
    case SYS_listxattr:
    case SYS_llistxattr:
      return listxattr(path, nullptr, 0);
    case SYS_removexattr:
    case SYS_lremovexattr:
      return removexattr(path, "user.x");
    case SYS_inotify_add_watch:
      return inotify_add_watch(-1, path, IN_ACCESS);
    default:
      return PstFail(EOPNOTSUPP);  // name_to_handle_at
  }
}

// Does a link as the last component stand for itself?
bool KeepsLink(long number) {
  switch (number) {
#ifdef SYS_open
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_unlink:
    case SYS_rename:
    case SYS_link:
    case SYS_symlink:
    case SYS_mknod:
    case SYS_lchown:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_mkdirat:
    case SYS_unlinkat:
    case SYS_renameat2:
    case SYS_linkat:
    case SYS_symlinkat:
    case SYS_mknodat:
    case SYS_lsetxattr:
    case SYS_lgetxattr:
    case SYS_llistxattr:
    case SYS_lremovexattr:
      return true;
    default:
      return false;
  }
}

// Refuses, even where the link would only be made outside: its target was not passed on.
bool MakesLink(long number) {
#ifdef SYS_symlink
  if (number == SYS_symlink) return true;
#endif
  return number == SYS_symlinkat;
}

// A path through an empty name means the descriptor.
bool NamesDescriptor(const Call& call, const Paths& paths) {
  char first = 1;
  return paths.dirfd != kNone &&
         (call.args[paths.path] == 0 ||
          (PstReadMemory(call, call.args[paths.path], &first, 1) == 0 && first == '\0'));
}

}  // namespace

Outcome PstAnswerChange(const Call& call) {
  const Paths* paths = nullptr;
  for (const Paths& each : kPaths)
    if (each.number == call.number) paths = &each;
  if (paths == nullptr || NamesDescriptor(call, *paths)) return kPassOn;
  auto dirfd = [&call](signed char at) { return at == kNone ? AT_FDCWD : I(call.args[at]); };
  Place place, second;
  int err =
      PstLocate(call, dirfd(paths->dirfd), call.args[paths->path], !KeepsLink(call.number), &place);
  if (err == 0 && paths->path2 != kNone)
    err = PstLocate(call, dirfd(paths->dirfd2), call.args[paths->path2], false, &second);
  if (err != 0) return Value(err);
  if (!place.ours && !second.ours) return kPassOn;
  bool covered =
      place.route.cover != Cover::kNone || (second.ours && second.route.cover != Cover::kNone);
  if (!covered && MakesLink(call.number)) return Value(-EXDEV);
  long result = Change(call, place.path, second.path, covered);
  return Value(result < 0 ? -errno : result);
}

}  // namespace penstock
