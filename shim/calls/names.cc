// Calls that change the name space or a file by its name. Mounts are read-only: what Linux says of
// a read-only file system first (ENOENT, ENOTDIR, EEXIST, EISDIR, EBUSY) is answered first, then
// EROFS. Nothing falls through to the local file system.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "shim/calls/landing.h"
#include "shim/calls/support.h"
#include "shim/core/raw.h"

namespace penstock {
namespace {

enum class Wants : uint8_t {
  kNew,        // makes the name: EEXIST if it is there
  kNewFolder,  // the same, and a slash may stand behind it
  kGone,  // unlink: Linux looks at the folder, then whether it may write there, and only then at
          // the name
  kGoneFolder,  // rmdir: the same
  kMoved,       // rename: the same
  kOld,         // changes what the name stands for: ENOENT if it is not there
  kOldFile,     // the same, and a directory is EISDIR
};

enum class Last : uint8_t { kName, kDot, kDotDot, kNone };

// What the last component of a path is.
Last LastOf(const char* path) {
  const char* end = path + strlen(path);
  while (end > path && end[-1] == '/') --end;
  const char* start = end;
  while (start > path && start[-1] != '/') --start;
  if (end == start) return Last::kNone;
  if (start[0] != '.' || end - start > 2) return Last::kName;
  return end - start == 1 ? Last::kDot : start[1] == '.' ? Last::kDotDot : Last::kName;
}

// Does `path` of a covered name lead to an existing folder? 0 or the errno.
int ParentErrno(const Route& route) {
  if (route.rel_len == 0) return 0;
  uint32_t parent_len = route.rel_len;
  while (parent_len > 0 && route.rel[parent_len - 1] != '/') --parent_len;
  Scratch scratch;
  char* full = scratch.Get();
  if (full == nullptr) return ENOMEM;
  PstFullPath(route.view, route.mount, route.rel, parent_len > 0 ? parent_len - 1 : 0, full);
  PathBuffer buffer;
  Route parent;
  pst_attr attr;
  if (PstRoute(AT_FDCWD, full, &buffer, &parent) != Cover::kMount) return 0;
  int err = PstLookup(parent, &attr);
  return err != 0 ? err : attr.kind == PST_KIND_DIRECTORY ? 0 : ENOTDIR;
}

// The errno of making a name.
int NewErrno(const Route& route, Last last, bool folder) {
  pst_attr attr;
  if (last != Last::kName) {
    int err = PstLookup(route, &attr);
    return err != 0 ? err : EEXIST;
  }
  Route bare = route;
  bare.must_be_dir = bare.trailing_slash = false;
  int err = PstLookup(bare, &attr);
  if (err == 0) return EEXIST;
  if (err != ENOENT) return err;
  err = ParentErrno(route);
  return err != 0 ? err : route.trailing_slash && !folder ? ENOENT : EROFS;
}

// The errno of removing or renaming.
int GoneErrno(const Route& route, Last last, Wants wants) {
  pst_attr attr;
  if (last == Last::kName) {
    int err = ParentErrno(route);
    return err != 0 ? err : EROFS;
  }
  int err = PstLookup(route, &attr);
  if (err != 0 || wants == Wants::kMoved) return err != 0 ? err : EROFS;
  if (wants == Wants::kGone) return EISDIR;
  return last == Last::kDot ? EINVAL : last == Last::kDotDot ? ENOTEMPTY : EBUSY;
}

int MountErrno(const Route& route, Wants wants, Last last) {
  if (wants == Wants::kNew || wants == Wants::kNewFolder)
    return NewErrno(route, last, wants == Wants::kNewFolder);
  if (wants != Wants::kOld && wants != Wants::kOldFile) return GoneErrno(route, last, wants);
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err != 0) return err;
  return wants == Wants::kOldFile && attr.kind == PST_KIND_DIRECTORY ? EISDIR : EROFS;
}

// A directory above a mount: the local one if it is on disk, else it exists only for us.
int AncestorErrno(const Route& route, Wants wants, Last last) {
  struct stat st;
  KeepErrno keep;
  if (real.lstat(route.full, &st) == 0) return 0;
  if (wants == Wants::kNew || wants == Wants::kNewFolder) return EEXIST;
  if (wants == Wants::kOld) return EROFS;
  if (wants == Wants::kGoneFolder && last == Last::kDotDot) return ENOTEMPTY;
  return wants == Wants::kOldFile || wants == Wants::kGone ? EISDIR : EBUSY;
}

// As MountErrno for a name that leads through a link into a mount whose path is on the local disk too; 0 for others.
PST_COLD int LandedErrno(int dirfd, const char* path, Wants wants) {
  LinkedPath linked;
  Route route;
  if (!PstLands(dirfd, path, false, &linked, &route)) return 0;
  return route.cover == Cover::kError ? route.err : MountErrno(route, wants, LastOf(path));
}

// 0: not covered, the call is the kernel's. Else the errno to give. Where ".." left a mount, `path` becomes the
// absolute name in `buffer`, because the kernel stands in a shadow directory.
int Refusal(int dirfd, const char*& path, Wants wants, PathBuffer* buffer) {
  Route route;
  switch (RouteOf(dirfd, path, buffer, &route)) {
    case Cover::kMount:
      return MountErrno(route, wants, LastOf(path));
    case Cover::kAncestor:
      if (int err = AncestorErrno(route, wants, LastOf(path)); err != 0) return err;
      break;
    case Cover::kError:
      return route.err;
    default:
      if (PST_LIKELY(!PstMayLand())) break;
      if (int err = LandedErrno(dirfd, path, wants); err != 0) return err;
      break;
  }
  if (PST_UNLIKELY(route.full != nullptr)) path = route.full;
  return 0;
}

// The mount of a path, -1 if it has none.
int64_t MountOf(int dirfd, const char* path) {
  PathBuffer buffer;
  Route route;
  return RouteOf(dirfd, path, &buffer, &route) == Cover::kMount ? static_cast<int64_t>(route.mount)
                                                                : -1;
}

// Calls on a number through an empty or missing path: futimens and what AT_EMPTY_PATH allows.
bool NamesCoveredFd(int dirfd, const char* path, int flags) {
  return (path == nullptr || (*path == '\0' && (flags & AT_EMPTY_PATH) != 0)) &&
         IsCovered(PstFdKindOf(dirfd));
}

// A pattern is written to, so another name cannot stand in for it: one that leads out of a mount by ".." is
// refused rather than made in a shadow directory.
int PatternRefusal(char* pattern) {
  PathBuffer outside;
  const char* path = pattern;
  int err = Refusal(AT_FDCWD, path, Wants::kNew, &outside);
  return err != 0 || path == pattern ? err : EROFS;
}

// What cannot be made anywhere. 0: a kind that there is.
int KindErrno(mode_t mode) {
  switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return 0;
    default:
      return S_ISDIR(mode) ? EPERM : EINVAL;
  }
}

