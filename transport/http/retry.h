// When a request is tried again, and after how long.
//
// Waits grow exponentially with jitter, honour Retry-After, and never reach past the deadline. A
// budget shared by all requests of an origin bounds what retries add when a server is down: each
// costs a token, tokens come back with time and with success.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/base/clock.h"
#include "transport/base/random.h"

namespace penstock::origin {

// How a transfer broke, apart from what the server answered.
enum class Fault : std::uint8_t {
  kNone,
  kResolve,    // the host's name has no address
  kConnect,    // refused or unreachable
  kTls,        // the certificate or the handshake
  kTimeout,    // no answer in time, or too slow
  kReset,      // the connection broke
  kTruncated,  // fewer or more bytes than promised
  kRejected,   // we gave up on purpose: the answer was not what was asked for
  kCancelled,
  kDeadline,  // the operation's deadline, not a try's timeout
  kOther,     // a bug or a lack of memory
};

struct RetryLimits {
  unsigned max_tries = 5;
  bool wait_for_unreachable = true;  // refused connections are tried until the deadline
  std::int64_t first_wait_ns = 100 * kNsPerMs;
  std::int64_t longest_wait_ns = 2 * kNsPerSecond;
};

struct FailedTry {
  unsigned failures = 1;  // in a row, this one included
  Fault fault = Fault::kNone;
  int status = 0;  // of HTTP, if there was an answer
  std::int64_t retry_after_ms = 0;
};

// True for what another try can mend: connection faults, timeouts, broken transfers, and 408, 429,
// 500, 502, 503, 504.
bool IsRetryable(Fault fault, int status);

class RetryBudget {
 public:
  explicit RetryBudget(std::int64_t now_ns) : refilled_ns_(now_ns) {}
  bool Take(std::int64_t now_ns);
  void NoteSuccess();

  static constexpr double kTokens = 64;
  static constexpr double kTokensPerSecond = 4;
  static constexpr double kTokensPerSuccess = 0.1;

 private:
  double tokens_ = kTokens;
  std::int64_t refilled_ns_;
};

// The moment of the next try; nullopt if there is to be none. Takes a token of the budget if there
// is.
std::optional<std::int64_t> NextTryNs(const FailedTry& failed, const RetryLimits& limits,
                                      std::int64_t now_ns, std::int64_t deadline_ns,
                                      RetryBudget* budget, Random* random);

}  // namespace penstock::origin
