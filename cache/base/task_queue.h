// The inbox of a loop: tasks posted from any thread, bounded, announced through an eventfd.
//
// A thread that posts into a full queue waits until the loop has taken something (back pressure); the
// loop's own thread never waits for itself: its tasks go to an unbounded list that it empties next.
//
// Thread safety: Push() and Wake() from any thread, the rest on the loop's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/base/loop.h"

namespace penstock::cache {

class TaskQueue {
 public:
  static constexpr std::size_t kCapacity = 65'536;

  TaskQueue();
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  int event_fd() const { return event_fd_; }   // readable when there is work
  void BindToThisThread() { owner_.store(std::this_thread::get_id(), std::memory_order_relaxed); }
  // Back pressure ends when the loop does: Close() lets those through who wait for room.
  void Push(Loop::Task task);
  void Close();
  void Wake();                                 // async-signal-safe
  void DrainEvent();                           // after event_fd() was readable
  // Runs what was there when it was called. True if more waits.
  bool RunSome();

 private:
  bool OnOwnThread() const {
    return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

  int event_fd_ = -1;
  std::atomic<std::thread::id> owner_{};
  std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Loop::Task> shared_;             // guarded by mutex_
  bool closed_ = false;                        // guarded by mutex_: nobody takes from it any more
  bool announced_ = false;                     // guarded by mutex_: the loop knows or will be told
  std::vector<Loop::Task> taken_;              // what RunSome() works on
  std::deque<Loop::Task> own_;
};

}  // namespace penstock::cache