// A name outside: is there a folder for it? 0 or the errno. The kernel asks that of both names
// first.
int OutsideParentErrno(int dirfd, const char* path) {
  const char* slash = strrchr(path, '/');
  if (slash == nullptr || slash == path) return 0;
  Scratch scratch;
  char* folder = scratch.Get();
  const auto len = static_cast<size_t>(slash - path);
  if (folder == nullptr || len + 3 > kScratchBytes) return ENAMETOOLONG;
  memcpy(folder, path, len);
  strcpy(folder + len, "/.");
  return static_cast<int>(-Raw(SYS_faccessat, dirfd, folder, F_OK));
}

// One side of a rename: what stands against it before the two are looked at together, or 0.
// *covered: it is ours.
int MovedErrno(int dirfd, const char*& path, PathBuffer* buffer, bool* covered) {
  int err = Refusal(dirfd, path, Wants::kMoved, buffer);
  *covered = err != 0;
  return err == EROFS ? 0 : err;
}

// rename: both in one mount, or EXDEV.
int RenameRefusal(int from_dirfd, const char*& from, int to_dirfd, const char*& to, unsigned flags,
                  PathBuffer* buffers) {
  bool from_covered, to_covered;
  constexpr unsigned kNoReplace = 1, kExchange = 2, kWhiteout = 4;
  int from_err = MovedErrno(from_dirfd, from, &buffers[0], &from_covered);
  int to_err = MovedErrno(to_dirfd, to, &buffers[1], &to_covered);
  if (PST_LIKELY(!from_covered && !to_covered)) return 0;
  if ((flags & ~(kNoReplace | kExchange | kWhiteout)) != 0 ||
      ((flags & kExchange) != 0 && (flags & ~kExchange) != 0))
    return EINVAL;
  if (from[0] == '\0') return ENOENT;
  if (from_err != 0 && from_err != EBUSY) return from_err;
  if (!from_covered && (from_err = OutsideParentErrno(from_dirfd, from)) != 0) return from_err;
  if (to[0] == '\0') return ENOENT;
  if (to_err != 0 && to_err != EBUSY) return to_err;
  if (!to_covered && (to_err = OutsideParentErrno(to_dirfd, to)) != 0) return to_err;
  if (!from_covered || !to_covered) return EXDEV;
  if (from_err != 0 || LastOf(from) != Last::kName) return EBUSY;
  if (to_err != 0 || LastOf(to) != Last::kName) return (flags & kNoReplace) != 0 ? EEXIST : EBUSY;
  return MountOf(from_dirfd, from) == MountOf(to_dirfd, to) ? EROFS : EXDEV;
}

