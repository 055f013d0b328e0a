// read, pread, readv, preadv, preadv2, lseek. A number that is not covered costs a compare and a load.

#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/read_hit.h"
#include "shim/core/serve.h"

namespace penstock {
namespace {

constexpr int kMaxVectors = 1024;              // as the kernel's UIO_MAXIOV
constexpr size_t kMaxTotal = 0x7ffff000;       // as its MAX_RW_COUNT
constexpr int kKnownFlags = 0x1F;              // RWF_HIPRI .. RWF_APPEND

// What reading such a number gives: 0 to go on, else the errno; *native: the kernel serves it.
PST_INLINE int Readable(int fd, FdEntry* entry, bool* native) {
  *native = false;
  if (PST_UNLIKELY(!PstFdHot(fd, entry))) {
    *native = !PstFdIsOwn(fd);
    return EBADF;
  }
  if (PST_LIKELY(entry->kind == kFdFile)) return (entry->flags & O_PATH) == 0 ? 0 : EBADF;
  if (entry->kind == kFdDirectory) return (entry->flags & O_PATH) == 0 ? EISDIR : EBADF;
  *native = true;
  return EBADF;
}

// The cancellation point of reads that no system call makes. Nothing is held yet: this may not
// return.
PST_INLINE void MayEndHere() {
  auto* end_point = __atomic_load_n(&g_end_point, __ATOMIC_RELAXED);
  if (PST_UNLIKELY(end_point != nullptr)) end_point();
}

PST_COLD ssize_t Failed(ssize_t result) { return PstFail((int)-result); }

// A dup2 put another file onto the number while the call worked on the one before. The kernel would
// have kept that one until the end; here the call is made again, on the new one. Not for ever.
constexpr int kTries = 1000;
PST_INLINE bool Replaced(int fd, const FdEntry& entry, ssize_t result, int tries) {
  return PST_UNLIKELY(result == -EBADF) && PstFdChanged(fd, entry) && tries < kTries;
}

__attribute__((noinline)) ssize_t ReadLong(int fd, void* buffer, size_t count) {
  MayEndHere();
  for (int tries = 0;; ++tries) {
    FdEntry entry;
    bool native;
    int err = Readable(fd, &entry, &native);
    if (PST_LIKELY(err == 0)) {
      if (PST_UNLIKELY((ssize_t)count < 0)) return PstFail(EFAULT);  // no memory is that large
      ssize_t got = PstRead(fd, entry, buffer, count, &native);
      if (Replaced(fd, entry, got, tries)) continue;
      if (PST_LIKELY(!native)) return PST_LIKELY(got >= 0) ? got : Failed(got);
    }
    return native ? real.read(fd, buffer, count) : PstFail(err);
  }
}

// The rest of a read whose bytes were claimed and are not all at one known place.
__attribute__((noinline)) ssize_t ReadClaimed(int fd, const FdFile& file, void* buffer,
                                              size_t count, size_t claimed, uint64_t offset) {
  FdEntry entry;
  if (PST_UNLIKELY(!PstFdHot(fd, &entry) || entry.slot != file.slot ||
                   entry.generation != file.generation)) {
    PstUnclaim(file.slot, file.generation, offset, claimed, 0);
    return ReadLong(fd, buffer, count);
  }
  ssize_t got = PstReadAt(fd, entry, buffer, claimed, offset);
  if (PST_UNLIKELY(got < (ssize_t)claimed))
    PstUnclaim(file.slot, file.generation, offset, claimed, got);
  if (Replaced(fd, entry, got, 0)) return ReadLong(fd, buffer, count);
  return PST_LIKELY(got >= 0) ? got : Failed(got);
}

// A read that hits in one piece, else the long way.
__attribute__((noinline)) ssize_t ReadCovered(int fd, void* buffer, size_t count) {
  FdFile file;
  uint64_t offset;
  if (PST_LIKELY(PstFdFileNow(fd, &file) && count - 1 < kMaxTotal)) {
    const int64_t claimed = PstClaimNow(file, count, &offset);
    if (PST_LIKELY(claimed > 0)) {
      if (PST_LIKELY(PstReadHit(fd, file, buffer, (uint64_t)claimed, offset))) return claimed;
      return ReadClaimed(fd, file, buffer, count, (size_t)claimed, offset);
    }
    if (claimed == 0) return 0;
  }
  return ReadLong(fd, buffer, count);
}

PST_COLD ssize_t PreadLong(int fd, void* buffer, size_t count, off_t offset) {
  MayEndHere();
  if (PST_UNLIKELY(offset < 0)) return PstFail(EINVAL);  // whatever the number is
  for (int tries = 0;; ++tries) {
    FdEntry entry;
    bool native;
    int err = Readable(fd, &entry, &native);
    if (PST_UNLIKELY(err != 0))
      return native ? real.pread(fd, buffer, count, offset) : PstFail(err);
    if (PST_UNLIKELY((ssize_t)count < 0)) return PstFail(EFAULT);
    ssize_t got = PstReadAt(fd, entry, buffer, count, (uint64_t)offset);
    if (Replaced(fd, entry, got, tries)) continue;
    return PST_LIKELY(got >= 0) ? got : Failed(got);
  }
}

// A pread that hits in one piece, else the long way.
__attribute__((noinline)) ssize_t PreadCovered(int fd, void* buffer, size_t count, off_t offset) {
  FdFile file;
  if (PST_LIKELY(PstFdFileNow(fd, &file) && (uint64_t)offset < file.size && count - 1 < kMaxTotal)) {
    const uint64_t left = file.size - (uint64_t)offset;
    const uint64_t want = left < count ? left : count;
    if (PST_LIKELY(PstReadHit(fd, file, buffer, want, (uint64_t)offset))) return (ssize_t)want;
  }
  return PreadLong(fd, buffer, count, offset);
}

// The sum of the lengths, at most kMaxTotal; -1 if the kernel would refuse them.
ssize_t TotalOf(const struct iovec* iov, int count) {
  if (count < 0 || count > kMaxVectors) return -1;
  size_t total = 0;
  for (int i = 0; i < count; ++i) {
    if ((ssize_t)iov[i].iov_len < 0) return -1;
    total += iov[i].iov_len;
    if ((ssize_t)total < 0) return -1;
  }
  return (ssize_t)(total < kMaxTotal ? total : kMaxTotal);
}

// What the kernel says of a folder: bad vectors first, and nothing about an empty read.
int FolderErrno(const struct iovec* iov, int count) {
  ssize_t total = TotalOf(iov, count);
  return total < 0 ? EINVAL : total == 0 ? 0 : EISDIR;
}

// Reads at `offset` into the vectors, `total` bytes at most.
ssize_t Scatter(int fd, const FdEntry& entry, const struct iovec* iov, int count, size_t total,
                uint64_t offset) {
  size_t done = 0;
  for (int i = 0; i < count && done < total; ++i) {
    size_t want = iov[i].iov_len < total - done ? iov[i].iov_len : total - done;
    if (want == 0) continue;
    ssize_t got = PstReadAt(fd, entry, iov[i].iov_base, want, offset + done);
    if (got < 0) return done > 0 ? (ssize_t)done : got;
    done += (size_t)got;
    if ((size_t)got < want) break;
  }
  return (ssize_t)done;
}

PST_COLD ssize_t ReadvCovered(int fd, const struct iovec* iov, int count) {
  MayEndHere();
  for (int tries = 0;; ++tries) {
    FdEntry entry;
    bool native;
    int err = Readable(fd, &entry, &native);
    if (err == EISDIR) err = FolderErrno(iov, count);
    if (err != 0) return native ? real.readv(fd, iov, count) : PstFail(err);
    if (entry.kind == kFdDirectory) return 0;
    ssize_t total = TotalOf(iov, count);
    if (total < 0) return PstFail(EINVAL);
    ssize_t got =
        PstReadVector(fd, entry, (size_t)total, &native, [&](uint64_t offset, size_t claimed) {
          return Scatter(fd, entry, iov, count, claimed, offset);
        });
    if (Replaced(fd, entry, got, tries)) continue;
    if (native) return real.readv(fd, iov, count);
    return got >= 0 ? got : Failed(got);
  }
}

PST_COLD ssize_t PreadvCovered(int fd, const struct iovec* iov, int count, off_t offset, bool* native) {
  MayEndHere();
  for (int tries = 0;; ++tries) {
    FdEntry entry;
    int err = Readable(fd, &entry, native);
    if (offset < 0) {
      *native = false;
      return PstFail(EINVAL);
    }
    if (err == EISDIR) err = FolderErrno(iov, count);
    if (err != 0) return PstFail(err);
    if (entry.kind == kFdDirectory) return 0;
    ssize_t total = TotalOf(iov, count);
    if (total < 0) return PstFail(EINVAL);
    ssize_t got = Scatter(fd, entry, iov, count, (size_t)total, (uint64_t)offset);
    if (Replaced(fd, entry, got, tries)) continue;
    return got >= 0 ? got : Failed(got);
  }
}

PST_COLD off_t SeekCovered(int fd, off_t offset, int whence) {
  for (int tries = 0;; ++tries) {
    FdEntry entry;
    bool native;
    int err = Readable(fd, &entry, &native);
    if (err == 0) {
      int64_t at = PstSeek(fd, entry, offset, whence, &native);
      if (Replaced(fd, entry, at, tries)) continue;
      if (!native) return at >= 0 ? at : PstFail((int)-at);
    }
    // The shadow directory's own offset serves a directory's number.
    if (native || err == EISDIR) return real.lseek(fd, offset, whence);
    return PstFail(err);
  }
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT ssize_t read(int fd, void* buffer, size_t count) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.read(fd, buffer, count);
  return ReadCovered(fd, buffer, count);
}

PST_EXPORT ssize_t pread(int fd, void* buffer, size_t count, off_t offset) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.pread(fd, buffer, count, offset);
  return PreadCovered(fd, buffer, count, offset);
}

PST_EXPORT ssize_t readv(int fd, const struct iovec* iov, int count) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.readv(fd, iov, count);
  return ReadvCovered(fd, iov, count);
}

PST_EXPORT ssize_t preadv(int fd, const struct iovec* iov, int count, off_t offset) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.preadv(fd, iov, count, offset);
  bool native;
  ssize_t got = PreadvCovered(fd, iov, count, offset, &native);
  return native ? real.preadv(fd, iov, count, offset) : got;
}

PST_EXPORT ssize_t preadv2(int fd, const struct iovec* iov, int count, off_t offset, int flags) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.preadv2(fd, iov, count, offset, flags);
  if (PST_UNLIKELY(PstFdKindOf(fd) <= kFdDirectory && (flags & ~kKnownFlags) != 0))
    return PstFail(EOPNOTSUPP);
  bool native = false;
  ssize_t got = offset == -1 ? ReadvCovered(fd, iov, count) : PreadvCovered(fd, iov, count, offset, &native);
  return native ? real.preadv2(fd, iov, count, offset, flags) : got;
}

PST_EXPORT off_t lseek(int fd, off_t offset, int whence) {
  if (PST_LIKELY(PstFdKindOf(fd) == kFdNone)) return real.lseek(fd, offset, whence);
  return SeekCovered(fd, offset, whence);
}
