// Keeps one identity's token fresh for everybody who signs with it.
//
// There is one keeper for each identity of a sidecar, shared by its mounts (identity.h finds it).
// It asks its source once however many wait (single flight), and replaces a token in the background
// when half to two thirds of its life are over (or when the service says), spread at random so that
// a fleet does not ask at once. A replacement that fails leaves the old token in use until it
// expires, and is tried again with growing waits. A token that Azure Storage refuses can be handed
// back: a new one is fetched, but not more often than each kRefusedEveryNs.
//
// While there is no token: where another try can help, whoever waits does so until their deadline;
// where only a person can, they are told at once, and the source is left alone for a few seconds.
//
// The reason is logged once, without secrets, and again each minute at most.
//
// Thread safety: all methods from any thread. OnToken() runs on the keeper's thread with no lock
// held; it must not block, and may destroy its waiter.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/random.h"
#include "transport/base/result.h"
#include "transport/identity/token.h"
#include "transport/identity/token_source.h"

namespace penstock::identity {

class TokenWaiter {
 public:
  TokenWaiter() = default;
  TokenWaiter(const TokenWaiter&) = delete;
  TokenWaiter& operator=(const TokenWaiter&) = delete;
  virtual ~TokenWaiter() = default;

  std::int64_t wait_until_ns = 0;  // CLOCK_MONOTONIC

  // The outcome: `token`, or an error and a sentence about it.
  TokenPtr token;
  Error token_error{Code::kOk, false, 0, ""};
  std::string problem;

  virtual void OnToken() = 0;

 private:
  friend class TokenKeeper;
  bool cancelled_ = false;  // guarded by the keeper's mutex
};

class TokenKeeper {
 public:
  // How often a source is asked at most; tests make it quicker.
  struct Pace {
    std::int64_t refused_every_ns = 30 * kNsPerSecond;
    std::int64_t first_wait_ns = 1 * kNsPerSecond;  // after a failure, then doubled
    std::int64_t longest_wait_ns = 60 * kNsPerSecond;
    std::int64_t fetch_timeout_ns = 120 * kNsPerSecond;
  };

  explicit TokenKeeper(std::unique_ptr<TokenSource> source);
  TokenKeeper(std::unique_ptr<TokenSource> source, const Pace& pace);
  ~TokenKeeper();  // nobody may be waiting
  TokenKeeper(const TokenKeeper&) = delete;
  TokenKeeper& operator=(const TokenKeeper&) = delete;

  // The token to sign with now; nullptr if there is none, then Wait().
  TokenPtr Current() const;
  // OnToken() comes once, never inline.
  void Wait(TokenWaiter* waiter);
  // A waiter's OnToken() comes soon, with Code::kCancelled unless it is on its way already; where it
  // does not wait yet, soon after its Wait(). A cancelled waiter stays so.
  void Cancel(TokenWaiter* waiter);
  // Azure Storage did not accept `token`. True: wait for another; false: it is too new to be
  // replaced, so the refusal is final.
  bool Refuse(const TokenPtr& token);

  // For a person: the identity, and how long its token is good: "managed identity (IMDS), token
  // valid for 23 h". No secrets.
  std::string Describe() const;
  // Why there is no token, "" if there is one or none was asked for yet.
  std::string Problem() const;
  // Requests for tokens. The mounts of an identity share them: one that has claimed them shows them.
  origin::RequestCounts Requests() const { return counters_.Counts(); }
  bool ClaimRequests() { return !claimed_.exchange(true); }
  void ReleaseRequests() { claimed_.store(false); }
  // How often the source was asked.
  std::uint64_t Fetches() const { return fetches_.load(std::memory_order_relaxed); }

 private:
  void Run();
  bool Usable(std::int64_t now_ns) const;
  bool ShouldFetch(std::int64_t now_ns) const;
  void StartFetch(std::unique_lock<std::mutex>* lock);
  void TakeOutcome(std::int64_t now_ns);
  void TakeToken(TokenAnswer answer, std::int64_t now_ns);
  void TakeFailure(const TokenOutcome& outcome, std::int64_t now_ns);
  std::string WhyLate() const;
  std::vector<TokenWaiter*> TakeEnded(std::int64_t now_ns);
  std::int64_t NextEventNs(std::int64_t now_ns) const;

  Clock* const clock_ = &SystemClock::Get();
  origin::RequestCounters counters_;
  std::atomic<bool> claimed_{false};
  const std::unique_ptr<TokenSource> source_;
  const Pace pace_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  bool stopping_ = false;
  bool fetching_ = false;
  std::optional<TokenOutcome> outcome_;  // of a fetch that has ended
  std::vector<TokenWaiter*> waiters_;
  TokenPtr current_;
  bool refused_ = false;          // current_ was
  std::int64_t refused_ns_ = 0;   // when one was last; 0: never
  std::int64_t next_try_ns_ = 0;  // not before
  unsigned failures_ = 0;         // in a row
  Error error_{Code::kOk, false, 0, ""};
  std::string problem_;
  std::string described_;  // what source_ calls itself
  std::string logged_;
  std::int64_t logged_ns_ = 0;
  Random random_ = Random::FromEnvironment();

  std::atomic<std::uint64_t> fetches_{0};
  std::thread thread_;
};

}  // namespace penstock::identity