// link: what is linked must be there, then the new name must be possible, then both in one mount.
int LinkRefusal(int from_dirfd, const char*& from, int to_dirfd, const char*& to, bool follow,
                PathBuffer* buffers) {
  int from_err = Refusal(from_dirfd, from, Wants::kOld, &buffers[0]);
  int to_err = Refusal(to_dirfd, to, Wants::kNew, &buffers[1]);
  if (PST_LIKELY(from_err == 0 && to_err == 0)) return 0;
  if (from[0] == '\0') return ENOENT;
  if (from_err != 0 && from_err != EROFS && from_err != EBUSY) return from_err;
  struct stat info;
  if (from_err == 0 && real.fstatat(from_dirfd, from, &info, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  if (to[0] == '\0') return ENOENT;
  if (to_err != 0) return to_err;
  if (int err = OutsideParentErrno(to_dirfd, to); err != 0) return err;
  return real.fstatat(to_dirfd, to, &info, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : EXDEV;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

#define PST_REFUSE(dirfd, path, wants) \
  PathBuffer outside;                  \
  if (int err = Refusal(dirfd, path, Wants::wants, &outside); PST_UNLIKELY(err != 0)) return PstFail(err)
#define PST_REFUSE_AT(dirfd, path, wants)                                      \
  if (PST_UNLIKELY(NamesCoveredFd(dirfd, path, flags))) return PstFail(EROFS); \
  PST_REFUSE(dirfd, path, wants)

PST_EXPORT int mkdir(const char* path, mode_t mode) {
  PST_REFUSE(AT_FDCWD, path, kNewFolder);
  return real.mkdir(path, mode);
}

PST_EXPORT int mkdirat(int dirfd, const char* path, mode_t mode) {
  PST_REFUSE(dirfd, path, kNewFolder);
  return real.mkdirat(dirfd, path, mode);
}

PST_EXPORT int rmdir(const char* path) {
  PST_REFUSE(AT_FDCWD, path, kGoneFolder);
  return real.rmdir(path);
}

PST_EXPORT int unlink(const char* path) {
  PST_REFUSE(AT_FDCWD, path, kGone);
  return real.unlink(path);
}

PST_EXPORT int unlinkat(int dirfd, const char* path, int flags) {
  PathBuffer outside;
  if (int err = Refusal(dirfd, path,
                        (flags & AT_REMOVEDIR) != 0 ? Wants::kGoneFolder : Wants::kGone, &outside);
      PST_UNLIKELY(err != 0))
    return PstFail((flags & ~AT_REMOVEDIR) != 0 ? EINVAL : err);
  return real.unlinkat(dirfd, path, flags);
}

PST_EXPORT int remove(const char* path) {
  PathBuffer outside;
  const char* first = path;
  int err = Refusal(AT_FDCWD, first, Wants::kGone, &outside);
  if (PST_UNLIKELY(err == EISDIR)) return rmdir(path);
  return PST_UNLIKELY(err != 0) ? PstFail(err) : real.remove(first);
}

PST_EXPORT int rename(const char* from, const char* to) {
  PathBuffer outside[2];
  if (int err = RenameRefusal(AT_FDCWD, from, AT_FDCWD, to, 0, outside); PST_UNLIKELY(err != 0))
    return PstFail(err);
  return real.rename(from, to);
}

PST_EXPORT int renameat(int from_dirfd, const char* from, int to_dirfd, const char* to) {
  PathBuffer outside[2];
  if (int err = RenameRefusal(from_dirfd, from, to_dirfd, to, 0, outside); PST_UNLIKELY(err != 0))
    return PstFail(err);
  return real.renameat(from_dirfd, from, to_dirfd, to);
}

PST_EXPORT int renameat2(int from_dirfd, const char* from, int to_dirfd, const char* to,
                         unsigned flags) {
  PathBuffer outside[2];
  if (int err = RenameRefusal(from_dirfd, from, to_dirfd, to, flags, outside);
      PST_UNLIKELY(err != 0))
    return PstFail(err);
  return real.renameat2(from_dirfd, from, to_dirfd, to, flags);
}

PST_EXPORT int link(const char* from, const char* to) {
  PathBuffer outside[2];
  if (int err = LinkRefusal(AT_FDCWD, from, AT_FDCWD, to, false, outside); PST_UNLIKELY(err != 0))
    return PstFail(err);
  return real.link(from, to);
}

PST_EXPORT int linkat(int from_dirfd, const char* from, int to_dirfd, const char* to, int flags) {
  if (PST_UNLIKELY((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_FOLLOW)) != 0)) return PstFail(EINVAL);
  if (PST_UNLIKELY(NamesCoveredFd(from_dirfd, from, flags))) {
    PathBuffer outside;
    int err = Refusal(to_dirfd, to, Wants::kNew, &outside);
    return PstFail(err != 0 ? err : EXDEV);
  }
  PathBuffer outside[2];
  if (int err =
          LinkRefusal(from_dirfd, from, to_dirfd, to, (flags & AT_SYMLINK_FOLLOW) != 0, outside);
      PST_UNLIKELY(err != 0))
    return PstFail(err);
  return real.linkat(from_dirfd, from, to_dirfd, to, flags);
}

PST_EXPORT int symlink(const char* target, const char* path) {
  if (PST_UNLIKELY(target != nullptr && target[0] == '\0')) return PstFail(ENOENT);
  PST_REFUSE(AT_FDCWD, path, kNew);
  return real.symlink(target, path);
}

PST_EXPORT int symlinkat(const char* target, int dirfd, const char* path) {
  if (PST_UNLIKELY(target != nullptr && target[0] == '\0')) return PstFail(ENOENT);
  PST_REFUSE(dirfd, path, kNew);
  return real.symlinkat(target, dirfd, path);
}

PST_EXPORT int truncate(const char* path, off_t bytes) {
  if (PST_UNLIKELY(bytes < 0)) return PstFail(EINVAL);
  PST_REFUSE(AT_FDCWD, path, kOldFile);
  return real.truncate(path, bytes);
}

PST_EXPORT int chmod(const char* path, mode_t mode) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.chmod(path, mode);
}

PST_EXPORT int lchmod(const char* path, mode_t mode) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.lchmod(path, mode);
}

PST_EXPORT int fchmodat(int dirfd, const char* path, mode_t mode, int flags) {
  PST_REFUSE_AT(dirfd, path, kOld);
  return real.fchmodat(dirfd, path, mode, flags);
}

PST_EXPORT int chown(const char* path, uid_t user, gid_t group) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.chown(path, user, group);
}

