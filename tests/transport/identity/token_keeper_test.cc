// The keeper against a source that does as it is told. Times are real, and short.
#include "transport/identity/token_keeper.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "transport/identity/token_chain.h"

namespace penstock::identity {
namespace {

constexpr std::int64_t kMs = kNsPerMs;

// Answers with what the test has put in line, after the test has let it.
class FakeSource final : public TokenSource {
 public:
  std::string Describe() const override { return "fake"; }

  void Fetch(std::int64_t, TokenDone done) override {
    std::unique_lock lock(mutex_);
    ++fetches_;
    if (held_) {
      pending_ = std::move(done);
      changed_.notify_all();
      return;
    }
    TokenOutcome outcome = Next();
    lock.unlock();
    done(std::move(outcome));
  }

  void Cancel() override {
    TokenDone done;
    {
      const std::lock_guard lock(mutex_);
      done = std::move(pending_);
      pending_ = nullptr;
    }
    if (!done) return;
    TokenOutcome outcome;
    outcome.answer = Fail(Code::kCancelled, "test");
    done(std::move(outcome));
  }

  void Give(const std::string& value, std::int64_t lifetime_ns, std::int64_t refresh_in_ns = 0) {
    TokenOutcome outcome;
    outcome.answer = TokenAnswer{value, lifetime_ns, refresh_in_ns};
    Put(std::move(outcome));
  }
  void Fault(Code code, bool retryable, const std::string& why = "told to") {
    TokenOutcome outcome;
    outcome.answer = Fail(code, "test", retryable);
    outcome.explanation = why;
    Put(std::move(outcome));
  }
  void NotHere() {
    TokenOutcome outcome;
    outcome.answer = Fail(Code::kUnavailable, "test", true);
    outcome.explanation = "not here";
    outcome.not_here = true;
    Put(std::move(outcome));
  }

  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Release() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return static_cast<bool>(pending_); });
    held_ = false;
    TokenDone done = std::move(pending_);
    pending_ = nullptr;
    TokenOutcome outcome = Next();
    lock.unlock();
    done(std::move(outcome));
  }
  int fetches() const {
    const std::lock_guard lock(mutex_);
    return fetches_;
  }

 private:
  void Put(TokenOutcome outcome) {
    const std::lock_guard lock(mutex_);
    line_.push_back(std::move(outcome));
  }
  TokenOutcome Next() {  // the last one again and again
    TokenOutcome outcome;
    const TokenOutcome& front = line_.front();
    outcome.answer = front.answer;
    outcome.explanation = front.explanation;
    outcome.not_here = front.not_here;
    if (line_.size() > 1) line_.pop_front();
    return outcome;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TokenOutcome> line_;
  TokenDone pending_;
  bool held_ = false;
  int fetches_ = 0;
};

class Waiter final : public TokenWaiter {
 public:
  void OnToken() override { over_.release(); }
  void Start(TokenKeeper& keeper, std::int64_t timeout_ns = 10 * kNsPerSecond) {
    wait_until_ns = SystemClock::Get().NowNs() + timeout_ns;
    keeper.Wait(this);
  }
  Code End() {
    over_.acquire();
    return token_error.code;
  }

 private:
  std::binary_semaphore over_{0};
};

TokenKeeper::Pace Quick() {
  TokenKeeper::Pace pace;
  pace.first_wait_ns = 20 * kMs;
  pace.longest_wait_ns = 100 * kMs;
  return pace;
}

struct Kept {
  Kept() : source(new FakeSource), keeper(std::unique_ptr<TokenSource>(source), Quick()) {}
  FakeSource* source;
  TokenKeeper keeper;
};

