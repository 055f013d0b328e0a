// open, openat, openat2, creat.

#include <fcntl.h>
#include <stdarg.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/landing.h"
#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/links.h"
#include "shim/core/serve.h"

#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif

namespace penstock {
namespace {

bool TakesMode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

PST_COLD int Finish(int result) { return result >= 0 ? result : PstFail(-result); }

// The end of every open of ours: the number as this process needs it.
PST_INLINE int Opened(int fd) {
  if (PST_UNLIKELY(fd == 0)) OnStandardInput(0);
  if (PST_LIKELY(!g_open_real) || fd < 0 || IsPathOnly(fd) || MakeReal(fd) == 0) return fd;
  KeepErrno keep;
  close(fd);
  return -1;
}

// Covered or not: true and *result, or false.
PST_INLINE bool OpenCovered(int dirfd, const char* path, int flags, mode_t mode, int* result) {
  if (PST_LIKELY(!PstMayCover(dirfd, path))) return false;
  bool handled;
  int fd = PstOpenAt(dirfd, path, flags, mode, &handled);
  if (PST_LIKELY(!handled)) return false;
  *result = PST_LIKELY(fd >= 0) ? fd : Finish(fd);
  return true;
}

// One of our numbers by its link (/dev/fd/N, /proc/PID/fd/N): the kernel has found the reservation behind
// it. Open what the number stands for, by name.
PST_COLD int OpenByNumber(const char* path, int flags, mode_t mode) {
  Scratch scratch;
  char* name = scratch.Get();
  bool handled = false;
  if (!g_config.active || name == nullptr || path[0] != '/' || realpath(path, name) == nullptr) return PstFail(ENXIO);
  int fd = PstOpenAt(AT_FDCWD, name, flags, mode, &handled);
  return handled ? Finish(fd) : PstFail(ENXIO);
}

// A link of one of our numbers, before the kernel gets it: it would open the reservation, or the object's file
// with the rights of its owner.
PST_COLD bool OpenNumber(const char* path, int flags, mode_t mode, int* result) {
  if (!g_config.active || (flags & O_NOFOLLOW) != 0) return false;
  const int number = PstNumberNamed(path);
  if (number < 0 || !IsCovered(PstFdKindOf(number))) return false;
  *result = OpenByNumber(path, flags, mode);
  return true;
}

// The kernel has failed: a link outside may lead into a mount.
PST_COLD int OpenThroughLinks(int dirfd, const char* path, int flags, mode_t mode) {
  if (errno == ENXIO) return Opened(OpenByNumber(path, flags, mode));
  if (errno != ENOENT || !g_config.active) return -1;
  LinkedPath linked;
  Route route;
  if (!PstRouteThroughLinks(dirfd, path, (flags & O_NOFOLLOW) == 0, &linked, &route)) return -1;
  if (route.cover == Cover::kError) return PstFail(route.err);
  if (route.cover != Cover::kMount) return -1;
  return Opened(Finish(PstOpenRoute(route, flags, mode)));
}

// A link leads into a mount whose path is also on the local disk: before the kernel opens (or makes) the
// local file.
PST_COLD bool OpenLanded(int dirfd, const char* path, int flags, mode_t mode, int* result) {
  LinkedPath linked;
  Route route;
  bool follow = (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  if (!PstLands(dirfd, path, follow, &linked, &route)) return false;
  *result = Finish(route.cover == Cover::kError ? -route.err : PstOpenRoute(route, flags, mode));
  return true;
}

// Everything before the kernel's turn.
PST_INLINE bool OpenOurs(int dirfd, const char* path, int flags, mode_t mode, int* result) {
  bool ours = OpenCovered(dirfd, path, flags, mode, result) ||
              (PstMayLand() && OpenLanded(dirfd, path, flags, mode, result)) ||
              (PST_UNLIKELY(PstMayNameNumber(path)) && OpenNumber(path, flags, mode, result));
  if (ours) *result = Opened(*result);
  return ours;
}

// A longer structure of a newer header asks for nothing that we do not know.
bool NothingBehind(const struct open_how* how, size_t size) {
  const auto* bytes = reinterpret_cast<const char*>(how);
  for (size_t i = sizeof *how; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

constexpr uint64_t kResolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                              RESOLVE_BENEATH | RESOLVE_IN_ROOT | 0x20;  // RESOLVE_CACHED

// What openat2 allows of a path below a covered directory, where there are no links: the path to
// walk, into `to`. 0, or the errno.
PST_COLD int StayWithin(const char* path, uint64_t resolve, char* to) {
  const bool beneath = (resolve & RESOLVE_BENEATH) != 0, in_root = (resolve & RESOLVE_IN_ROOT) != 0;
  if (strnlen(path, PST_PATH_MAX) >= PST_PATH_MAX - 2) return ENAMETOOLONG;
  if (!beneath && !in_root) return strcpy(to, path), 0;
  if (path[0] == '/' && beneath) return EXDEV;
  if (path[0] == '\0') return ENOENT;
  int depth = 0;
  char* end = stpcpy(to, ".");
  for (const char* at = path + strspn(path, "/"); *at != '\0'; at += strspn(at, "/")) {
    const size_t len = strcspn(at, "/");
    const bool up = len == 2 && at[0] == '.' && at[1] == '.';
    const bool stays = up && depth == 0;  // at the top, which is its own parent
    if (stays && beneath) return EXDEV;
    if (up) {
      depth -= stays ? 0 : 1;
    } else if (len != 1 || at[0] != '.') {
      ++depth;
    }
    if (!stays) end = static_cast<char*>(mempcpy(stpcpy(end, "/"), at, len));
    at += len;
  }
  if (path[strlen(path) - 1] == '/') *end++ = '/';
  *end = '\0';
  return 0;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (PST_UNLIKELY(TakesMode(flags))) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  int fd;
  if (OpenOurs(AT_FDCWD, path, flags, mode, &fd)) return fd;
  fd = Fresh(real.open(path, flags, mode));
  return PST_LIKELY(fd >= 0) ? fd : OpenThroughLinks(AT_FDCWD, path, flags, mode);
}

PST_EXPORT int openat(int dirfd, const char* path, int flags, ...) {
  mode_t mode = 0;
  if (PST_UNLIKELY(TakesMode(flags))) {
    va_list list;
    va_start(list, flags);
    mode = va_arg(list, mode_t);
    va_end(list);
  }
  int fd;
  if (OpenOurs(dirfd, path, flags, mode, &fd)) return fd;
  fd = Fresh(real.openat(dirfd, path, flags, mode));
  return PST_LIKELY(fd >= 0) ? fd : OpenThroughLinks(dirfd, path, flags, mode);
}

PST_EXPORT int openat2(int dirfd, const char* path, struct open_how* how, size_t size) {
  constexpr uint64_t kFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                              O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY |
                              O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
  int fd;
  constexpr uint64_t kBoth = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  const bool plain = path != nullptr && how != nullptr && size >= sizeof *how && size <= 4096 &&
                     NothingBehind(how, size) && (how->flags & ~kFlags) == 0 &&
                     (how->resolve & ~kResolve) == 0 && (how->resolve & kBoth) != kBoth &&
                     (how->mode == 0 || TakesMode(static_cast<int>(how->flags)));
  if (plain && PST_UNLIKELY(how->resolve != 0) &&
      (PstFdKindOf(dirfd) == kFdDirectory || (dirfd == AT_FDCWD && PstCwdShown()))) {
    Scratch scratch;
    char* within = scratch.Get();
    int err = within == nullptr ? ENOMEM : StayWithin(path, how->resolve, within);
    if (err != 0) return PstFail(err);
    if (OpenOurs(dirfd, within, static_cast<int>(how->flags), static_cast<mode_t>(how->mode), &fd))
      return fd;
  } else if (plain &&
             (path[0] != '/' || (how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) == 0) &&
             OpenOurs(dirfd, path, static_cast<int>(how->flags), static_cast<mode_t>(how->mode),
                      &fd)) {
    return fd;
  }
  constexpr long kNumber = 437;  // few libcs have a function for it
  fd = Fresh(static_cast<int>(real.syscall(kNumber, dirfd, path, how, size, 0, 0)));
  if (PST_LIKELY(fd >= 0 || !plain || how->resolve != 0)) return fd;
  return OpenThroughLinks(dirfd, path, static_cast<int>(how->flags),
                          static_cast<mode_t>(how->mode));
}

PST_EXPORT int creat(const char* path, mode_t mode) {
  int fd;
  if (OpenOurs(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode, &fd)) return fd;
  return Fresh(real.creat(path, mode));
}

// Without OPEN_TREE_CLONE an O_PATH descriptor by another name.
PST_EXPORT int open_tree(int dirfd, const char* path, unsigned flags) {
  constexpr unsigned kClone = 1, kCloseOnExec = O_CLOEXEC;
  PathBuffer buffer;
  Route route;
  const Cover cover = RouteOf(dirfd, path, &buffer, &route);
  if (PST_LIKELY(cover != Cover::kMount && cover != Cover::kError))
    return Fresh(real.open_tree(dirfd, path, flags));
  if ((flags & kClone) != 0) return PstFail(EROFS);
  return openat(dirfd, path, O_PATH | static_cast<int>(flags & kCloseOnExec));
}
