#include "cache/base/loop_epoll.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/thread.h"

namespace penstock::cache {
namespace {

// epoll's and poll's bits are the same for these.
static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR && EPOLLHUP == POLLHUP);

constexpr std::uint64_t kQueueId = 0;
constexpr std::uint64_t kTimerId = UINT64_MAX;

std::int64_t RunFileOp(const FileOp& op) {
  std::int64_t done = 0;
  while (done < op.length) {
    char* at = static_cast<char*>(op.buffer) + done;
    const auto left = static_cast<std::size_t>(op.length - done);
    const auto offset = static_cast<off_t>(op.offset) + done;
    const ssize_t n = op.write ? pwrite(op.fd, at, left, offset) : pread(op.fd, at, left, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return done > 0 ? done : -errno;
    if (n == 0) break;
    done += n;
  }
  return done;
}

}  // namespace

EpollLoop::EpollLoop()
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      timer_fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kQueueId;
  bool good = epoll_fd_ >= 0 && timer_fd_ >= 0 &&
              epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, queue_.event_fd(), &event) == 0;
  event.data.u64 = kTimerId;
  good = good && epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, timer_fd_, &event) == 0;
  if (!good && epoll_fd_ >= 0) {
    close(epoll_fd_);
    epoll_fd_ = -1;
  }
}

EpollLoop::~EpollLoop() {
  // A file thread may wait for room in a queue that nobody empties any more.
  queue_.Close();
  {
    const std::lock_guard lock(mutex_);
    end_threads_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  for (FileOp* op : file_ops_) {
    op->result = -ECANCELED;
    op->done(op);
  }
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (timer_fd_ >= 0) close(timer_fd_);
}

Result<void> EpollLoop::Watch(int fd, std::uint32_t events,
                              std::move_only_function<void(std::uint32_t)> ready) {
  if (watches_.Has(fd)) return Fail(Code::kInvalid, "loop: the descriptor is watched already");
  const auto entry = watches_.Add(fd, events, std::move(ready));
  epoll_event event{};
  event.events = events;
  event.data.u64 = entry->id;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const Error error = ErrnoError(errno, "loop: epoll_ctl");
    watches_.Remove(fd);
    return std::unexpected(error);
  }
  return {};
}

void EpollLoop::Unwatch(int fd) {
  if (watches_.Remove(fd)) (void)epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

Loop::TimerId EpollLoop::After(std::int64_t delay_ns, Task task) {
  return timers_.Add(MonotonicNs() + std::max<std::int64_t>(delay_ns, 0), std::move(task));
}

void EpollLoop::Start(FileOp* op) {
  if (threads_.empty()) StartThreads();
  {
    const std::lock_guard lock(mutex_);
    file_ops_.push_back(op);
  }
  wake_.notify_one();
}

void EpollLoop::StartThreads() {
  for (unsigned i = 0; i < kFileThreads; ++i) {
    threads_.push_back(StartThread("file-io", [this] { FileThread(); }));
  }
}

void EpollLoop::FileThread() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return end_threads_ || !file_ops_.empty(); });
    // What has not begun when the loop ends does not begin: its descriptor may be another's by then.
    if (end_threads_ || file_ops_.empty()) return;
    FileOp* op = file_ops_.front();
    file_ops_.pop_front();
    lock.unlock();
    op->result = RunFileOp(*op);
    queue_.Push([op] { op->done(op); });
    lock.lock();
  }
}

void EpollLoop::ArmTimer(std::int64_t next_ns) {
  if (next_ns == armed_ns_) return;
  armed_ns_ = next_ns;
  itimerspec at{};  // zero disarms
  if (next_ns >= 0) at.it_value = {next_ns / kNsPerSecond, next_ns % kNsPerSecond};
  if (next_ns == 0) at.it_value.tv_nsec = 1;
  (void)timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &at, nullptr);
}

void EpollLoop::Run() {
  queue_.BindToThisThread();
  bool more = true;  // what was posted before Run()
  while (!stop_.load(std::memory_order_acquire)) {
    ArmTimer(timers_.NextNs());
    epoll_event events[64];
    const int count = epoll_wait(epoll_fd_, events, 64, more ? 0 : -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kQueueId) {
        queue_.DrainEvent();
      } else if (events[i].data.u64 == kTimerId) {
        std::uint64_t expirations = 0;
        [[maybe_unused]] const ssize_t got = read(timer_fd_, &expirations, sizeof expirations);
      } else if (const auto entry = watches_.ById(events[i].data.u64)) {
        entry->ready(events[i].events);
      }
    }
    more = queue_.RunSome();
    timers_.RunDue(MonotonicNs());
  }
  stop_.store(false, std::memory_order_relaxed);
}

void EpollLoop::Stop() {
  stop_.store(true, std::memory_order_release);
  queue_.Wake();
}

}  // namespace penstock::cache