PST_EXPORT int lchown(const char* path, uid_t user, gid_t group) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.lchown(path, user, group);
}

PST_EXPORT int fchownat(int dirfd, const char* path, uid_t user, gid_t group, int flags) {
  PST_REFUSE_AT(dirfd, path, kOld);
  return real.fchownat(dirfd, path, user, group, flags);
}

PST_EXPORT int utime(const char* path, const struct utimbuf* times) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.utime(path, times);
}

PST_EXPORT int utimes(const char* path, const struct timeval* times) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.utimes(path, times);
}

PST_EXPORT int lutimes(const char* path, const struct timeval* times) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.lutimes(path, times);
}

PST_EXPORT int futimesat(int dirfd, const char* path, const struct timeval* times) {
  constexpr int flags = 0;
  PST_REFUSE_AT(dirfd, path, kOld);
  return real.futimesat(dirfd, path, times);
}

PST_EXPORT int utimensat(int dirfd, const char* path, const struct timespec* times, int flags) {
  PST_REFUSE_AT(dirfd, path, kOld);
  return real.utimensat(dirfd, path, times, flags);
}

PST_EXPORT int mknod(const char* path, mode_t mode, dev_t device) {
  if (int err = KindErrno(mode); PST_UNLIKELY(err != 0)) return PstFail(err);
  PST_REFUSE(AT_FDCWD, path, kNew);
  return real.mknod(path, mode, device);
}

