#include "transport/http/retry.h"

#include <algorithm>

namespace penstock::origin {
namespace {

bool IsRetryableStatus(int status) {
  switch (status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

// Between half and the whole of an exponentially growing wait, so that readers that failed together
// do not come back together.
std::int64_t BackoffNs(const FailedTry& failed, const RetryLimits& limits, Random* random) {
  const unsigned doublings = std::min(failed.failures - 1, 20u);
  const std::int64_t whole = std::min(limits.first_wait_ns << doublings, limits.longest_wait_ns);
  const std::int64_t half = whole / 2;
  return half + static_cast<std::int64_t>(random->Fraction() * static_cast<double>(half));
}

}  // namespace

bool IsRetryable(Fault fault, int status) {
  switch (fault) {
    case Fault::kNone:
      return IsRetryableStatus(status);
    case Fault::kResolve:
    case Fault::kConnect:
    case Fault::kTimeout:
    case Fault::kReset:
    case Fault::kTruncated:
      return true;
    case Fault::kTls:
    case Fault::kRejected:
    case Fault::kCancelled:
    case Fault::kDeadline:
    case Fault::kOther:
      return false;
  }
  return false;
}

bool RetryBudget::Take(std::int64_t now_ns) {
  const double seconds =
      static_cast<double>(now_ns - refilled_ns_) / static_cast<double>(kNsPerSecond);
  tokens_ = std::min(kTokens, tokens_ + std::max(0.0, seconds) * kTokensPerSecond);
  refilled_ns_ = now_ns;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

void RetryBudget::NoteSuccess() { tokens_ = std::min(kTokens, tokens_ + kTokensPerSuccess); }

std::optional<std::int64_t> NextTryNs(const FailedTry& failed, const RetryLimits& limits,
                                      std::int64_t now_ns, std::int64_t deadline_ns,
                                      RetryBudget* budget, Random* random) {
  if (!IsRetryable(failed.fault, failed.status)) return std::nullopt;
  // A server that cannot be reached does no work for us: its tries end with the deadline only, and
  // an empty budget slows them down.
  const bool reached = failed.fault != Fault::kConnect && failed.fault != Fault::kResolve;
  const bool patient = !reached && limits.wait_for_unreachable;
  if (!patient && failed.failures >= limits.max_tries) return std::nullopt;
  std::int64_t wait_ns =
      std::max(BackoffNs(failed, limits, random), failed.retry_after_ms * kNsPerMs);
  if (wait_ns >= deadline_ns - now_ns) return std::nullopt;
  if (!budget->Take(now_ns)) {
    if (!patient) return std::nullopt;
    wait_ns = 2 * limits.longest_wait_ns;
    if (wait_ns >= deadline_ns - now_ns) return std::nullopt;
  }
  return now_ns + wait_ns;
}

}  // namespace penstock::origin
