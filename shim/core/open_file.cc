// Opening covered names: PstOpenRoute and PstOpenAt of serve.h.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/core/client.h"
#include "shim/core/config.h"
#include "shim/core/materialize.h"
#include "shim/core/names.h"
#include "shim/core/raw.h"
#include "shim/core/run_cache.h"
#include "shim/core/serve.h"
#include "shim/core/slots.h"

#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif

namespace penstock {
namespace {

// Flags that a later fcntl(F_GETFL) shows.
constexpr int kKeptFlags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_PATH |
                           O_SYNC | O_DIRECTORY | O_NOFOLLOW | O_LARGEFILE | O_ASYNC;

void FillEntry(const Route& route, const pst_attr& attr, int flags, FdEntry* entry) {
  memset(entry, 0, sizeof *entry);
  entry->slot = PST_NO_SLOT;
  entry->mount = (uint16_t)route.mount;
  entry->warm = kNoWarm;
  entry->ns = route.view->mounts[route.mount].ns;
  // Of an O_PATH number the kernel keeps no other flag.
  entry->flags =
      (uint32_t)(flags & ((flags & O_PATH) != 0 ? O_PATH | O_DIRECTORY | O_NOFOLLOW : kKeptFlags));
  entry->id = route.id;
  entry->version = attr.version;
  entry->size = attr.size <= PST_MAX_FILE_BYTES ? attr.size : PST_MAX_FILE_BYTES;
  entry->epoch = PstForkEpoch();
  entry->mtime_ns = attr.mtime_ns;
  entry->ino = attr.ino;
  entry->mode = attr.mode;
  entry->nlink = attr.nlink;
}

// A number without room for an entry would be served by the kernel: an empty shadow directory, in
// silence.
int OnlyKnown(int fd) {
  if (fd < 0 || PstFdRoom(fd)) return fd;
  Raw(SYS_close, fd);
  return -EMFILE;
}

// A real descriptor came over the socket with CLOEXEC set and perhaps too high a number.
int TakeOver(int fd, bool cloexec) {
  if (cloexec) return fd;
  long done = Raw(SYS_fcntl, fd, F_SETFD, 0);
  if (done == 0) return fd;
  Raw(SYS_close, fd);
  return (int)done;
}

PST_COLD int OpenDirectory(const Route& route, const pst_attr& attr, int flags) {
  if ((flags & O_PATH) == 0) {
    if ((flags & O_TMPFILE) == O_TMPFILE) return (flags & O_ACCMODE) == O_RDONLY ? -EINVAL : -EROFS;
    if ((flags & O_CREAT) != 0)
      return (flags & O_EXCL) != 0 && !route.trailing_slash ? -EEXIST : -EISDIR;
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return -EISDIR;
  }
  Ask ask;
  Answer answer;
  FdEntry entry;
  FillEntry(route, attr, flags, &entry);
  entry.kind = kFdDirectory;
  ask.op = PST_OP_DIRECTORY;
  ask.ns = entry.ns;
  ask.id = route.id;
  ask.path = route.rel;
  ask.path_len = route.rel_len;
  int fd = PstAskFd(ask, &answer);
  if (fd < 0) return fd;
  constexpr int kStatus = O_APPEND | O_NONBLOCK | O_ASYNC | O_NOATIME;
  if (PST_UNLIKELY((flags & kStatus) != 0)) Raw(SYS_fcntl, fd, F_SETFL, flags & kStatus);
  if (PST_UNLIKELY((flags & O_PATH) != 0)) {
    const long bare = Raw(SYS_openat, fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    Raw(SYS_close, fd);
    if (bare < 0) return (int)bare;
    fd = (int)bare;
    PstFdForget(fd);
  }
  fd = OnlyKnown(TakeOver(fd, (flags & O_CLOEXEC) != 0));
  if (fd >= 0) PstFdSet(fd, entry, route.rel, route.rel_len);
  return fd;
}

// What the flags forbid on a file of a read-only mount. 0, or a positive errno.
PST_COLD int UnusualFlags(int flags) {
  if ((flags & O_PATH) != 0) return (flags & O_DIRECTORY) != 0 ? ENOTDIR : 0;
  if ((flags & O_TMPFILE) == O_TMPFILE) return ENOTDIR;
  if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return EEXIST;
  if ((flags & O_DIRECTORY) != 0) return (flags & O_CREAT) != 0 ? EINVAL : ENOTDIR;
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return EROFS;
  return 0;
}

PST_COLD int AbsentOrRefused(const Route& route, int err, int flags) {
  if ((err != ENOENT && err != ENOTDIR) || (flags & O_CREAT) == 0 || (flags & O_PATH) != 0)
    return err;
  if (route.must_be_dir && !route.trailing_slash) return err;
  // Creating: the parent's absence comes first, as in the kernel.
  Route parent = route;
  pst_attr attr;
  while (parent.rel_len > 0 && parent.rel[parent.rel_len - 1] != '/') --parent.rel_len;
  if (parent.rel_len > 0) --parent.rel_len;
  PathBuffer buffer;
  Scratch scratch;
  char* full = scratch.Get();
  static_assert(PST_PATH_MAX + PST_MOUNT_PATH_MAX <= kScratchBytes);
  if (full == nullptr) return ENOMEM;
  PstFullPath(route.view, route.mount, parent.rel, parent.rel_len, full);
  if (PstRoute(AT_FDCWD, full, &buffer, &parent) != Cover::kMount) return EROFS;
  int missing = PstLookup(parent, &attr);
  if (missing != 0) return missing;
  if (attr.kind != PST_KIND_DIRECTORY) return ENOTDIR;
  return route.trailing_slash ? EISDIR : err == ENOENT ? EROFS : err;
}

// No slot could be leased: a real file at once.
PST_COLD int OpenMaterialized(const Route& route, FdEntry* entry, bool cloexec) {
  int fd = -1;
  int err = PstMaterializeEntry(*entry, route.rel, route.rel_len, 0, 0, cloexec, &fd);
  if (err != 0) return -err;
  fd = OnlyKnown(fd);
  if (fd < 0) return fd;
  entry->kind = kFdMaterialized;
  PstCount(&pst_counters::passthrough);
  PstFdSet(fd, *entry, route.rel, route.rel_len);
  return fd;
}

constexpr int kUnusual =
    O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_DIRECTORY | O_PATH | (O_TMPFILE & ~O_DIRECTORY);

}  // namespace

int PstOpenReal(const Route& route, int flags) {
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err != 0) return -AbsentOrRefused(route, err, flags);
  if (attr.kind == PST_KIND_DIRECTORY) return OpenDirectory(route, attr, flags);
  if ((flags & kUnusual) != 0) {
    err = UnusualFlags(flags);
    if (err != 0) return -err;
  }
  FdEntry entry;
  FillEntry(route, attr, flags, &entry);
  return OpenMaterialized(route, &entry, (flags & O_CLOEXEC) != 0);
}

int PstOpenRoute(const Route& route, int flags, mode_t) {
  pst_attr attr;
  int err = PstLookupToOpen(route, flags, &attr);
  if (PST_UNLIKELY(err != 0)) return -AbsentOrRefused(route, err, flags);
  if (PST_UNLIKELY(attr.kind == PST_KIND_DIRECTORY)) return OpenDirectory(route, attr, flags);
  if (PST_UNLIKELY((flags & kUnusual) != 0)) {
    err = UnusualFlags(flags);
    if (err != 0) return -err;
  }
  FdEntry entry;
  FillEntry(route, attr, flags, &entry);
  entry.kind = kFdFile;
  RunPrefetch(entry);
  bool cloexec = (flags & O_CLOEXEC) != 0;
  int fd = PstReserve(route.view, &entry, cloexec);
  if (PST_UNLIKELY(fd == -ENOSPC)) return OpenMaterialized(route, &entry, cloexec);
  if (PST_UNLIKELY(fd < 0)) return fd;
  PstFdSet(fd, entry, route.rel, route.rel_len);
  return fd;
}

int PstAncestorFd(const char* path) {
  int err = EIO;
  const View* view = PstJoinedView(&err);
  if (view == nullptr) return -err;
  auto len = (uint32_t)strlen(path);
  if (len == 1) len = 0;  // "/"
  for (uint32_t i = 0; i < view->mount_count; ++i) {
    const Mount& mount = view->mounts[i];
    if (mount.path_len <= len || memcmp(mount.path, path, len) != 0 || mount.path[len] != '/')
      continue;
    PathBuffer buffer;
    Route root;
    if (PstRoute(AT_FDCWD, mount.path, &buffer, &root) != Cover::kMount || root.rel_len != 0)
      continue;
    Ask ask;
    Answer answer;
    ask.op = PST_OP_DIRECTORY;
    ask.ns = mount.ns;
    ask.id = root.id;
    ask.path = root.rel;
    for (uint32_t at = len; at < mount.path_len; ++at) ask.offset += mount.path[at] == '/' ? 1 : 0;
    return PstAskFd(ask, &answer);
  }
  return -ENOENT;
}

PST_COLD static int OpenAncestor(const Route& route, int flags, mode_t mode) {
  // On disk it is the disk's; the number is remembered because paths through it can lead to a
  // mount.
  bool creates = (flags & O_CREAT) != 0 && (flags & O_PATH) == 0;
  // What is only virtual is there all the same: no file is made in its place.
  if (creates && Raw(SYS_faccessat, AT_FDCWD, route.full, F_OK) == -ENOENT)
    return (flags & O_EXCL) != 0 ? -EEXIST : -EISDIR;
  long fd = Raw(SYS_openat, AT_FDCWD, route.full, flags, mode);
  if (fd == -ENOENT && creates) return -EISDIR;
  if (fd == -ENOENT) {
    if ((flags & O_PATH) == 0 && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0))
      return -EISDIR;
    fd = PstAncestorFd(route.full);
    if (fd >= 0) fd = TakeOver((int)fd, (flags & O_CLOEXEC) != 0);
  }
  if (fd < 0) return (int)fd;
  PstFdForget((int)fd);
  // An unnamed file in it, or a file that stands where the directory should: no path leads through
  // them.
  if (creates || (flags & O_TMPFILE) == O_TMPFILE) return (int)fd;
  fd = OnlyKnown((int)fd);
  if (fd < 0) return (int)fd;
  FdEntry entry;
  memset(&entry, 0, sizeof entry);
  entry.slot = PST_NO_SLOT;
  entry.warm = kNoWarm;
  entry.kind = kFdAncestor;
  entry.flags = (uint32_t)(flags & kKeptFlags);
  entry.epoch = PstForkEpoch();
  PstFdSet((int)fd, entry, route.full, (uint32_t)strlen(route.full));
  return (int)fd;
}

int PstOpenAt(int dirfd, const char* path, int flags, mode_t mode, bool* handled) {
  Route route;
  PathBuffer buffer;
  route.full = nullptr;
  *handled = true;
  if (const char* below = PstBelowNumber(path, &dirfd);
      PST_UNLIKELY(below != nullptr) && (flags & O_NOFOLLOW) == 0)
    path = below[0] != 0 ? below : ".";
  switch (PstRoute(dirfd, path, &buffer, &route)) {
    case Cover::kMount:
      return PstOpenRoute(route, flags, mode);
    case Cover::kError:
      return -route.err;
    case Cover::kAncestor:
      return OpenAncestor(route, flags, mode);
    case Cover::kNone:
      break;
  }
  if (PST_UNLIKELY(route.full != nullptr)) {
    long fd = Raw(SYS_openat, AT_FDCWD, route.full, flags, mode);
    if (fd >= 0) PstFdForget((int)fd);
    if (PST_LIKELY(fd != -ENXIO)) return (int)fd;  // else a reservation's link: by its number
  }
  *handled = false;
  return -1;
}

}  // namespace penstock
