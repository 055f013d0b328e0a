// Second requests beside slow ones: the first right answer wins, bytes of two answers never mix,
// and nothing is worse off for a second request that fails.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>

#include "tests/transport/origin/op_runner.h"
#include "tests/transport/origin/scripted_server.h"
#include "transport/origin/origin.h"

namespace penstock::origin {
namespace {

using Then = ScriptedReply::Then;

constexpr int kTraining = 40;  // answers from which the usual latency is known
constexpr std::size_t kSize = 40'000;
const std::string kBody = PatternBytes(kSize);
const std::string kOther = PatternBytes(kSize, 77);

std::string Answer(const std::string& body = kBody, const std::string& etag = "v1") {
  return HttpAnswer(206, {"ETag: \"" + etag + "\"", "Content-Range: bytes 0-39999/50000"}, body);
}

// Answers at once while it trains; after that `slow` answers the first request and `second` the
// second one, and all others get the right answer.
// A deadline that falls between two tries ends with what the last try saw.
bool EndedByTime(Code code) { return code == Code::kDeadline || code == Code::kUnavailable; }

class HedgeTest : public testing::Test {
 protected:
  void SetUp() override { setenv("AZURE_STORAGE_KEY", "c2VjcmV0", 1); }
  void TearDown() override {
    origin_.reset();
    server_.reset();
    unsetenv("AZURE_STORAGE_KEY");
  }

  using Reply = std::function<ScriptedReply()>;
  void Start(Reply slow, Reply second, bool train = true) {
    const int first = train ? kTraining : 0;
    server_ = std::make_unique<ScriptedServer>([=, this](const std::string&, int index) {
      if (index == first) return slow();
      if (index == first + 1) {
        second_came_.release(2);
        return second();
      }
      return ScriptedReply{Answer(), Then::kKeep};
    });
    OriginConfig config;
    config.url = "az://pstaccount/container/p";
    config.endpoint = server_->endpoint();
    config.max_tries = 3;
    std::string why;
    auto made = MakeOrigin(config, &why);
    ASSERT_TRUE(made) << why;
    origin_ = *std::move(made);
    for (int i = 0; i < first; ++i) ASSERT_EQ(Read("v1").error.code, Code::kOk);
  }

