#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <thread>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/base/thread.h"
#include "transport/file/file_io.h"

namespace penstock::origin {
namespace {

static_assert(sizeof(FileDelay) == sizeof(__kernel_timespec));

// Submission is shared by all threads under one lock; completions belong to one thread.
class UringFileIo final : public FileIo {
 public:
  ~UringFileIo() override {
    if (!thread_.joinable()) return;
    SubmitStop();
    thread_.join();
    io_uring_queue_exit(&ring_);
    close(wake_fd_);
  }

  // False where io_uring is forbidden (EPERM, ENOSYS) or lacks what is used here.
  bool Start() {
    if (io_uring_queue_init(limits::kFileRingEntries, &ring_, 0) != 0) return false;
    if (!CanDoAll()) {
      io_uring_queue_exit(&ring_);
      return false;
    }
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) {
      io_uring_queue_exit(&ring_);
      return false;
    }
    thread_ = StartThread("pst-file-uring", [this] { Complete(); });
    return true;
  }

  void Submit(FileCall* call) override {
    const std::lock_guard lock(mutex_);
    waiting_.Push(call);
    IssueWaiting();
    if (io_uring_sq_ready(&ring_) == 0) return;
    const std::uint64_t one = 1;
    (void)!write(wake_fd_, &one, sizeof one);
  }

  const char* Name() const override { return "io_uring"; }

 private:
  bool CanDoAll() {
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    // Without EXT_ARG a wait with a timeout would touch the submission queue outside the lock.
    bool all = (ring_.features & IORING_FEAT_EXT_ARG) != 0;
    for (const int operation : {IORING_OP_OPENAT, IORING_OP_READV, IORING_OP_TIMEOUT,
                                IORING_OP_POLL_ADD}) {
      all = all && io_uring_opcode_supported(probe, operation) != 0;
    }
    io_uring_free_probe(probe);
    return all;
  }

  // REQUIRES: mutex_ held. Never more in flight than the ring has entries, so that neither of its
  // queues can run over.
  void IssueWaiting() {
    bool issued = false;
    while (!waiting_.empty() && in_flight_ < limits::kFileRingEntries) {
      io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
      if (sqe == nullptr) break;
      Prepare(sqe, waiting_.Pop());
      ++in_flight_;
      issued = true;
    }
    if (issued) SubmitRing();
  }

  // Entries that the kernel did not take (EAGAIN, EBUSY, or only the first of them) stay in the ring;
  // the completion thread tries again.
  void SubmitRing() {
    int result = 0;
    do {
      result = io_uring_submit(&ring_);
    } while (result == -EINTR);
  }

  // REQUIRES: mutex_ held. The completion thread hears of what a submitter could not hand over.
  void ArmWake() {
    if (wake_armed_) return;
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return;  // then entries wait for the kernel, and it looks again by itself
    io_uring_prep_poll_add(sqe, wake_fd_, POLLIN);
    io_uring_sqe_set_data(sqe, &wake_fd_);
    wake_armed_ = true;
  }

  void OnWake() {
    std::uint64_t count = 0;
    (void)!read(wake_fd_, &count, sizeof count);
    const std::lock_guard lock(mutex_);
    wake_armed_ = false;
  }

  void Prepare(io_uring_sqe* sqe, FileCall* call) {
    switch (call->kind) {
      case FileCall::Kind::kOpen:
        io_uring_prep_openat(sqe, AT_FDCWD, call->path, call->flags, 0);
        break;
      case FileCall::Kind::kRead:
        io_uring_prep_readv(sqe, call->fd, call->buffers, call->buffer_count, call->offset);
        break;
      case FileCall::Kind::kDelay:
        io_uring_prep_timeout(sqe, reinterpret_cast<__kernel_timespec*>(&call->delay), 0, 0);
        break;
      case FileCall::Kind::kRun:
        io_uring_prep_nop(sqe);  // never submitted here: see FileCall::Kind
        break;
    }
    io_uring_sqe_set_data(sqe, call);
  }

  void SubmitStop() {
    const std::lock_guard lock(mutex_);
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data(sqe, nullptr);
    SubmitRing();
  }

  void Complete() {
    bool stopping = false;
    while (!stopping) {
      io_uring_cqe* cqe = nullptr;
      __kernel_timespec retry_after{0, 10 * kNsPerMs};
      const bool must_retry = RetrySubmit();
      const int waited =
          io_uring_wait_cqe_timeout(&ring_, &cqe, must_retry ? &retry_after : nullptr);
      if (waited != 0 || cqe == nullptr) continue;
      void* data = io_uring_cqe_get_data(cqe);
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      if (data == &wake_fd_) {
        OnWake();
        continue;
      }
      auto* call = static_cast<FileCall*>(data);
      stopping = call == nullptr;
      if (!stopping) Finish(call, result);
    }
  }

  // Hands over what the kernel has not taken; true if entries still wait for it.
  bool RetrySubmit() {
    const std::lock_guard lock(mutex_);
    ArmWake();
    if (io_uring_sq_ready(&ring_) != 0) SubmitRing();
    return io_uring_sq_ready(&ring_) != 0;
  }

  void Finish(FileCall* call, int result) {
    {
      const std::lock_guard lock(mutex_);
      --in_flight_;
      IssueWaiting();
    }
    const bool slept = call->kind == FileCall::Kind::kDelay && result == -ETIME;
    call->result = slept ? 0 : result;
    call->done(call);
  }

  io_uring ring_{};
  int wake_fd_ = -1;
  std::mutex mutex_;
  FileCallQueue waiting_;     // guarded by mutex_
  unsigned in_flight_ = 0;   // guarded by mutex_
  bool wake_armed_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace

std::unique_ptr<FileIo> MakeUringFileIo() {
  auto ring = std::make_unique<UringFileIo>();
  if (!ring->Start()) return nullptr;
  return ring;
}

}  // namespace penstock::origin
