// Directory streams: opendir and its kin. Streams of ours are told by their address (core/stream.h).

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/landing.h"
#include "shim/calls/support.h"
#include "shim/core/links.h"
#include "shim/core/raw.h"
#include "shim/core/stream.h"

namespace penstock {
namespace {

// "." and "..", the next page, the end; and libc's own streams.
__attribute__((noinline)) struct dirent* NextRarely(DIR* dir, Stream* stream) {
  if (stream == nullptr) return real.readdir(dir);
  int err = 0;
  auto* entry = reinterpret_cast<struct dirent*>(PstStreamNextSlow(stream, &err));
  if (err != 0) errno = err;
  return entry;
}

DIR* Shown(Stream* stream, int err) {
  if (PST_LIKELY(stream != nullptr)) return reinterpret_cast<DIR*>(stream);
  errno = err;
  return nullptr;
}

// libc's own stream: nothing of ours is left on its number.
DIR* OpenNative(const char* path) {
  DIR* dir = real.opendir(path);
  if (dir != nullptr) PstFdForget(real.dirfd(dir));
  return dir;
}

// Opens a stream on a routed name. Null with *ours false: libc's turn.
DIR* OpenRouted(const Route& route, bool* ours) {
  int err = route.err;
  *ours = true;
  if (PST_LIKELY(route.cover == Cover::kMount)) {
    Stream* stream = PstStreamOpen(route, &err);
    return Shown(stream, err);
  }
  if (route.cover == Cover::kError) return Shown(nullptr, err);
  if (route.cover == Cover::kNone) return OpenNative(route.full);
  struct stat info;
  {
    KeepErrno keep;
    if (real.stat(route.full, &info) != 0) info.st_nlink = 0;
  }
  if (info.st_nlink != 0) return OpenNative(route.full);
  Stream* stream = PstStreamOpenVirtual(route.full, &err);
  return Shown(stream, err);
}

PST_INLINE DIR* OpenCovered(int dirfd, const char* path, bool* ours) {
  *ours = false;
  if (!PstMayCover(dirfd, path)) return nullptr;
  if (const char* below = PstBelowNumber(path, &dirfd); PST_UNLIKELY(below != nullptr))
    path = below[0] != 0 ? below : ".";
  PathBuffer buffer;
  Route route;
  if (PST_UNLIKELY(PstRoute(dirfd, path, &buffer, &route) == Cover::kNone) && route.full == nullptr)
    return nullptr;
  return OpenRouted(route, ours);
}

PST_COLD DIR* OpenThroughLinks(int dirfd, const char* path) {
  if (errno != ENOENT || !g_config.active) return nullptr;
  LinkedPath linked;
  Route route;
  bool ours;
  if (!PstRouteThroughLinks(dirfd, path, true, &linked, &route)) return nullptr;
  return OpenRouted(route, &ours);
}

// As OpenCovered, and through links into a mount that is on disk too.
PST_COLD DIR* OpenLanded(int dirfd, const char* path, bool* ours) {
  LinkedPath linked;
  Route route;
  return PstLands(dirfd, path, true, &linked, &route) ? OpenRouted(route, ours) : nullptr;
}

PST_INLINE DIR* OpenOurs(int dirfd, const char* path, bool* ours) {
  DIR* dir = OpenCovered(dirfd, path, ours);
  return !*ours && PstMayLand() ? OpenLanded(dirfd, path, ours) : dir;
}

void CopyEntry(struct dirent* to, const struct dirent* from) {
  memcpy(to, from, from->d_reclen < sizeof *to ? from->d_reclen : sizeof *to);
}

struct Names {
  struct dirent** list = nullptr;
  size_t count = 0;
  size_t room = 0;
};

void FreeNames(Names* names) {
  for (size_t i = 0; i < names->count; ++i) free(names->list[i]);
  free(names->list);
}

bool AddName(Names* names, const struct dirent* entry) {
  if (names->count == names->room) {
    size_t room = names->room != 0 ? names->room * 2 : 16;
    auto* list = static_cast<struct dirent**>(realloc(names->list, room * sizeof(struct dirent*)));
    if (list == nullptr) return false;
    names->list = list;
    names->room = room;
  }
  auto* copy = static_cast<struct dirent*>(malloc(sizeof(struct dirent)));
  if (copy == nullptr) return false;
  CopyEntry(copy, entry);
  names->list[names->count++] = copy;
  return true;
}

using Filter = int (*)(const struct dirent*);
using Compare = int (*)(const struct dirent**, const struct dirent**);

int ScanStream(DIR* dir, struct dirent*** out, Filter filter, Compare compare) {
  Names names;
  int err = 0;
  Stream* stream = PstStreamOf(dir);  // null: the disk's own folder above a mount
  int saved = errno;
  for (;;) {
    errno = 0;
    auto* entry = stream != nullptr ? reinterpret_cast<struct dirent*>(PstStreamNext(stream, &err))
                                    : real.readdir(dir);
    if (entry == nullptr) {
      if (stream == nullptr) err = errno;
      break;
    }
    if (filter != nullptr && filter(entry) == 0) continue;
    if (AddName(&names, entry)) continue;
    err = ENOMEM;
    break;
  }
  if (stream != nullptr) {
    PstStreamClose(stream);
  } else {
    real.closedir(dir);
  }
  if (err != 0) {
    FreeNames(&names);
    return PstFail(err);
  }
  if (compare != nullptr && names.count > 1)
    qsort(names.list, names.count, sizeof names.list[0],
          reinterpret_cast<int (*)(const void*, const void*)>(reinterpret_cast<void*>(compare)));
  errno = saved;
  *out = names.list;
  return static_cast<int>(names.count);
}

// One record for getdents64 on a covered directory's number; 0 if it does not fit.
size_t PutRecord(char* to, size_t room, const struct dirent64* entry) {
  size_t bytes = entry->d_reclen;
  if (bytes > room) return 0;
  memcpy(to, entry, bytes);
  return bytes;
}

// getdents64: the kernel's offset of the shadow directory's fd is not ours to use; position is the offset
// that lseek would set there, kept in the kernel.
PST_COLD ssize_t EntriesOf(int fd, char* buffer, size_t bytes) {
  int err = EBADF;
  FdEntry entry;
  if (PstFdSnapshot(fd, &entry) && (entry.flags & O_PATH) != 0) return PstFail(EBADF);
  long position = Raw(SYS_lseek, fd, 0, SEEK_CUR);
  Stream* stream = PstStreamOpenFd(fd, &err);
  if (stream == nullptr) return PstFail(err);
  PstStreamSeek(stream, position < 0 ? 0 : position);
  size_t done = 0;
  err = 0;
  bool full = false;
  while (auto* next = PstStreamNext(stream, &err)) {
    size_t n = PutRecord(buffer + done, bytes - done, next);
    if (n == 0) {
      full = true;
      break;
    }
    done += n;
    position = next->d_off;
  }
  PstStreamDetach(stream);
  if (err != 0 && done == 0) return PstFail(err);
  if (full && done == 0) return PstFail(EINVAL);
  Raw(SYS_lseek, fd, position, SEEK_SET);
  return static_cast<ssize_t>(done);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT DIR* opendir(const char* path) {
  bool ours;
  DIR* dir = OpenOurs(AT_FDCWD, path, &ours);
  if (PST_LIKELY(ours)) return dir;
  dir = real.opendir(path);
  if (PST_UNLIKELY(dir == nullptr)) return OpenThroughLinks(AT_FDCWD, path);
  if (PST_UNLIKELY(g_config.active)) PstFdForget(real.dirfd(dir));
  return dir;
}

PST_EXPORT DIR* fdopendir(int fd) {
  FdKind kind = PstFdKindOf(fd);
  if (PST_LIKELY(kind == kFdNone || kind == kFdAncestor)) return real.fdopendir(fd);
  int err = EBADF;
  Stream* stream = kind == kFdOwn ? nullptr : PstStreamOpenFd(fd, &err);
  if (stream != nullptr) Raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);  // as libc's does
  return Shown(stream, err);
}

PST_EXPORT struct dirent* readdir(DIR* dir) {
  Stream* stream = PstStreamOf(dir);
  if (PST_LIKELY(stream != nullptr && PstStreamEnter(stream))) {
    struct dirent64* entry = PstStreamFromPage(stream);
    PstStreamLeave(stream);
    if (PST_LIKELY(entry != nullptr)) return reinterpret_cast<struct dirent*>(entry);
  }
  return NextRarely(dir, stream);
}

PST_EXPORT int readdir_r(DIR* dir, struct dirent* entry, struct dirent** result) {
  Stream* stream = PstStreamOf(dir);
  if (stream == nullptr) return real.readdir_r(dir, entry, result);
  int err = 0;
  bool given = PstStreamNextInto(stream, reinterpret_cast<struct dirent64*>(entry), &err);
  *result = given ? entry : nullptr;
  return err;
}

PST_EXPORT void rewinddir(DIR* dir) {
  Stream* stream = PstStreamOf(dir);
  if (stream == nullptr) return real.rewinddir(dir);
  PstStreamRewind(stream);
}

PST_EXPORT void seekdir(DIR* dir, long where) {
  Stream* stream = PstStreamOf(dir);
  if (stream == nullptr) return real.seekdir(dir, where);
  PstStreamSeek(stream, where);
}

PST_EXPORT long telldir(DIR* dir) {
  Stream* stream = PstStreamOf(dir);
  if (stream == nullptr) return real.telldir(dir);
  long position = PstStreamTell(stream);
  return position >= 0 ? position : PstFail((int)-position);
}

PST_EXPORT int dirfd(DIR* dir) {
  Stream* stream = PstStreamOf(dir);
  if (stream == nullptr) return real.dirfd(dir);
  int fd = PstStreamFd(stream);
  return fd >= 0 ? fd : PstFail(-fd);
}

PST_EXPORT int closedir(DIR* dir) {
  Stream* stream = PstStreamOf(dir);
  if (PST_UNLIKELY(stream == nullptr)) {
    // The number goes with the stream; nothing of ours may be left on it.
    __asm__("" : "+r"(dir));  // the header says that it is never null
    if (g_config.active && dir != nullptr) PstFdForget(real.dirfd(dir));
    return real.closedir(dir);
  }
  int result = PstStreamClose(stream);
  return PST_LIKELY(result == 0) ? 0 : PstFail(-result);
}

PST_EXPORT int scandir(const char* path, struct dirent*** names, int (*filter)(const struct dirent*),
                       int (*compare)(const struct dirent**, const struct dirent**)) {
  bool ours;
  DIR* dir = OpenOurs(AT_FDCWD, path, &ours);
  if (PST_LIKELY(!ours)) {
    int count = real.scandir(path, names, filter, compare);
    if (count >= 0) return count;
    dir = OpenThroughLinks(AT_FDCWD, path);
  }
  return dir == nullptr ? -1 : ScanStream(dir, names, filter, compare);
}

PST_EXPORT int scandirat(int fd, const char* path, struct dirent*** names, int (*filter)(const struct dirent*),
                         int (*compare)(const struct dirent**, const struct dirent**)) {
  bool ours;
  DIR* dir = OpenOurs(fd, path, &ours);
  if (PST_LIKELY(!ours)) {
    int count = real.scandirat(fd, path, names, filter, compare);
    if (count >= 0) return count;
    dir = OpenThroughLinks(fd, path);
  }
  return dir == nullptr ? -1 : ScanStream(dir, names, filter, compare);
}

PST_EXPORT ssize_t getdents64(int fd, void* buffer, size_t bytes) {
  const FdKind kind = PstFdKindOf(fd);
  if (PST_UNLIKELY(kind == kFdFile)) return PstFail(ENOTDIR);
  if (PST_LIKELY(kind != kFdDirectory)) return real.getdents64(fd, buffer, bytes);
  return EntriesOf(fd, static_cast<char*>(buffer), bytes);
}
