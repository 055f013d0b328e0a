// File calls made off the caller's thread: the part of the folder origin that touches the kernel.
//
// Two twins do the same: one on io_uring, one on a few threads for where a container forbids
// io_uring. A FileCall belongs to the caller and stays untouched until `done`, which runs on a
// thread of the FileIo, must not block, and may submit further calls or free this one.
//
// Thread safety: Submit() from any thread. REQUIRES at destruction: every call is over.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>

namespace penstock::origin {

// Laid out as the kernel's 64-bit timespec.
struct FileDelay {
  std::int64_t seconds = 0;
  std::int64_t ns = 0;
};

struct FileCall {
  enum class Kind : std::uint8_t {
    kOpen,   // open(path, flags); result: the fd
    kRead,   // preadv(fd, buffers, buffer_count, offset); result: bytes, may be fewer than asked
    kDelay,  // nothing, for `delay`
    kRun,    // run(this): blocking work of any kind; only a pool can
  };
  Kind kind = Kind::kRead;
  const char* path = nullptr;
  int flags = 0;
  int fd = -1;
  const iovec* buffers = nullptr;
  unsigned buffer_count = 0;
  std::uint64_t offset = 0;
  FileDelay delay;
  void (*run)(FileCall* call) = nullptr;

  std::int64_t result = 0;  // >= 0, or -errno
  void (*done)(FileCall* call) = nullptr;

  FileCall* next = nullptr;  // the FileIo's queue
};

class FileIo {
 public:
  virtual ~FileIo() = default;
  virtual void Submit(FileCall* call) = 0;
  virtual const char* Name() const = 0;  // "io_uring" or "threads"
};

// A pool of `threads` threads named `name`.
std::unique_ptr<FileIo> MakePoolFileIo(unsigned threads, const char* name);

// nullptr where the kernel or the container forbids io_uring.
std::unique_ptr<FileIo> MakeUringFileIo();

// io_uring where it is allowed and PENSTOCK_NO_IO_URING is not "1", else the pool.
std::unique_ptr<FileIo> MakeFileIo();

// Calls waiting in line, linked through FileCall::next. Not thread-safe.
class FileCallQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  void Push(FileCall* call);
  FileCall* Pop();  // REQUIRES: not empty

 private:
  FileCall* head_ = nullptr;
  FileCall* tail_ = nullptr;
};

}  // namespace penstock::origin
