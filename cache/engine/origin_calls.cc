#include "cache/engine/origin_calls.h"

#include <tbb/parallel_for.h>

#include <algorithm>
#include <utility>

#include "cache/base/loop.h"
#include "transport/base/crc32c.h"
#include "transport/base/thread.h"

namespace penstock::cache {
namespace {

// Up to this the checksum takes less time than waking another thread.
#if defined(__SANITIZE_THREAD__)
// TBB's library is not instrumented: ThreadSanitizer would not see how it hands work over.
constexpr std::uint64_t kInlineCrcBytes = UINT64_MAX;
#else
constexpr std::uint64_t kInlineCrcBytes = 256 * 1024;
#endif
constexpr unsigned kMaxParallelism = 64;

// TBB starts its threads by itself: each is made ready as ours are when it first works for us.
void EnterWorker() {
  if (g_on_thread_start != nullptr) g_on_thread_start();
}

unsigned Parallelism(unsigned cpus) { return std::clamp(cpus, 2u, kMaxParallelism); }

}  // namespace

void ReadCall::ComputeCrcs() {
  crcs.resize(buffers.size());
  if (BytesToCheck() <= kInlineCrcBytes) {
    for (std::size_t i = 0; i < buffers.size(); ++i) crcs[i] = Crc32c(buffers[i]);
    return;
  }
  tbb::parallel_for(std::size_t{0}, buffers.size(),
                    [this](std::size_t i) {
                      EnterWorker();
                      crcs[i] = Crc32c(buffers[i]);
                    });
}

std::uint64_t ReadCall::BytesToCheck() const {
  if (!want_crcs || !ok()) return 0;
  std::uint64_t bytes = 0;
  for (const auto& buffer : buffers) bytes += buffer.size();
  return bytes;
}

OriginCalls::OriginCalls(Loop* loop, unsigned cpus)
    : loop_(loop),
      inbox_(std::make_shared<Inbox>()),
      workers_limit_(tbb::global_control::max_allowed_parallelism, Parallelism(cpus)),
      // One of the processors is the core thread's.
      workers_(static_cast<int>(Parallelism(cpus)), 1) {
  inbox_->owner = this;
}

OriginCalls::~OriginCalls() {
  inbox_->owner = nullptr;
  for (auto& [call, running] : running_) Cancel(call);
  std::unique_lock lock(inbox_->mutex);
  inbox_->empty.wait(lock, [this] { return inbox_->outside == 0; });
}

void OriginCalls::Begin(std::unique_ptr<OriginCall> call, origin::Origin* origin,
                        std::move_only_function<void()> finished) {
  OriginCall* raw = call.get();
  raw->owner = this;
  raw->origin = origin;
  raw->op()->done = &OriginCalls::Done;
  raw->op()->user = raw;
  running_.emplace(raw, Running{std::move(call), std::move(finished)});
  {
    const std::lock_guard lock(inbox_->mutex);
    ++inbox_->outside;
  }
  raw->Start();
}

// On a thread of the origin, or inside Start().
void OriginCalls::Done(origin::Op* op) {
  auto* call = static_cast<OriginCall*>(op->user);
  const std::uint64_t bytes = call->BytesToCheck();
  if (bytes > kInlineCrcBytes) {
    call->owner->workers_.enqueue([call] {
      EnterWorker();
      call->ComputeCrcs();
      call->owner->Deliver(call);
    });
    return;
  }
  if (bytes > 0) call->ComputeCrcs();
  call->owner->Deliver(call);
}

void OriginCalls::Deliver(OriginCall* call) {
  const std::shared_ptr<Inbox> inbox = inbox_;
  bool post = false;
  {
    const std::lock_guard lock(inbox->mutex);
    inbox->finished.push_back(call);
    post = !std::exchange(inbox->posted, true);
  }
  if (post) {
    loop_->Post([inbox] {
      if (inbox->owner != nullptr) inbox->owner->Drain();
    });
  }
  // Last: from here on the owner may end, and the loop with it.
  const std::lock_guard lock(inbox->mutex);
  if (--inbox->outside == 0) inbox->empty.notify_all();
}

void OriginCalls::Drain() {
  const std::shared_ptr<Inbox> inbox = inbox_;
  std::vector<OriginCall*> finished;
  {
    const std::lock_guard lock(inbox->mutex);
    finished.swap(inbox->finished);
    inbox->posted = false;
  }
  for (OriginCall* call : finished) {
    auto node = running_.extract(call);
    if (!node.empty()) node.mapped().finished();
  }
}

}  // namespace penstock::cache
