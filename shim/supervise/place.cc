#include "shim/supervise/place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/calls/landing.h"
#include "shim/core/job_path.h"
#include "shim/core/raw.h"
#include "shim/supervise/guard.h"

namespace penstock {
namespace {

constexpr char kCannotRead[] =
    "the kernel does not let a static or Go program's calls be read (Yama's ptrace_scope, or a "
    "process that is not "
    "dumpable): covered paths are not served to it";

// Where a relative path starts, into `to`. The length; 0: the kernel knows better. *shadow: a
// directory of ours.
int Start(const Call& call, int dirfd, char* to, bool* shadow) {
  char name[16] = "cwd";
  if (dirfd != AT_FDCWD) {
    if (dirfd < 0) return 0;
    PstFdName(dirfd, name);
  }
  int len = PstCallerLink(call, name, to);
  if (len <= 0 || to[0] != '/') return 0;
  int real = PstOwnDirectory(call, nullptr, to);
  *shadow = real > 0;
  return *shadow ? real : len;
}

// Is the program's root another one than ours? Then its names mean something else.
bool OtherRoot(const Call& call) {
  Scratch scratch;
  char* root = scratch.Get();
  int len = root != nullptr ? PstCallerLink(call, "root", root) : -1;
  return len != 1;
}

// The owner of a process's folder is the user whose rights it has.
bool SameUser(const Call& call) {
  struct stat owner;
  int folder = PstOpenCallerFile(call, "", O_PATH);
  bool same = folder >= 0 && Raw(SYS_fstat, folder, &owner) == 0 &&
              owner.st_uid == static_cast<uid_t>(Raw(SYS_geteuid)) &&
              owner.st_gid == static_cast<gid_t>(Raw(SYS_getegid));
  if (folder >= 0) Raw(SYS_close, folder);
  return same;
}

bool StartsWith(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// Names whose meaning depends on who asks, or that cannot lead into a mount.
bool KernelsOwn(const char* path) {
  return StartsWith(path, "/proc/") || StartsWith(path, "/dev/") || StartsWith(path, "/sys/");
}

bool IsOnDisk(const char* path) { return Raw(SYS_faccessat, AT_FDCWD, path, F_OK) == 0; }

// Through a link outside: only where the kernel would find nothing, or a mount's path is on disk
// too.
bool LeadsIn(bool follow, Place* place) {
  if (KernelsOwn(place->path)) return false;
  if (!PstMayLand() && Raw(SYS_faccessat, AT_FDCWD, place->path, F_OK) != -ENOENT) return false;
  return PstRouteThroughLinks(AT_FDCWD, place->path, follow, &place->linked, &place->route) &&
         place->route.cover != Cover::kNone;
}

}  // namespace

int PstOwnDirectory(const Call& call, const char* what, char* to) {
  if (what != nullptr) {
    int len = PstCallerLink(call, what, to);
    if (len < 0) return len;
  }
  JobPath shadow = PstParseJobPath(to);
  if (shadow.kind != JobPathKind::kDirectory) return 0;
  int err = EIO;
  const View* view = PstJoinedView(&err);
  if (view == nullptr) return -err;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return -ENOMEM;
  int len = PstShadowedPath(view, shadow, path);
  if (len <= 0) return 0;
  if (len >= static_cast<int>(PST_PATH_MAX)) return -ENAMETOOLONG;
  memcpy(to, path, static_cast<size_t>(len) + 1);
  return len;
}

int PstLocate(const Call& call, int dirfd, uint64_t address, bool follow, Place* place) {
  static bool said;
  place->ours = false;
  Scratch scratch;
  char* given = scratch.Get();
  if (given == nullptr) return -ENOMEM;
  int len = PstReadPath(call, address, given);
  if (len == -EPERM && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
    PstGuardSays(call.thread, kCannotRead);
  if (len <= 0) return 0;
  size_t start = 0;
  bool shadow = false;
  if (given[0] != '/') {
    int got = Start(call, dirfd, place->path, &shadow);
    if (got <= 0) return got;
    start = static_cast<size_t>(got);
    if (start > 1) place->path[start++] = '/';
  }
  if (!PstCallWaits(call)) return -EINTR;  // nobody is there to hear the answer
  memcpy(place->path + start, given, static_cast<size_t>(len) + 1);
  Cover cover = PstRoute(AT_FDCWD, place->path, &place->buffer, &place->route);
  switch (cover) {
    case Cover::kNone:
      place->ours = place->route.full != nullptr || shadow || LeadsIn(follow, place);
      break;
    case Cover::kAncestor:
      // On disk it is the disk's, unless the kernel would start to look in a directory of ours.
      place->ours = shadow || !IsOnDisk(place->route.full);
      break;
    default:
      place->ours = true;
      break;
  }
  if (place->ours && !shadow && OtherRoot(call)) place->ours = false;
  // Outside the guard acts in the kernel with its own rights, and so only for a program that has
  // the same.
  if (place->ours && place->route.cover == Cover::kNone && !SameUser(call)) return -EACCES;
  return 0;
}

}  // namespace penstock
