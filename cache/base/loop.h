// The core thread's event loop: file descriptors, timers, posted tasks, file I/O.
//
// Two implementations behind one interface: io_uring (poll, read, write in one ring) and, where a
// container forbids io_uring or PENSTOCK_NO_IO_URING=1 is set, epoll with a small pool of threads for
// file I/O. An idle loop sleeps in the kernel without a timeout unless a timer is set: no CPU.
//
// Thread safety: Post() and Stop() from any thread; all else on the loop's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "transport/base/result.h"

namespace penstock::cache {

// One positioned read or write of a file, owned by the caller until `done`.
struct FileOp {
  int fd = -1;
  void* buffer = nullptr;
  std::uint32_t length = 0;
  std::uint64_t offset = 0;
  bool write = false;
  std::int64_t result = 0;                 // bytes, or -errno
  void (*done)(FileOp* op) = nullptr;      // on the loop's thread
  void* user = nullptr;
};

class Loop {
 public:
  using Task = std::move_only_function<void()>;
  using TimerId = std::uint64_t;           // 0 is none

  virtual ~Loop() = default;
  // Calls `ready(events)` (POLLIN etc.) each time fd is ready, level-triggered, until Unwatch.
  virtual Result<void> Watch(int fd, std::uint32_t events, std::move_only_function<void(std::uint32_t)> ready) = 0;
  virtual void Unwatch(int fd) = 0;
  virtual TimerId After(std::int64_t delay_ns, Task task) = 0;
  virtual void CancelTimer(TimerId id) = 0;
  virtual void Start(FileOp* op) = 0;
  virtual void Post(Task task) = 0;        // any thread; runs in order
  virtual void Run() = 0;                  // until Stop
  virtual void Stop() = 0;                 // any thread, async-signal-safe
  virtual const char* Name() const = 0;    // "io_uring" or "epoll"
};

// `allow_io_uring` false forces the twin.
std::unique_ptr<Loop> MakeLoop(bool allow_io_uring);

std::int64_t MonotonicNs();

}  // namespace penstock::cache