  ReadOutcome Read(const std::string& version, std::int64_t timeout_ms = 5'000) {
    return ReadNow(*origin_, "f", 0, kSize, version, 7'000, timeout_ms);
  }

  // The slow request's answer, once the second one has arrived.
  ScriptedReply AfterTheSecond(ScriptedReply reply) {
    EXPECT_TRUE(second_came_.try_acquire_for(std::chrono::seconds(5)));
    return reply;
  }

  std::counting_semaphore<> second_came_{0};
  std::unique_ptr<ScriptedServer> server_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(HedgeTest, ASilentAnswerIsOvertaken) {
  Start([] { return ScriptedReply{"", Then::kHang}; },
        [] { return ScriptedReply{Answer(), Then::kKeep}; });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(server_->requests(), kTraining + 2);
  EXPECT_EQ(origin_->Stats().hedges, 1u);
  EXPECT_EQ(origin_->Stats().hedges_won, 1u);
  EXPECT_EQ(origin_->Stats().retries, 0u);
  EXPECT_EQ(Read("v1").error.code, Code::kOk);
}

TEST_F(HedgeTest, BytesOfTwoAnswersNeverMix) {
  // A third of another body, as of a server with bad memory; then silence.
  Start([] { return ScriptedReply{Answer(kOther).substr(0, 13'000), Then::kHang}; },
        [] { return ScriptedReply{Answer(), Then::kKeep}; });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(origin_->Stats().hedges_won, 1u);
}

TEST_F(HedgeTest, MostOfItThereMeansNoSecondRequest) {
  Start([] { return ScriptedReply{Answer().substr(0, 39'000), Then::kHang}; },
        [] { return ScriptedReply{Answer(), Then::kKeep}; });
  EXPECT_TRUE(EndedByTime(Read("v1", 700).error.code));
  EXPECT_EQ(origin_->Stats().hedges, 0u);
}

TEST_F(HedgeTest, ASecondRequestThatIsLateHurtsNobody) {
  Start([this] { return AfterTheSecond({Answer(), Then::kKeep}); },
        [] { return ScriptedReply{Answer(kOther).substr(0, 20'000), Then::kHang}; });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(origin_->Stats().hedges, 1u);
  EXPECT_EQ(origin_->Stats().hedges_won, 0u);
}

TEST_F(HedgeTest, BothFailAndTheNextTryMends) {
  Start([this] { return AfterTheSecond({Answer().substr(0, 5'000), Then::kReset}); },
        [] { return ScriptedReply{HttpAnswer(500, {}, "no"), Then::kKeep}; });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(origin_->Stats().retries, 1u);
  EXPECT_EQ(server_->requests(), kTraining + 3);
}

TEST_F(HedgeTest, TheFirstBreaksAndTheSecondWinsBeforeTheNextTry) {
  std::counting_semaphore<> broke{0};
  Start(
      [this, &broke] {
        auto reply = AfterTheSecond({Answer().substr(0, 5'000), Then::kReset});
        broke.release();
        return reply;
      },
      [&broke] {
        EXPECT_TRUE(broke.try_acquire_for(std::chrono::seconds(5)));
        return ScriptedReply{Answer(), Then::kKeep};
      });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
}

TEST_F(HedgeTest, AnotherVersionDoesNotWin) {
  Start([this] { return AfterTheSecond({Answer(), Then::kKeep}); },
        [] { return ScriptedReply{Answer(kOther, "v2"), Then::kKeep}; });
  const auto read = Read("v1");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kBody);
  EXPECT_EQ(origin_->Stats().hedges_won, 0u);
}

TEST_F(HedgeTest, WhereAnyVersionWillDoTheWinnersIsTheWhole) {
  Start([] { return ScriptedReply{Answer().substr(0, 13'000), Then::kHang}; },
        [] { return ScriptedReply{Answer(kOther, "v2"), Then::kKeep}; });
  const auto read = Read("");
  EXPECT_EQ(read.error.code, Code::kOk) << read.error.context;
  EXPECT_TRUE(read.bytes == kOther);
  EXPECT_EQ(read.info.version, "v2");
  EXPECT_EQ(read.info.size, 50'000u);
}

TEST_F(HedgeTest, AThrottledSecondRequestIsTheLastForAWhile) {
  Start(
      [this] {
        const std::int64_t until_ns = InMs(5'000);
        while (origin_->Stats().throttled == 0 && InMs(0) < until_ns) std::this_thread::yield();
        return ScriptedReply{Answer(), Then::kKeep};
      },
      [] { return ScriptedReply{HttpAnswer(503, {"Retry-After: 1"}, ""), Then::kKeep}; });
  EXPECT_EQ(Read("v1").error.code, Code::kOk);
  EXPECT_EQ(origin_->Stats().hedges, 1u);
  EXPECT_EQ(origin_->Stats().throttled, 1u);
  EXPECT_EQ(origin_->Stats().retries, 0u);
}

TEST_F(HedgeTest, NoneWhileTheUsualLatencyIsUnknown) {
  Start([] { return ScriptedReply{"", Then::kHang}; },
        [] { return ScriptedReply{Answer(), Then::kKeep}; }, /*train=*/false);
  EXPECT_TRUE(EndedByTime(Read("v1", 500).error.code));
  EXPECT_EQ(origin_->Stats().hedges, 0u);
}

TEST_F(HedgeTest, AGuessGetsNone) {
  Start([] { return ScriptedReply{"", Then::kHang}; },
        [] { return ScriptedReply{Answer(), Then::kKeep}; });
  std::string bytes(kSize, '\0');
  ReadOp op;
  op.name = "f";
  op.version = "v1";
  op.prefetch = true;
  op.deadline_ns = InMs(500);
  op.buffers.push_back(std::as_writable_bytes(std::span(bytes)));
  RunOp(&op, [&](ReadOp* started) { origin_->Read(started); });
  EXPECT_TRUE(EndedByTime(op.error.code)) << op.error.context;
  EXPECT_EQ(origin_->Stats().hedges, 0u);
}

TEST_F(HedgeTest, CancelEndsBoth) {
  Start([] { return ScriptedReply{"", Then::kHang}; },
        [] { return ScriptedReply{Answer().substr(0, 9'000), Then::kHang}; });
  std::string bytes(kSize, '\0');
  ReadOp op;
  op.name = "f";
  op.version = "v1";
  op.buffers.push_back(std::as_writable_bytes(std::span(bytes)));
  const auto begin = std::chrono::steady_clock::now();
  RunOp(&op, [&](ReadOp* started) {
    origin_->Read(started);
    EXPECT_TRUE(second_came_.try_acquire_for(std::chrono::seconds(5)));
    origin_->Cancel(started);
  });
  EXPECT_EQ(op.error.code, Code::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

}  // namespace
}  // namespace penstock::origin
