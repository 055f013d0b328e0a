// getdents64, getcwd, chdir.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/stream.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/inject.h"
#include "shim/supervise/numbers.h"

namespace penstock {
namespace {

constexpr size_t kAnswerBytes = 64 * 1024;  // of entries in one answer

// The record of getdents, which is older than d_type: that is its last byte.
struct OldRecord {
  unsigned long ino;
  unsigned long next;
  unsigned short bytes;
  char name[1];
};

size_t PutOld(char* to, size_t room, const struct dirent64& entry) {
  size_t name = strlen(entry.d_name);
  size_t bytes = (offsetof(OldRecord, name) + name + 2 + 7) & ~size_t{7};
  if (bytes > room) return 0;
  memset(to, 0, bytes);
  auto* record = reinterpret_cast<OldRecord*>(to);
  record->ino = entry.d_ino;
  record->next = static_cast<unsigned long>(entry.d_off);
  record->bytes = static_cast<unsigned short>(bytes);
  memcpy(to + offsetof(OldRecord, name), entry.d_name, name);
  to[bytes - 1] = static_cast<char>(entry.d_type);
  return bytes;
}

size_t PutNew(char* to, size_t room, const struct dirent64& entry) {
  if (entry.d_reclen > room) return 0;
  memcpy(to, &entry, entry.d_reclen);
  return entry.d_reclen;
}

// Entries from `position` on. Bytes, or -errno; *next: the position behind them.
long Collect(const char* path, long position, bool old_form, char* to, size_t room, long* next) {
  PathBuffer buffer;
  Route route;
  int err = ENOENT;
  Stream* stream = nullptr;
  Cover cover = PstRoute(AT_FDCWD, path, &buffer, &route);
  if (cover == Cover::kError) return -route.err;
  if (cover == Cover::kMount) stream = PstStreamOpen(route, &err);
  if (cover == Cover::kAncestor) stream = PstStreamOpenVirtual(route.full, &err);
  if (stream == nullptr) return -err;
  PstStreamSeek(stream, position);
  size_t done = 0;
  bool full = false;
  *next = position;
  err = 0;
  while (const struct dirent64* entry = PstStreamNext(stream, &err)) {
    size_t n =
        old_form ? PutOld(to + done, room - done, *entry) : PutNew(to + done, room - done, *entry);
    full = n == 0;
    if (full) break;
    done += n;
    *next = static_cast<long>(entry->d_off);
  }
  PstStreamClose(stream);
  if (done > 0) return static_cast<long>(done);
  return full ? -EINVAL : -err;
}

// The offset of the program's open directory is where its position lies, so that dup, fork, lseek
// and the guard's own end need nothing of us. This is the same open file in our hands, or -errno
// where a container forbids it.
int Borrow(const Call& call, int fd) {
  constexpr unsigned kOneThread =
      O_EXCL;  // PIDFD_THREAD, Linux 6.9: else only for a process's first thread
  long process = Raw(SYS_pidfd_open, call.thread, kOneThread);
  if (process == -EINVAL) process = Raw(SYS_pidfd_open, call.thread, 0);
  if (process < 0) return static_cast<int>(process);
  long borrowed = Raw(SYS_pidfd_getfd, process, fd, 0);
  Raw(SYS_close, process);
  return static_cast<int>(borrowed);
}

}  // namespace

Outcome PstAnswerEntries(const Call& call, bool old_form) {
  char path[2 * PST_PATH_MAX];
  char name[16];
  int fd = static_cast<int>(call.args[0]);
  if (fd < 0) return kPassOn;
  PstFdName(fd, name);
  int len = PstOwnDirectory(call, name, path);
  if (len <= 0) return len == 0 || len == -ENOENT ? kPassOn : Value(len);
  size_t room = call.args[2] < kAnswerBytes ? static_cast<size_t>(call.args[2]) : kAnswerBytes;
  char entries[kAnswerBytes];
  long next;
  int borrowed = Borrow(call, fd);
  if (borrowed >= 0) {
    long position = Raw(SYS_lseek, borrowed, 0, SEEK_CUR);
    long n = Collect(path, position, old_form, entries, room, &next);
    int err = n > 0 ? PstWriteMemory(call, call.args[1], entries, static_cast<size_t>(n)) : 0;
    if (err == 0 && n > 0) Raw(SYS_lseek, borrowed, next, SEEK_SET);
    Raw(SYS_close, borrowed);
    return Value(err != 0 ? err : n);
  }
  Injection injection(call);
  if (!injection.Begin()) return Value(-EIO);
  long position = injection.Do(SYS_lseek, fd, 0, SEEK_CUR);
  long n = position < 0 ? position : Collect(path, position, old_form, entries, room, &next);
  if (n > 0) {
    int err = PstWriteMemory(call, call.args[1], entries, static_cast<size_t>(n));
    if (err == 0) injection.Do(SYS_lseek, fd, next, SEEK_SET);
    if (err != 0) n = err;
  }
  injection.End(n);
  return kGivenAlready;
}

Outcome PstAnswerGetcwd(const Call& call) {
  char path[2 * PST_PATH_MAX];
  int len = PstOwnDirectory(call, "cwd", path);
  if (len <= 0) return len == 0 || len == -ENOENT ? kPassOn : Value(len);
  if (call.args[1] <= static_cast<uint64_t>(len)) return Value(-ERANGE);
  int err = PstWriteMemory(call, call.args[0], path, static_cast<size_t>(len) + 1);
  return Value(err != 0 ? err : len + 1);
}

Outcome PstAnswerChdir(const Call& call) {
  Place place;
  int err = PstLocate(call, AT_FDCWD, call.args[0], true, &place);
  if (err != 0) return Value(err);
  if (!place.ours) return kPassOn;
  int fd = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == EACCES) fd = open(place.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Value(-errno);
  // Only the program itself can change where it stands.
  int number = PstGiveFd(call, fd, true, false);
  close(fd);
  if (number < 0) return Value(number);
  Injection injection(call);
  if (!injection.Begin()) return Value(-EACCES);
  long result = injection.Do(SYS_fchdir, number);
  injection.Do(SYS_close, number);
  injection.End(result);
  return kGivenAlready;
}

}  // namespace penstock
