#include "transport/http/retry.h"

#include <gtest/gtest.h>

namespace penstock::origin {
namespace {

constexpr std::int64_t kFar = 3'600 * kNsPerSecond;

class RetryTest : public testing::Test {
 protected:
  std::optional<std::int64_t> Next(const FailedTry& failed, std::int64_t deadline_ns = kFar) {
    return NextTryNs(failed, limits_, 0, deadline_ns, &budget_, &random_);
  }
  RetryLimits limits_;
  RetryBudget budget_{0};
  Random random_{1};
};

TEST_F(RetryTest, OnlyWhatCanBeMended) {
  for (const int status : {408, 429, 500, 502, 503, 504})
    EXPECT_TRUE(IsRetryable(Fault::kNone, status));
  for (const int status : {200, 301, 400, 401, 403, 404, 409, 412, 416, 501}) {
    EXPECT_FALSE(IsRetryable(Fault::kNone, status)) << status;
  }
  for (const Fault fault :
       {Fault::kResolve, Fault::kConnect, Fault::kTimeout, Fault::kReset, Fault::kTruncated}) {
    EXPECT_TRUE(IsRetryable(fault, 0));
  }
  for (const Fault fault :
       {Fault::kTls, Fault::kCancelled, Fault::kDeadline, Fault::kRejected, Fault::kOther}) {
    EXPECT_FALSE(IsRetryable(fault, 503));
  }
}

TEST_F(RetryTest, WaitsGrowWithJitterUpToALimit) {
  for (unsigned failures = 1; failures < 5; ++failures) {
    const std::int64_t whole =
        std::min(limits_.first_wait_ns << (failures - 1), limits_.longest_wait_ns);
    std::int64_t least = whole;
    std::int64_t most = 0;
    for (int i = 0; i < 10; ++i) {
      const auto next = Next({.failures = failures, .fault = Fault::kReset});
      ASSERT_TRUE(next);
      least = std::min(least, *next);
      most = std::max(most, *next);
    }
    EXPECT_GE(least, whole / 2);
    EXPECT_LE(most, whole);
    EXPECT_LT(least, most);
  }
}

TEST_F(RetryTest, RetryAfterIsHonoured) {
  EXPECT_EQ(Next({.failures = 1, .status = 503, .retry_after_ms = 9'000}), 9 * kNsPerSecond);
}

TEST_F(RetryTest, NeverBeyondTheDeadline) {
  EXPECT_FALSE(Next({.failures = 1, .status = 503, .retry_after_ms = 9'000}, 8 * kNsPerSecond));
  EXPECT_FALSE(Next({.failures = 1, .fault = Fault::kConnect}, 10 * kNsPerMs));
}

TEST_F(RetryTest, TriesAreCountedButNotThoseThatReachNobody) {
  EXPECT_TRUE(Next({.failures = 4, .status = 500}));
  EXPECT_FALSE(Next({.failures = 5, .status = 500}));
  EXPECT_TRUE(Next({.failures = 50, .fault = Fault::kConnect}));
  limits_.wait_for_unreachable = false;
  EXPECT_FALSE(Next({.failures = 5, .fault = Fault::kConnect}));
}

TEST_F(RetryTest, TheBudgetBoundsAllTogether) {
  int allowed = 0;
  for (int i = 0; i < 1'000; ++i) allowed += Next({.failures = 1, .status = 500}).has_value();
  EXPECT_EQ(allowed, static_cast<int>(RetryBudget::kTokens));
  // Who cannot reach the server at all waits longer, and is not given up.
  EXPECT_EQ(Next({.failures = 1, .fault = Fault::kConnect}), 2 * limits_.longest_wait_ns);
  // Success and time bring tokens back.
  for (int i = 0; i < 11; ++i) budget_.NoteSuccess();
  EXPECT_TRUE(Next({.failures = 1, .status = 500}));
  EXPECT_FALSE(Next({.failures = 1, .status = 500}));
  EXPECT_TRUE(budget_.Take(kNsPerSecond));
}

}  // namespace
}  // namespace penstock::origin
