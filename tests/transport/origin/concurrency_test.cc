// How many requests at once, against a server that is a formula and a clock that the test moves.
#include "transport/http/concurrency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <queue>
#include <utility>

namespace penstock::origin {
namespace {

constexpr std::uint64_t kBytes = 4u << 20;
constexpr std::int64_t kAnswerNs = 20 * kNsPerMs;

// Answers `width` requests at a time in kAnswerNs each; more of them share its width.
class Server {
 public:
  explicit Server(std::uint32_t width, std::uint32_t most = 256) : width_(width), limit_(most) {}

  ConcurrencyLimit& limit() { return limit_; }
  void set_width(std::uint32_t width) { width_ = width; }
  std::int64_t now_ns() const { return now_ns_; }

  // Nothing is asked for, and nothing is on the wire any more.
  void Rest(std::int64_t ns) {
    now_ns_ += ns;
    running_ = {};
  }

  // `wanted` requests always want to be on the wire. One answer in `throttled_every` is a 503.
  void Run(std::int64_t ns, std::uint32_t wanted = 10'000, int throttled_every = 0) {
    const std::int64_t until_ns = now_ns_ + ns;
    while (now_ns_ < until_ns) {
      while (running_.size() < std::min(limit_.limit(), wanted)) Start();
      const auto [over_ns, began_ns] = running_.top();
      running_.pop();
      now_ns_ = std::max(now_ns_, over_ns);
      ++answers_;
      const bool throttled = throttled_every > 0 && answers_ % throttled_every == 0;
      limit_.NoteEnd({began_ns, kBytes, throttled, wanted > limit_.limit()}, now_ns_);
    }
  }

 private:
  void Start() {
    // As many tokens a second as the server has places.
    next_free_ns_ = std::max(next_free_ns_, now_ns_) + kAnswerNs / width_;
    running_.emplace(std::max(now_ns_ + kAnswerNs, next_free_ns_), now_ns_);
  }

  std::uint32_t width_;
  ConcurrencyLimit limit_;
  std::int64_t now_ns_ = kNsPerSecond;
  std::int64_t next_free_ns_ = 0;
  int answers_ = 0;
  using Running = std::pair<std::int64_t, std::int64_t>;
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
};

TEST(ConcurrencyTest, GrowsUntilTheServerIsFull) {
  for (const std::uint32_t width : {16u, 64u, 200u}) {
    Server server(width);
    server.Run(20 * kNsPerSecond);
    EXPECT_GE(server.limit().limit(), width * 8 / 10) << width;
    EXPECT_LE(server.limit().limit(), width * 16 / 10) << width;
  }
}

TEST(ConcurrencyTest, ReachesAWideServerInUnderTwoSeconds) {
  Server server(256);
  server.Run(2 * kNsPerSecond);
  EXPECT_GE(server.limit().limit(), 200u);
}

TEST(ConcurrencyTest, ShrinksWhereLessIsAsGood) {
  Server server(200);
  server.Run(10 * kNsPerSecond);
  ASSERT_GE(server.limit().limit(), 128u);
  server.set_width(8);
  server.Run(600 * kNsPerSecond);
  EXPECT_LE(server.limit().limit(), 24u);
  server.set_width(100);
  server.Run(120 * kNsPerSecond);
  EXPECT_GE(server.limit().limit(), 60u);
}

TEST(ConcurrencyTest, KeepsWithinTheConfiguredMost) {
  Server server(100, 20);
  server.Run(10 * kNsPerSecond);
  EXPECT_EQ(server.limit().limit(), 20u);
  EXPECT_EQ(ConcurrencyLimit(1).limit(), 1u);
  EXPECT_EQ(ConcurrencyLimit(0).limit(), 1u);
}

TEST(ConcurrencyTest, LearnsNothingFromCallersThatAskForLess) {
  Server server(200);
  server.Run(20 * kNsPerSecond, 3);
  EXPECT_EQ(server.limit().limit(), ConcurrencyLimit::kFirstLimit);
}

TEST(ConcurrencyTest, ARestIsNotTakenForASlowServer) {
  Server server(64);
  server.Run(5 * kNsPerSecond);
  const std::uint32_t before = server.limit().limit();
  for (int i = 0; i < 20; ++i) {
    server.Rest(30 * kNsPerSecond);
    server.Run(120 * kNsPerMs);
  }
  EXPECT_GE(server.limit().limit(), before * 8 / 10);
}

TEST(ConcurrencyTest, OneBackOffForAllThatWereOnTheWire) {
  ConcurrencyLimit limit(256);
  limit.NoteEnd({100, 0, true, true}, 200);
  const auto once = static_cast<std::uint32_t>(ConcurrencyLimit::kFirstLimit * 0.7);
  EXPECT_EQ(limit.limit(), once);
  for (int i = 0; i < 7; ++i) limit.NoteEnd({150, 0, true, true}, 210 + i);
  EXPECT_EQ(limit.limit(), once);
  limit.NoteEnd({300, 0, true, true}, 400);
  EXPECT_LT(limit.limit(), once);
}

TEST(ConcurrencyTest, AServerThatAlwaysThrottlesGetsOneAtATime) {
  Server server(64);
  server.Run(5 * kNsPerSecond, 10'000, 1);
  EXPECT_EQ(server.limit().limit(), 1u);
  server.Run(240 * kNsPerSecond);
  EXPECT_GE(server.limit().limit(), 32u);
}

}  // namespace
}  // namespace penstock::origin
