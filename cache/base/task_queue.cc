#include "cache/base/task_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

namespace penstock::cache {

TaskQueue::TaskQueue() : event_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (event_fd_ < 0) std::abort();  // a sidecar that cannot be woken cannot work
  shared_.set_capacity(kCapacity);
}

TaskQueue::~TaskQueue() { close(event_fd_); }

void TaskQueue::Push(Loop::Task task) {
  if (OnOwnThread()) {
    own_.push_back(std::move(task));
    if (own_.size() == 1) Wake();
    return;
  }
  shared_.push(std::move(task));
  // One write announces everything that is pushed until the loop has seen it.
  if (!announced_.exchange(true, std::memory_order_acq_rel)) Wake();
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
  // An exchange, not a store: it takes over what the announcing threads pushed before.
  (void)announced_.exchange(false, std::memory_order_acq_rel);
  // Only what is there now: a task that posts again must not starve the descriptors.
  std::ptrdiff_t count = shared_.size();
  Loop::Task task;
  while (count-- > 0 && shared_.try_pop(task)) task();
  std::size_t own = own_.size();
  while (own-- > 0) {
    task = std::move(own_.front());
    own_.pop_front();
    task();
  }
  return !own_.empty() || !shared_.empty();
}

}  // namespace penstock::cache
