// Where tokens come from: one implementation for each way of signing in.
//
// Thread safety: Fetch() and Cancel() from one thread at a time (the keeper's); `done` runs on any
// thread, once, and must not block.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "transport/base/result.h"
#include "transport/identity/token.h"
#include "transport/traffic/request_counters.h"

namespace penstock::identity {

struct TokenOutcome {
  // kPermission: the identity was refused, or lacks something that a person must give.
  // kUnavailable, kThrottled, kDeadline: trying again later can help.
  Result<TokenAnswer> answer = Fail(Code::kInternal, "getting a token");
  std::string explanation;  // of a failure: what happened and what to do, without secrets
  bool not_here = false;    // this way of signing in does not exist on this machine
};
using TokenDone = std::move_only_function<void(TokenOutcome)>;

class TokenSource {
 public:
  virtual ~TokenSource() = default;  // nothing may be in flight

  // For a person: "managed identity (IMDS)". Constant, but for a chain: the one it has settled on.
  virtual std::string Describe() const = 0;

  // Gets a token; all tries together end at `deadline_ns` (CLOCK_MONOTONIC). One at a time.
  virtual void Fetch(std::int64_t deadline_ns, TokenDone done) = 0;
  // What went wrong with the tries so far of the Fetch() in flight; "" if nothing has. From any
  // thread.
  virtual std::string Trouble() const { return ""; }
  // Ends what is in flight soon, with Code::kCancelled.
  virtual void Cancel() = 0;
  // Before the first Fetch(): where requests to a service are counted. It outlives the source.
  virtual void CountInto(origin::RequestCounters*) {}
};

}  // namespace penstock::identity
