// stat and its kin, access, readlink, statfs: answered into the program's memory.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim/calls/stat_form.h"
#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/job_path.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/guard.h"
#include "shim/supervise/known_files.h"
#include "shim/supervise/probe.h"

namespace penstock {
namespace {

Outcome Write(const Call& call, uint64_t to, const void* from, size_t bytes) {
  int err = PstWriteMemory(call, to, from, bytes);
  return Value(err);
}

// What number `fd` of the caller (or, for AT_FDCWD, its working directory) shows, if it is one of
// ours. 1: it is; 0: it is not; -errno.
int StatNumber(const Call& call, int fd, struct stat* out) {
  KnownFile known;
  if (fd != AT_FDCWD && PstKnown(call, fd, &known)) {
    *out = known.shown;
    return 1;
  }
  char name[16] = "cwd";
  if (fd != AT_FDCWD) PstFdName(fd, name);
  char path[2 * PST_PATH_MAX];
  int len = PstOwnDirectory(call, name, path);
  if (len <= 0) return len == -ENOENT ? 0 : len;
  return stat(path, out) == 0 ? 1 : -errno;
}

bool EmptyPath(const Call& call, uint64_t path) {
  char first;
  return path == 0 || (PstReadMemory(call, path, &first, 1) == 0 && first == '\0');
}

// The attributes of what a stat names. 1: in *out; 0: the kernel's; -errno.
int Find(const Call& call, int dirfd, uint64_t path, int flags, struct stat* out) {
  if ((flags & AT_EMPTY_PATH) != 0 && EmptyPath(call, path)) return StatNumber(call, dirfd, out);
  Place place;
  bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  int err = PstLocate(call, dirfd, path, follow, &place);
  if (err != 0 || !place.ours) return err;
  return fstatat(AT_FDCWD, place.path, out, flags & AT_SYMLINK_NOFOLLOW) == 0 ? 1 : -errno;
}

// The text of a link of /proc or /dev/fd that leads to one of ours, in the program's terms. Length,
// or -1.
int Translate(const Call& call, const char* path, char* to) {
  const char* what = path;
  auto skip = [&what](const char* prefix) {
    size_t len = strlen(prefix);
    if (strncmp(what, prefix, len) != 0) return false;
    what += len;
    return true;
  };
  char name[16] = "cwd";
  int64_t fd = -1;
  if (skip("/dev/fd/") || skip("/proc/self/fd/") || skip("/proc/thread-self/fd/")) {
    const char* end;
    fd = PstDecimal(what, &end);
    if (fd < 0 || *end != '\0') return -1;
    PstFdName(static_cast<int>(fd), name);
  } else if (!skip("/proc/self/cwd") || *what != '\0') {
    return -1;
  }
  int len = PstOwnDirectory(call, name, to);
  if (len != 0 || fd < 0) return len > 0 ? len : -1;
  KnownFile known;
  if (!PstKnown(call, static_cast<int>(fd), &known)) return -1;
  Scratch scratch;
  Ask ask;
  Answer answer;
  ask.op = PST_OP_NAME;
  ask.ns = known.ns;
  ask.id = known.id;
  ask.reply = scratch.Get();
  ask.reply_capacity = PST_PATH_MAX;
  const View* view = PstView();
  if (ask.reply == nullptr || view == nullptr || PstAsk(ask, &answer) != 0 ||
      answer.path_len >= PST_PATH_MAX)
    return -1;
  for (uint32_t i = 0; i < view->mount_count; ++i)
    if (view->mounts[i].ns == known.ns)
      return static_cast<int>(
          PstFullPath(view, i, static_cast<const char*>(ask.reply), answer.path_len, to));
  return -1;
}

}  // namespace

Outcome PstAnswerStat(const Call& call, int dirfd, uint64_t path, uint64_t out, int flags) {
  struct stat info;
  memset(&info, 0, sizeof info);
  int found = Find(call, dirfd, path, flags, &info);
  if (found == 0) return kPassOn;
  return found < 0 ? Value(found) : Write(call, out, &info, sizeof info);
}

Outcome PstAnswerStatFd(const Call& call, int fd, uint64_t out) {
  struct stat info;
  int found = fd < 0 ? 0 : StatNumber(call, fd, &info);
  if (found <= 0) return kPassOn;
  return Write(call, out, &info, sizeof info);
}

Outcome PstAnswerStatx(const Call& call) {
  struct stat info;
  int flags = static_cast<int>(call.args[2]);
  int found = Find(call, static_cast<int>(call.args[0]), call.args[1], flags, &info);
  if (found == 0) return kPassOn;
  if (found < 0) return Value(found);
  struct statx wide;
  PstWidenStat(info, &wide);
  return Write(call, call.args[4], &wide, sizeof wide);
}

Outcome PstAnswerAccess(const Call& call, int dirfd, uint64_t path, int mode, int flags) {
  if ((flags & AT_EMPTY_PATH) != 0 && EmptyPath(call, path)) {
    struct stat info;
    int found = StatNumber(call, dirfd, &info);
    if (found <= 0) return kPassOn;
    return Value((mode & W_OK) != 0 ? -EROFS : 0);
  }
  Place place;
  int err = PstLocate(call, dirfd, path, true, &place);
  if (err != 0) return Value(err);
  if (!place.ours)
    return strcmp(place.path, kProbeName) == 0 ? Value(g_guard_strict ? kProbeStrict : kProbeYes)
                                               : kPassOn;
  return Value(faccessat(AT_FDCWD, place.path, mode, flags & AT_EACCESS) == 0 ? 0 : -errno);
}

Outcome PstAnswerReadlink(const Call& call, int dirfd, uint64_t path, uint64_t to, uint64_t bytes) {
  Place place;
  int err = PstLocate(call, dirfd, path, false, &place);
  if (err != 0) return Value(err);
  char text[2 * PST_PATH_MAX];
  long len;
  if (place.ours) {
    len = readlink(place.path, text, sizeof text);
    if (len < 0) return Value(-errno);
  } else {
    len = Translate(call, place.path, text);
    if (len < 0) return kPassOn;
  }
  if (static_cast<int64_t>(bytes) <= 0) return kPassOn;  // EINVAL
  if (static_cast<uint64_t>(len) > bytes) len = static_cast<long>(bytes);
  err = PstWriteMemory(call, to, text, static_cast<size_t>(len));
  return Value(err != 0 ? err : len);
}

Outcome PstAnswerStatfs(const Call& call) {
  Place place;
  int err = PstLocate(call, AT_FDCWD, call.args[0], true, &place);
  if (err != 0) return Value(err);
  if (!place.ours) return kPassOn;
  struct statfs info;
  if (statfs(place.path, &info) != 0) return Value(-errno);
  return Write(call, call.args[1], &info, sizeof info);
}

}  // namespace penstock
