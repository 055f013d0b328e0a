// The loop's twin on epoll, with a few threads for file I/O (cache/base/loop.h).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/base/loop.h"
#include "cache/base/task_queue.h"
#include "cache/base/timer_heap.h"
#include "cache/base/watch_table.h"

namespace penstock::cache {

class EpollLoop final : public Loop {
 public:
  static constexpr unsigned kFileThreads = 4;

  EpollLoop();
  ~EpollLoop() override;
  bool Usable() const { return epoll_fd_ >= 0; }

  Result<void> Watch(int fd, std::uint32_t events,
                     std::move_only_function<void(std::uint32_t)> ready) override;
  void Unwatch(int fd) override;
  TimerId After(std::int64_t delay_ns, Task task) override;
  void CancelTimer(TimerId id) override { timers_.Cancel(id); }
  void Start(FileOp* op) override;
  void Post(Task task) override { queue_.Push(std::move(task)); }
  void Run() override;
  void Stop() override;
  const char* Name() const override { return "epoll"; }

 private:
  void StartThreads();
  void FileThread();
  void ArmTimer(std::int64_t next_ns);

  TaskQueue queue_;
  TimerHeap timers_;
  WatchTable watches_;
  int epoll_fd_ = -1;
  int timer_fd_ = -1;                      // nanoseconds, where epoll_wait has milliseconds
  std::int64_t armed_ns_ = -1;
  std::atomic<bool> stop_{false};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<FileOp*> file_ops_;           // guarded by mutex_
  bool end_threads_ = false;               // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace penstock::cache