PST_EXPORT int mknodat(int dirfd, const char* path, mode_t mode, dev_t device) {
  if (int err = KindErrno(mode); PST_UNLIKELY(err != 0)) return PstFail(err);
  PST_REFUSE(dirfd, path, kNew);
  return real.mknodat(dirfd, path, mode, device);
}

PST_EXPORT int __xmknod(int version, const char* path, mode_t mode, dev_t* device) {
  PST_REFUSE(AT_FDCWD, path, kNew);
  return real.__xmknod(version, path, mode, device);
}

PST_EXPORT int __xmknodat(int version, int dirfd, const char* path, mode_t mode, dev_t* device) {
  PST_REFUSE(dirfd, path, kNew);
  return real.__xmknodat(version, dirfd, path, mode, device);
}

PST_EXPORT int mkfifo(const char* path, mode_t mode) {
  PST_REFUSE(AT_FDCWD, path, kNew);
  return real.mkfifo(path, mode);
}

PST_EXPORT int mkfifoat(int dirfd, const char* path, mode_t mode) {
  PST_REFUSE(dirfd, path, kNew);
  return real.mkfifoat(dirfd, path, mode);
}

PST_EXPORT int mkstemp(char* pattern) {
  if (int err = PatternRefusal(pattern); PST_UNLIKELY(err != 0)) return PstFail(err);
  return Fresh(real.mkstemp(pattern));
}

PST_EXPORT int mkostemp(char* pattern, int flags) {
  if (int err = PatternRefusal(pattern); PST_UNLIKELY(err != 0)) return PstFail(err);
  return Fresh(real.mkostemp(pattern, flags));
}

PST_EXPORT int mkstemps(char* pattern, int suffix) {
  if (int err = PatternRefusal(pattern); PST_UNLIKELY(err != 0)) return PstFail(err);
  return Fresh(real.mkstemps(pattern, suffix));
}

PST_EXPORT int mkostemps(char* pattern, int suffix, int flags) {
  if (int err = PatternRefusal(pattern); PST_UNLIKELY(err != 0)) return PstFail(err);
  return Fresh(real.mkostemps(pattern, suffix, flags));
}

PST_EXPORT char* mkdtemp(char* pattern) {
  if (int err = PatternRefusal(pattern); PST_UNLIKELY(err != 0)) {
    PstFail(err);
    return nullptr;
  }
  return real.mkdtemp(pattern);
}

PST_EXPORT int chroot(const char* path) {
  PST_REFUSE(AT_FDCWD, path, kOld);
  return real.chroot(path);
}
