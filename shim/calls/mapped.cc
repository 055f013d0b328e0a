// What only the kernel can do with a file: it becomes real first, over the range that the call
// needs where that is known. What a read-only file refuses, and what copies through our own buffer.

#include <aio.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "shim/calls/partial_map.h"
#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/client.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"

// libaio's control block, as the kernel defines it.
struct iocb {
  uint64_t data;
  uint32_t key;
  int32_t rw_flags;
  uint16_t opcode;
  int16_t priority;
  uint32_t fd;
  uint64_t buffer;
  uint64_t bytes;
  int64_t offset;
};

namespace penstock {
namespace {

constexpr size_t kSendMax = 0x7ffff000;    // the kernel's own limit for one call

// Asks the sidecar to have a range soon. Nobody waits.
void WillNeed(int fd, uint64_t offset, uint64_t bytes) {
  FdEntry entry;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr || !PstFdSnapshot(fd, &entry) || entry.kind == kFdDirectory || offset >= entry.size) return;
  int path_len = PstFdPathOrAsk(fd, entry, path);
  if (path_len < 0) return;
  Ask ask;
  ask.op = PST_OP_FETCH;
  ask.ns = entry.ns;
  ask.id = entry.id;
  ask.version = entry.version;
  ask.offset = offset;
  ask.length = bytes == 0 || bytes > entry.size - offset ? entry.size - offset : bytes;
  ask.slot = entry.slot;
  ask.slot_generation = entry.generation;
  ask.path = path;
  ask.path_len = static_cast<uint32_t>(path_len);
  PstHint(ask);
}

// Writes all of a chunk. How much got out; less after an error (errno is set).
size_t WriteOut(int out, const char* bytes, size_t count) {
  size_t done = 0;
  while (done < count) {
    ssize_t n = real.write(out, bytes + done, count - done);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

// sendfile from a covered file: hot reads into a buffer, and a write. It saves a materialisation,
// which costs more than the copy for the files that sendfile is mostly used on.
PST_COLD ssize_t SendCovered(int out, int in, off_t* offset, size_t count) {
  Scratch scratch;
  char* buffer = scratch.Get();
  if (buffer == nullptr) return PstFail(ENOMEM);
  FdEntry entry;
  size_t total = 0;
  if (count > kSendMax) count = kSendMax;
  if (offset != nullptr && *offset < 0) return PstFail(EINVAL);
  while (total < count) {
    size_t want = count - total < kScratchBytes ? count - total : kScratchBytes;
    bool native = !PstFdSnapshot(in, &entry) || entry.kind != kFdFile;
    ssize_t n = 0;
    if (!native) {
      n = offset != nullptr ? PstReadAt(in, entry, buffer, want, static_cast<uint64_t>(*offset))
                            : PstRead(in, entry, buffer, want, &native);
    }
    if (native) {  // another thread has made it real meanwhile
      ssize_t rest = real.sendfile(out, in, offset, count - total);
      return rest < 0 && total > 0 ? static_cast<ssize_t>(total)
             : rest < 0            ? rest
                                   : static_cast<ssize_t>(total) + rest;
    }
    if (n < 0) return total > 0 ? static_cast<ssize_t>(total) : PstFail(static_cast<int>(-n));
    if (n == 0) break;
    size_t written = WriteOut(out, buffer, static_cast<size_t>(n));
    total += written;
    if (offset != nullptr) {
      *offset += static_cast<off_t>(written);
    } else if (written < static_cast<size_t>(n)) {
      KeepErrno keep;
      bool moved = false;
      PstSeek(in, entry, static_cast<int64_t>(written) - n, SEEK_CUR, &moved);
      if (moved) real.lseek(in, static_cast<int64_t>(written) - n, SEEK_CUR);
    }
    if (written < static_cast<size_t>(n)) return total > 0 ? static_cast<ssize_t>(total) : -1;
  }
  return static_cast<ssize_t>(total);
}

// The descriptor to map of a covered file, filled where it will be seen. 0 or a positive errno.
int FillToMap(const FdEntry& entry, const char* path, uint32_t path_len, size_t bytes, off_t offset, int* map_fd) {
  bool whole = entry.size <= kMapWholeBytes;
  if (bytes > entry.size) bytes = entry.size != 0 ? entry.size : 1;
  return PstMaterializeEntry(entry, path, path_len, whole ? 0 : static_cast<uint64_t>(offset), whole ? 0 : bytes,
                             true, map_fd);
}

// Maps a covered file: through a descriptor of its own, of which, for a large file, only the mapped range
// must be there (mremap asks for more). The number stays as it is.
PST_COLD void* MapCovered(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  FdEntry entry;
  Scratch scratch;
  char* path = scratch.Get();
  if (!PstFdSnapshot(fd, &entry) || entry.kind != kFdFile)
    return real.mmap(at, bytes, protection, flags, fd, offset);
  if (path == nullptr) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  int map_fd = -1, err = EACCES, len = 0;
  if ((entry.flags & O_PATH) != 0) {
    err = EBADF;
  } else if (offset < 0) {
    err = (offset & (getpagesize() - 1)) != 0 || bytes == 0 ? EINVAL : EOVERFLOW;
  } else if ((protection & PROT_WRITE) == 0 || (flags & MAP_TYPE) == MAP_PRIVATE) {
    len = PstFdPathOrAsk(fd, entry, path);
    err = len < 0 ? -len : FillToMap(entry, path, static_cast<uint32_t>(len), bytes, offset, &map_fd);
  }
  if (err != 0) {
    errno = err;
    return MAP_FAILED;
  }
  void* mapped = real.mmap(at, bytes, protection, flags, map_fd, offset);
  KeepErrno keep;
  auto path_len = static_cast<uint32_t>(len);
  if (mapped != MAP_FAILED && entry.size > kMapWholeBytes &&
      !PstNotePartialMap(entry, path, path_len, map_fd, mapped)) {
    int whole_fd = -1;
    err = PstMaterializeEntry(entry, path, path_len, 0, 0, true, &whole_fd);
    if (err == 0) real.close(whole_fd);
  }
  real.close(map_fd);
  if (err != 0) {
    Raw(SYS_munmap, mapped, bytes);
    keep.Set(err);
    return MAP_FAILED;
  }
  return mapped;
}

int MakeAioReal(const struct aiocb* control) {
  if (control == nullptr || control->aio_offset < 0) return 0;
  return MakeReal(control->aio_fildes);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT void* mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if (PST_UNLIKELY(fd >= 0) && (flags & MAP_ANONYMOUS) == 0 && PST_UNLIKELY(PstFdKindOf(fd) == kFdFile))
    return MapCovered(at, bytes, protection, flags, fd, offset);
  void* mapped = real.mmap(at, bytes, protection, flags, fd, offset);
  if (PST_UNLIKELY(g_rings) && fd >= 0 && mapped != MAP_FAILED) UringMapped(fd, offset, mapped);
  return mapped;
}

PST_EXPORT void* mremap(void* at, size_t bytes, size_t new_bytes, int flags, ...) {
  va_list list;
  va_start(list, flags);
  void* new_at = va_arg(list, void*);
  va_end(list);
  if (PST_UNLIKELY(g_partial_maps) && new_bytes > bytes) {
    int err = PstFillForRemap(at, new_bytes, -1);
    if (err != 0) {
      errno = err;
      return MAP_FAILED;
    }
  }
  return real.mremap(at, bytes, new_bytes, flags, new_at);
}

PST_EXPORT int remap_file_pages(void* at, size_t bytes, int protection, size_t page, int flags) {
  if (PST_UNLIKELY(g_partial_maps)) {
    int err = PstFillForRemap(at, bytes, static_cast<int64_t>(page * static_cast<size_t>(getpagesize())));
    if (err != 0) return PstFail(err);
  }
  return real.remap_file_pages(at, bytes, protection, page, flags);
}

PST_EXPORT ssize_t sendfile(int out, int in, off_t* offset, size_t count) {
  FdKind kind = PstFdKindOf(in);
  if (PST_UNLIKELY(kind == kFdFile) && !IsPathOnly(in)) return SendCovered(out, in, offset, count);
  return real.sendfile(out, in, offset, count);
}

PST_EXPORT ssize_t copy_file_range(int in, off_t* in_offset, int out, off_t* out_offset,
                                   size_t count, unsigned flags) {
  // As between two file systems: everybody who uses it has a way on from EXDEV, by hot reads.
  if (PST_UNLIKELY(IsCovered(PstFdKindOf(in)))) return PstFail(EXDEV);
  return real.copy_file_range(in, in_offset, out, out_offset, count, flags);
}

PST_EXPORT ssize_t splice(int in, off_t* in_offset, int out, off_t* out_offset, size_t count,
                          unsigned flags) {
  if (MakeReal(in) != 0) return -1;
  return real.splice(in, in_offset, out, out_offset, count, flags);
}

PST_EXPORT ssize_t readahead(int fd, off_t offset, size_t count) {
  if (PST_LIKELY(PstFdKindOf(fd) != kFdFile) || IsPathOnly(fd))
    return real.readahead(fd, offset, count);
  if (offset >= 0) WillNeed(fd, static_cast<uint64_t>(offset), count);
  return 0;
}

PST_EXPORT int posix_fadvise(int fd, off_t offset, off_t bytes, int advice) {
  if (PST_LIKELY(PstFdKindOf(fd) != kFdFile) || IsPathOnly(fd))
    return real.posix_fadvise(fd, offset, bytes, advice);
  if (advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE || bytes < 0) return EINVAL;
  if (advice == POSIX_FADV_WILLNEED && offset >= 0)
    WillNeed(fd, static_cast<uint64_t>(offset), static_cast<uint64_t>(bytes));
  return 0;
}

PST_EXPORT int ftruncate(int fd, off_t bytes) {
  if (PST_UNLIKELY(IsCoveredPathOnly(fd))) return PstFail(EBADF);
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return PstFail(EINVAL);
  return real.ftruncate(fd, bytes);
}

PST_EXPORT int fsync(int fd) {
  if (PST_UNLIKELY(IsCoveredPathOnly(fd))) return PstFail(EBADF);
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return 0;
  return real.fsync(fd);
}

PST_EXPORT int fdatasync(int fd) {
  if (PST_UNLIKELY(IsCoveredPathOnly(fd))) return PstFail(EBADF);
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return 0;
  return real.fdatasync(fd);
}

PST_EXPORT int syncfs(int fd) {
  if (PST_UNLIKELY(IsCovered(PstFdKindOf(fd)))) return IsPathOnly(fd) ? PstFail(EBADF) : 0;
  return real.syncfs(fd);
}

PST_EXPORT int sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags) {
  if (PST_UNLIKELY(IsCoveredPathOnly(fd))) return PstFail(EBADF);
  if (PST_UNLIKELY(PstFdKindOf(fd) == kFdFile)) return 0;
  return real.sync_file_range(fd, offset, bytes, flags);
}

PST_EXPORT int aio_read(struct aiocb* control) {
  if (MakeAioReal(control) != 0) return -1;
  return real.aio_read(control);
}

PST_EXPORT int aio_fsync(int operation, struct aiocb* control) {
  if (MakeAioReal(control) != 0) return -1;
  return real.aio_fsync(operation, control);
}

PST_EXPORT int lio_listio(int mode, struct aiocb* const* list, int count, struct sigevent* event) {
  for (int i = 0; i < count; ++i) {
    if (list[i] != nullptr && list[i]->aio_lio_opcode == LIO_READ && MakeAioReal(list[i]) != 0)
      return -1;
  }
  return real.lio_listio(mode, list, count, event);
}

// As libaio's: an error is the result. Without libaio (a program that makes the call through syscall()) the
// kernel's own.
PST_EXPORT int io_submit(struct io_context* context, long count, struct iocb** list) {
  KeepErrno keep;
  for (long i = 0; i < count; ++i) {
    if (PstFdKindOf(static_cast<int>(list[i]->fd)) == kFdNone || MakeReal(static_cast<int>(list[i]->fd)) == 0) continue;
    if (i == 0) return -errno;
    count = i;
  }
  return static_cast<int>(Raw(SYS_io_submit, context, count, list));
}
