#include "cache/base/task_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

namespace penstock::cache {

TaskQueue::TaskQueue() : event_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (event_fd_ < 0) std::abort();  // a sidecar that cannot be woken cannot work
}

TaskQueue::~TaskQueue() { close(event_fd_); }

void TaskQueue::Push(Loop::Task task) {
  if (OnOwnThread()) {
    own_.push_back(std::move(task));
    if (own_.size() == 1) Wake();
    return;
  }
  bool announce = false;
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return closed_ || shared_.size() < kCapacity; });
    shared_.push_back(std::move(task));
    // One write announces everything that is pushed until the loop has taken it.
    announce = !std::exchange(announced_, true);
  }
  if (announce) Wake();
}

void TaskQueue::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  room_.notify_all();
}

void TaskQueue::Wake() {
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full of wake-ups already.
  [[maybe_unused]] const ssize_t written = write(event_fd_, &one, sizeof one);
}

void TaskQueue::DrainEvent() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(event_fd_, &count, sizeof count);
}

bool TaskQueue::RunSome() {
  bool was_full = false;
  {
    const std::lock_guard lock(mutex_);
    taken_.swap(shared_);
    announced_ = false;
    was_full = taken_.size() >= kCapacity;
  }
  if (was_full) room_.notify_all();
  for (Loop::Task& task : taken_) task();
  taken_.clear();
  // Only what is there now: a task that posts again must not starve the descriptors.
  for (std::size_t own = own_.size(); own > 0; --own) {
    Loop::Task task = std::move(own_.front());
    own_.pop_front();
    task();
  }
  return !own_.empty();
}

}  // namespace penstock::cache
