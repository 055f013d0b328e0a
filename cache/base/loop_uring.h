// The loop on io_uring: polls, reads and writes in one ring (cache/base/loop.h).
#pragma once

#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <deque>

#include "cache/base/loop.h"
#include "cache/base/task_queue.h"
#include "cache/base/timer_heap.h"
#include "cache/base/watch_table.h"

namespace penstock::cache {

class UringLoop final : public Loop {
 public:
  static constexpr unsigned kRingEntries = 256;

  UringLoop();
  ~UringLoop() override;
  bool Usable() const { return usable_; }

  Result<void> Watch(int fd, std::uint32_t events,
                     std::move_only_function<void(std::uint32_t)> ready) override;
  void Unwatch(int fd) override;
  TimerId After(std::int64_t delay_ns, Task task) override;
  void CancelTimer(TimerId id) override { timers_.Cancel(id); }
  void Start(FileOp* op) override;
  void Post(Task task) override { queue_.Push(std::move(task)); }
  void Run() override;
  void Stop() override;
  const char* Name() const override { return "io_uring"; }

 private:
  io_uring_sqe* Sqe();
  void ArmPoll(WatchEntry* entry);
  void ArmQueue();
  void SubmitFile(FileOp* op);
  void WaitOnce(bool more);
  void Handle(std::uint64_t user_data, std::int32_t result);

  TaskQueue queue_;
  TimerHeap timers_;
  WatchTable watches_;
  io_uring ring_{};
  bool usable_ = false;
  bool queue_armed_ = false;               // a poll of the queue's event is in the kernel
  std::uint64_t file_ops_ = 0;             // in the kernel
  std::deque<FileOp*> waiting_files_;      // beyond what the completion queue holds
  std::atomic<bool> stop_{false};
};

}  // namespace penstock::cache
