#include "cache/base/loop_uring.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "transport/base/clock.h"

namespace penstock::cache {
namespace {

// user_data: what a completion belongs to, in the lowest bits (a FileOp is aligned to 8).
constexpr std::uint64_t kIgnore = 0;
constexpr std::uint64_t kQueueEvent = 1;
constexpr std::uint64_t kKindMask = 7;
constexpr std::uint64_t kKindFile = 2;
constexpr std::uint64_t kKindWatch = 3;   // the watch's id << 3
constexpr std::uint64_t kMaxFileOps = UringLoop::kRingEntries;

}  // namespace

UringLoop::UringLoop() {
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
  params.cq_entries = 4 * kRingEntries;
  usable_ = io_uring_queue_init_params(kRingEntries, &ring_, &params) == 0;
  // Waiting with a timeout and completions that are never lost are needed (5.11); every kernel that
  // lacks them gets the twin.
  constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
  if (usable_ && (params.features & kNeeded) != kNeeded) {
    io_uring_queue_exit(&ring_);
    usable_ = false;
  }
}

UringLoop::~UringLoop() {
  if (!usable_) return;
  while (file_ops_ > 0) WaitOnce(false);  // the kernel owns their buffers until then
  io_uring_queue_exit(&ring_);
}

io_uring_sqe* UringLoop::Sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    (void)io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void UringLoop::ArmQueue() {
  if (std::exchange(queue_armed_, true)) return;  // by an earlier Run()
  io_uring_sqe* sqe = Sqe();
  io_uring_prep_poll_add(sqe, queue_.event_fd(), POLLIN);
  io_uring_sqe_set_data64(sqe, kQueueEvent);
}

// One shot, armed again after the callback: that is what makes it level-triggered.
void UringLoop::ArmPoll(WatchEntry* entry) {
  io_uring_sqe* sqe = Sqe();
  io_uring_prep_poll_add(sqe, entry->fd, entry->events);
  io_uring_sqe_set_data64(sqe, entry->id << 3 | kKindWatch);
  entry->armed = true;
}

Result<void> UringLoop::Watch(int fd, std::uint32_t events,
                              std::move_only_function<void(std::uint32_t)> ready) {
  if (watches_.Has(fd)) return Fail(Code::kInvalid, "loop: the descriptor is watched already");
  ArmPoll(watches_.Add(fd, events, std::move(ready)).get());
  return {};
}

void UringLoop::Unwatch(int fd) {
  const auto entry = watches_.Remove(fd);
  if (!entry || !entry->armed) return;
  io_uring_sqe* sqe = Sqe();
  io_uring_prep_poll_remove(sqe, entry->id << 3 | kKindWatch);
  io_uring_sqe_set_data64(sqe, kIgnore);
  // Now, while fd is still the one that was meant: the poll holds its file until it is removed.
  (void)io_uring_submit(&ring_);
}

Loop::TimerId UringLoop::After(std::int64_t delay_ns, Task task) {
  return timers_.Add(MonotonicNs() + std::max<std::int64_t>(delay_ns, 0), std::move(task));
}

void UringLoop::Start(FileOp* op) {
  if (file_ops_ >= kMaxFileOps) {
    waiting_files_.push_back(op);
    return;
  }
  SubmitFile(op);
}

void UringLoop::SubmitFile(FileOp* op) {
  ++file_ops_;
  io_uring_sqe* sqe = Sqe();
  if (op->write) {
    io_uring_prep_write(sqe, op->fd, op->buffer, op->length, op->offset);
  } else {
    io_uring_prep_read(sqe, op->fd, op->buffer, op->length, op->offset);
  }
  io_uring_sqe_set_data64(sqe, reinterpret_cast<std::uint64_t>(op) | kKindFile);
}

void UringLoop::Handle(std::uint64_t user_data, std::int32_t result) {
  if (user_data == kIgnore) return;
  if (user_data == kQueueEvent) {
    queue_armed_ = false;
    queue_.DrainEvent();
    ArmQueue();
    return;
  }
  if ((user_data & kKindMask) == kKindFile) {
    auto* op = reinterpret_cast<FileOp*>(user_data & ~kKindMask);
    --file_ops_;
    if (!waiting_files_.empty()) {
      SubmitFile(waiting_files_.front());
      waiting_files_.pop_front();
    }
    op->result = result;
    op->done(op);
    return;
  }
  const std::uint64_t id = user_data >> 3;
  const auto entry = watches_.ById(id);
  if (!entry) return;
  entry->armed = false;
  if (result != -ECANCELED) entry->ready(result < 0 ? POLLERR : static_cast<std::uint32_t>(result));
  if (watches_.ById(id) && !entry->armed) ArmPoll(entry.get());
}

void UringLoop::WaitOnce(bool more) {
  const std::int64_t next_ns = timers_.NextNs();
  io_uring_cqe* cqe = nullptr;
  if (more) {
    (void)io_uring_submit(&ring_);
  } else if (next_ns < 0) {
    (void)io_uring_submit_and_wait(&ring_, 1);
  } else {
    const std::int64_t wait_ns = std::max<std::int64_t>(next_ns - MonotonicNs(), 0);
    __kernel_timespec timeout{wait_ns / kNsPerSecond, wait_ns % kNsPerSecond};
    (void)io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &timeout, nullptr);
  }
  // Copied out first: a handler may submit, and the queue's entries are then the kernel's again.
  for (;;) {
    io_uring_cqe* batch[64];
    const unsigned count = io_uring_peek_batch_cqe(&ring_, batch, 64);
    if (count == 0) break;
    std::pair<std::uint64_t, std::int32_t> done[64];
    for (unsigned i = 0; i < count; ++i) done[i] = {batch[i]->user_data, batch[i]->res};
    io_uring_cq_advance(&ring_, count);
    for (unsigned i = 0; i < count; ++i) Handle(done[i].first, done[i].second);
    if (count < 64) break;
  }
}

void UringLoop::Run() {
  queue_.BindToThisThread();
  ArmQueue();
  bool more = true;  // what was posted before Run()
  while (!stop_.load(std::memory_order_acquire)) {
    WaitOnce(more);
    more = queue_.RunSome();
    timers_.RunDue(MonotonicNs());
  }
  stop_.store(false, std::memory_order_relaxed);
}

void UringLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  queue_.Wake();
}

}  // namespace penstock::cache