void Eventually(const std::function<bool()>& condition) {
  const std::int64_t until_ns = SystemClock::Get().NowNs() + 20 * kNsPerSecond;
  while (!condition()) {
    ASSERT_LT(SystemClock::Get().NowNs(), until_ns);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(TokenKeeper, AsksOnceForAll) {
  Kept kept;
  kept.source->Give("t", 3600 * kNsPerSecond);
  kept.source->Hold();
  EXPECT_EQ(kept.keeper.Current(), nullptr);
  std::vector<Waiter> waiters(16);
  for (Waiter& waiter : waiters) waiter.Start(kept.keeper);
  kept.source->Release();
  for (Waiter& waiter : waiters) {
    EXPECT_EQ(waiter.End(), Code::kOk);
    EXPECT_EQ(waiter.token->value, "t");
  }
  EXPECT_EQ(kept.source->fetches(), 1);
  EXPECT_EQ(kept.keeper.Current()->value, "t");
}

TEST(TokenKeeper, ReplacesItsTokenBeforeTheEndAndNobodyWaits) {
  Kept kept;
  kept.source->Give("one", 3600 * kNsPerSecond, 50 * kMs);
  kept.source->Give("two", 3600 * kNsPerSecond);
  Waiter waiter;
  // A wish for less than half a minute is not granted to long-lived tokens.
  waiter.Start(kept.keeper);
  EXPECT_EQ(waiter.End(), Code::kOk);
  EXPECT_EQ(kept.source->fetches(), 1);

  Kept brief;
  brief.source->Give("one", 4'000 * kMs);
  brief.source->Fault(Code::kUnavailable, true);
  brief.source->Fault(Code::kPermission, false);
  brief.source->Give("two", 3600 * kNsPerSecond);
  Waiter other;
  other.Start(brief.keeper);
  EXPECT_EQ(other.End(), Code::kOk);
  Eventually([&] {
    const TokenPtr now = brief.keeper.Current();
    EXPECT_NE(now, nullptr);  // never a moment without: failed replacements leave the old one
    return now == nullptr || now->value == "two";
  });
  EXPECT_EQ(brief.source->fetches(), 4);
}

TEST(TokenKeeper, AnExpiredTokenIsNotUsed) {
  Kept kept;
  kept.source->Give("one", 1'000 * kMs);
  kept.source->Fault(Code::kUnavailable, true);
  Waiter waiter;
  waiter.Start(kept.keeper);
  EXPECT_EQ(waiter.End(), Code::kOk);
  Eventually([&] { return kept.keeper.Current() == nullptr; });
  Waiter late;
  late.Start(kept.keeper, 200 * kMs);
  EXPECT_EQ(late.End(), Code::kUnavailable);
  EXPECT_NE(late.problem.find("told to"), std::string::npos);
}

TEST(TokenKeeper, WhatAnotherTryCanMendIsWaitedFor) {
  Kept kept;
  kept.source->Fault(Code::kUnavailable, true);
  kept.source->Fault(Code::kThrottled, true);
  kept.source->Give("t", 3600 * kNsPerSecond);
  Waiter waiter;
  waiter.Start(kept.keeper);
  EXPECT_EQ(waiter.End(), Code::kOk);
  EXPECT_EQ(kept.source->fetches(), 3);
  EXPECT_EQ(kept.keeper.Problem(), "");
}

TEST(TokenKeeper, WhatOnlyAPersonCanMendIsSaidAtOnceAndNotAskedAgainAndAgain) {
  TokenKeeper::Pace pace;
  pace.first_wait_ns = pace.longest_wait_ns = 60 * kNsPerSecond;
  auto* source = new FakeSource;
  TokenKeeper keeper(std::unique_ptr<TokenSource>(source), pace);
  source->Fault(Code::kPermission, false, "no such application");
  for (int i = 0; i < 100; ++i) {
    Waiter waiter;
    waiter.Start(keeper);
    EXPECT_EQ(waiter.End(), Code::kPermission);
    EXPECT_EQ(waiter.problem, "fake: no such application");
  }
  EXPECT_EQ(source->fetches(), 1);
}

TEST(TokenKeeper, ARefusedTokenIsReplacedOnceHoweverManySayIt) {
  Kept kept;
  kept.source->Give("one", 3600 * kNsPerSecond);
  kept.source->Give("two", 3600 * kNsPerSecond);
  Waiter first;
  first.Start(kept.keeper);
  EXPECT_EQ(first.End(), Code::kOk);
  const TokenPtr one = kept.keeper.Current();
  kept.source->Hold();
  EXPECT_TRUE(kept.keeper.Refuse(one));
  EXPECT_TRUE(kept.keeper.Refuse(one));
  EXPECT_EQ(kept.keeper.Current(), nullptr);
  Waiter second;
  second.Start(kept.keeper);
  kept.source->Release();
  EXPECT_EQ(second.End(), Code::kOk);
  EXPECT_EQ(second.token->value, "two");
  EXPECT_TRUE(kept.keeper.Refuse(one));            // of before: another is there
  EXPECT_FALSE(kept.keeper.Refuse(second.token));  // too new: the refusal is not about its age
  EXPECT_EQ(kept.keeper.Current(), second.token);
  EXPECT_EQ(kept.source->fetches(), 2);
}

TEST(TokenKeeper, DeadlinesAndCancellationEndAWait) {
  Kept kept;
  kept.source->Give("t", 3600 * kNsPerSecond);
  kept.source->Hold();
  Waiter late, cancelled, patient;
  late.Start(kept.keeper, 10 * kMs);
  cancelled.Start(kept.keeper);
  patient.Start(kept.keeper);
  EXPECT_EQ(late.End(), Code::kDeadline);
  kept.keeper.Cancel(&cancelled);
  EXPECT_EQ(cancelled.End(), Code::kCancelled);
  kept.keeper.Cancel(&late);  // is over: nothing happens
  kept.source->Release();
  EXPECT_EQ(patient.End(), Code::kOk);
}

TEST(TokenKeeper, WhatIsCancelledBeforeItWaitsDoesNotWait) {
  Kept kept;
  kept.source->Give("t", 3600 * kNsPerSecond);
  kept.source->Hold();
  Waiter waiter;
  kept.keeper.Cancel(&waiter);
  waiter.Start(kept.keeper, 5'000 * kMs);
  EXPECT_EQ(waiter.End(), Code::kCancelled);
}

TEST(TokenKeeper, EndsWhileItAsks) {
  auto kept = std::make_unique<Kept>();
  kept->source->Give("t", 3600 * kNsPerSecond);
  kept->source->Hold();
  Waiter waiter;
  waiter.Start(kept->keeper, 10 * kMs);
  EXPECT_EQ(waiter.End(), Code::kDeadline);
  kept.reset();
}

TEST(TokenChain, TakesTheFirstThatIsHereAndStaysWithIt) {
  std::vector<std::unique_ptr<TokenSource>> sources;
  auto* absent = new FakeSource;
  auto* present = new FakeSource;
  sources.emplace_back(absent);
  sources.emplace_back(present);
  absent->NotHere();
  present->Give("t", 400 * kMs);
  TokenKeeper keeper(MakeTokenChain(std::move(sources)), Quick());
  Waiter waiter;
  waiter.Start(keeper);
  EXPECT_EQ(waiter.End(), Code::kOk);
  Eventually([&] { return present->fetches() > 2; });
  EXPECT_EQ(absent->fetches(), 1);
}

TEST(TokenChain, NobodyWhereNoneIsHereAndAFailureStands) {
  std::vector<std::unique_ptr<TokenSource>> sources;
  auto* absent = new FakeSource;
  sources.emplace_back(absent);
  absent->NotHere();
  TokenKeeper keeper(MakeTokenChain(std::move(sources)), Quick());
  Waiter waiter;
  waiter.Start(keeper);
  EXPECT_EQ(waiter.End(), Code::kOk);
  EXPECT_EQ(waiter.token->value, "");
  EXPECT_NE(keeper.Describe().find("none, anonymous"), std::string::npos);

  sources.clear();
  auto* failing = new FakeSource;
  auto* never = new FakeSource;
  sources.emplace_back(failing);
  sources.emplace_back(never);
  failing->Fault(Code::kPermission, false);
  TokenKeeper other(MakeTokenChain(std::move(sources)), Quick());
  Waiter refused;
  refused.Start(other);
  EXPECT_EQ(refused.End(), Code::kPermission);
  EXPECT_EQ(never->fetches(), 0);
}

}  // namespace
}  // namespace penstock::identity
