#include <fcntl.h>
#include <sys/uio.h>

#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "transport/base/thread.h"
#include "transport/file/file_io.h"

namespace penstock::origin {
namespace {

std::int64_t ResultOf(std::int64_t returned) { return returned < 0 ? -errno : returned; }

void Sleep(const FileDelay& delay) {
  timespec left{delay.seconds, delay.ns};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

void Execute(FileCall* call) {
  switch (call->kind) {
    case FileCall::Kind::kOpen:
      call->result = ResultOf(open(call->path, call->flags));
      break;
    case FileCall::Kind::kRead:
      call->result = ResultOf(preadv(call->fd, call->buffers, static_cast<int>(call->buffer_count),
                                     static_cast<off_t>(call->offset)));
      break;
    case FileCall::Kind::kDelay:
      Sleep(call->delay);
      call->result = 0;
      break;
    case FileCall::Kind::kRun:
      call->run(call);
      break;
  }
}

class PoolFileIo final : public FileIo {
 public:
  PoolFileIo(unsigned threads, const char* name) {
    for (unsigned i = 0; i < threads; ++i) {
      threads_.push_back(StartThread(name, [this] { Work(); }));
    }
  }

  ~PoolFileIo() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Submit(FileCall* call) override {
    {
      const std::lock_guard lock(mutex_);
      waiting_.Push(call);
    }
    wake_.notify_one();
  }

  const char* Name() const override { return "threads"; }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      FileCall* call = waiting_.Pop();
      lock.unlock();
      Execute(call);
      call->done(call);
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  FileCallQueue waiting_;  // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<FileIo> MakePoolFileIo(unsigned threads, const char* name) {
  return std::make_unique<PoolFileIo>(threads, name);
}

}  // namespace penstock::origin
