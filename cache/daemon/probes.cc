#include "cache/daemon/probes.h"

#include <fmt/format.h>

#include <utility>

#include "transport/base/clock.h"
#include "transport/base/log.h"

namespace penstock::cache {

struct Probes::Look : origin::ProbeOp {
  std::shared_ptr<Shared> shared;
  Loop* loop = nullptr;
  std::size_t target = 0;
};

Probes::Probes(Loop* loop, std::vector<Target> targets)
    : loop_(loop),
      targets_(std::move(targets)),
      results_(targets_.size()),
      looks_(targets_.size()),
      awaited_(targets_.size(), false) {
  shared_->owner = this;
}

Probes::~Probes() {
  shared_->owner = nullptr;
  if (give_up_ != 0) loop_->CancelTimer(give_up_);
  for (std::size_t i = 0; i < looks_.size(); ++i)
    if (looks_[i]) targets_[i].origin->Cancel(looks_[i].get());
  std::unique_lock lock(shared_->mutex);
  shared_->none.wait(lock, [this] { return shared_->outside == 0; });
}

void Probes::Ask(std::int64_t max_age_ns, std::move_only_function<void()> done) {
  if (probed_ns_ != 0 && MonotonicNs() - probed_ns_ < max_age_ns) return done();
  waiting_.push_back(std::move(done));
  if (std::exchange(running_, true)) return;
  awaiting_ = targets_.size();
  awaited_.assign(targets_.size(), true);
  give_up_ = loop_->After((kProbeMs + kProbeGiveUpMs) * kNsPerMs, [this] { GiveUp(); });
  for (std::size_t i = 0; i < targets_.size(); ++i)
    if (!looks_[i]) Start(i);
  if (targets_.empty()) Finished();
}

void Probes::Start(std::size_t target) {
  auto look = std::make_unique<Look>();
  look->shared = shared_;
  look->loop = loop_;
  look->target = target;
  look->deadline_ns = MonotonicNs() + kProbeMs * kNsPerMs;
  look->done = &Probes::Answered;
  Look* raw = look.get();
  looks_[target] = std::move(look);
  {
    const std::lock_guard lock(shared_->mutex);
    ++shared_->outside;
  }
  targets_[target].origin->StartProbe(raw);
}

// On a thread of the origin, or inside StartProbe().
void Probes::Answered(origin::Op* op) {
  auto* look = static_cast<Look*>(op);
  const std::shared_ptr<Shared> shared = look->shared;
  look->loop->Post([shared, look] {
    if (shared->owner != nullptr) shared->owner->Take(look);
  });
  // Last: from here on the owner may end, and the look with it.
  const std::lock_guard lock(shared->mutex);
  if (--shared->outside == 0) shared->none.notify_all();
}

void Probes::Take(Look* look) {
  const std::size_t i = look->target;
  ProbeResult result;
  result.ok = look->ok();
  if (!result.ok)
    result.problem = fmt::format("{}: {}: {}", targets_[i].path, targets_[i].origin->Describe(),
                                 look->explanation.empty() ? CodeName(look->error.code)
                                                           : look->explanation.c_str());
  looks_[i].reset();
  Settle(i, std::move(result));
}

void Probes::GiveUp() {
  give_up_ = 0;
  for (std::size_t i = 0; i < targets_.size() && running_; ++i)
    if (awaited_[i])
      Settle(i, {false, fmt::format("{}: {}: does not answer at all", targets_[i].path,
                                    targets_[i].origin->Describe())});
}

void Probes::Settle(std::size_t i, ProbeResult result) {
  if (result.problem != results_[i].problem || probed_ns_ == 0) {
    if (!result.ok)
      log::Error("{}", result.problem);
    else if (probed_ns_ != 0)
      log::Info("{}: the origin answers again", targets_[i].path);
  }
  results_[i] = std::move(result);
  if (!awaited_[i]) return;  // too late for this round
  awaited_[i] = false;
  if (--awaiting_ == 0) Finished();
}

void Probes::Finished() {
  if (give_up_ != 0) loop_->CancelTimer(std::exchange(give_up_, 0));
  probed_ns_ = MonotonicNs();
  running_ = false;
  for (auto& done : std::exchange(waiting_, {})) done();
}

}  // namespace penstock::cache
