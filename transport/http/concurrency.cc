#include "transport/http/concurrency.h"

#include <algorithm>

namespace penstock::origin {

ConcurrencyLimit::ConcurrencyLimit(std::uint32_t most)
    : most_(std::max(most, 1u)), limit_(std::min(kFirstLimit, most_)) {}

void ConcurrencyLimit::NoteEnd(const Ended& ended, std::int64_t now_ns) {
  if (ended.throttled) {
    if (ended.started_ns >= backed_off_ns_) BackOff(now_ns);
    return;
  }
  // Time in which nothing was asked for says nothing.
  if (ended.started_ns - last_end_ns_ > kEpochNs) BeginEpoch(ended.started_ns);
  last_end_ns_ = now_ns;
  ++epoch_ends_;
  epoch_work_ += static_cast<double>(ended.bytes) + kRequestWork;
  if (ended.others_wait) ++epoch_waits_;
  const std::int64_t elapsed_ns = now_ns - epoch_began_ns_;
  // Long enough to mean something, and each place of the limit used more than once.
  if (elapsed_ns < kEpochNs || epoch_ends_ < 2 * limit_) return;
  const double rate =
      epoch_work_ * static_cast<double>(kNsPerSecond) / static_cast<double>(elapsed_ns);
  const bool counts = epoch_waits_ >= epoch_ends_ - epoch_ends_ / 4 && !settling_;
  settling_ = false;
  BeginEpoch(now_ns);
  if (counts) EndEpoch(rate);
}

void ConcurrencyLimit::BackOff(std::int64_t now_ns) {
  backed_off_ns_ = now_ns;
  const double less = static_cast<double>(limit_) * kBackOff;
  SetLimit(static_cast<std::uint32_t>(less));
  Hold(limit_, 0);
  BeginEpoch(now_ns);
}

void ConcurrencyLimit::EndEpoch(double rate) {
  switch (phase_) {
    case Phase::kDoubling:
      if (rate < held_rate_ * kWorthDoubling) {
        // This doubling brought too little: back to the one before.
        Hold(held_limit_, std::max(rate, held_rate_));
      } else if (limit_ == most_) {
        Hold(limit_, rate);
      } else {
        held_limit_ = limit_;
        held_rate_ = rate;
        SetLimit(limit_ * 2);
      }
      return;
    case Phase::kHolding:
      held_rate_ = held_rate_ == 0 ? rate : 0.7 * held_rate_ + 0.3 * rate;
      if (--epochs_to_probe_ > 0) return;
      held_limit_ = limit_;
      if (next_probe_up_ && limit_ == most_) next_probe_up_ = false;
      phase_ = next_probe_up_ ? Phase::kProbingUp : Phase::kProbingDown;
      SetLimit(next_probe_up_ ? limit_ + Step() : limit_ - std::min(limit_ - 1, Step()));
      next_probe_up_ = !next_probe_up_;
      return;
    case Phase::kProbingUp:
      if (rate >= held_rate_ * kWorthAStep) {
        Hold(limit_, rate);
        next_probe_up_ = true;
        epochs_to_probe_ = 2;  // it grows: on
      } else {
        Hold(held_limit_, held_rate_);
      }
      return;
    case Phase::kProbingDown:
      Hold(rate * kWorthAStep >= held_rate_ ? limit_ : held_limit_, std::max(rate, held_rate_));
      return;
  }
}

void ConcurrencyLimit::SetLimit(std::uint32_t limit) {
  limit = std::clamp(limit, 1u, most_);
  settling_ = settling_ || limit != limit_;
  limit_ = limit;
}

void ConcurrencyLimit::Hold(std::uint32_t limit, double rate) {
  phase_ = Phase::kHolding;
  SetLimit(limit);
  held_limit_ = limit_;
  held_rate_ = rate;
  epochs_to_probe_ = kEpochsBetweenProbes;
}

void ConcurrencyLimit::BeginEpoch(std::int64_t now_ns) {
  epoch_began_ns_ = now_ns;
  epoch_ends_ = 0;
  epoch_work_ = 0;
  epoch_waits_ = 0;
}

}  // namespace penstock::origin
