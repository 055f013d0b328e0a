#include "transport/http/hedging.h"

#include <gtest/gtest.h>

namespace penstock::origin {
namespace {

constexpr std::uint64_t kSmall = 4'096;
constexpr std::uint64_t kLarge = 4u << 20;

void Note(Hedging* hedging, std::uint64_t bytes, std::int64_t ms, int times) {
  for (int i = 0; i < times; ++i) hedging->NoteLatency(bytes, ms * kNsPerMs);
}

TEST(HedgingTest, NoDelayWhileLittleIsKnown) {
  Hedging hedging;
  EXPECT_FALSE(hedging.DelayNs(kSmall));
  Note(&hedging, kSmall, 10, static_cast<int>(Hedging::kFewestSamples) - 1);
  EXPECT_FALSE(hedging.DelayNs(kSmall));
  Note(&hedging, kSmall, 10, 1);
  EXPECT_EQ(hedging.DelayNs(kSmall), Hedging::kLeastDelayNs);
  EXPECT_FALSE(hedging.DelayNs(kLarge)) << "sizes know nothing of each other";
}

TEST(HedgingTest, TheDelayIsTheSlowQuantile) {
  Hedging hedging;
  for (int i = 0; i < 128; ++i) hedging.NoteLatency(kSmall, (i % 10 == 0 ? 100 : 10) * kNsPerMs);
  EXPECT_EQ(hedging.DelayNs(kSmall), 100 * kNsPerMs);
}

TEST(HedgingTest, NeverBelowThreeMediansNorTheFloor) {
  Hedging hedging;
  Note(&hedging, kLarge, 50, 64);
  EXPECT_EQ(hedging.DelayNs(kLarge), 150 * kNsPerMs);
  for (int i = 0; i < 64; ++i) hedging.NoteLatency(kSmall, 1'000);
  EXPECT_EQ(hedging.DelayNs(kSmall), Hedging::kLeastDelayNs);
}

TEST(HedgingTest, FollowsAServerThatChanges) {
  Hedging hedging;
  Note(&hedging, kSmall, 10, 128);
  Note(&hedging, kSmall, 40, 128);
  EXPECT_EQ(hedging.DelayNs(kSmall), 120 * kNsPerMs);
}

TEST(HedgingTest, TheBudgetIsAShareOfAllRequests) {
  Hedging hedging;
  int taken = 0;
  for (int i = 0; i < 10'000; ++i) {
    Note(&hedging, kSmall, 10, 1);
    taken += hedging.Take(kNsPerSecond) ? 1 : 0;
  }
  EXPECT_LE(taken, 302);
  EXPECT_GE(taken, 298);
}

TEST(HedgingTest, SavesUpOnlySoMuch) {
  Hedging hedging;
  Note(&hedging, kSmall, 10, 100'000);
  int taken = 0;
  while (hedging.Take(kNsPerSecond)) ++taken;
  EXPECT_EQ(taken, static_cast<int>(Hedging::kMostTokens));
}

TEST(HedgingTest, AThrottlingServerGetsNone) {
  Hedging hedging;
  Note(&hedging, kSmall, 10, 1'000);
  hedging.NoteThrottled(kNsPerSecond);
  EXPECT_FALSE(hedging.Take(2 * kNsPerSecond));
  EXPECT_TRUE(hedging.Take(kNsPerSecond + Hedging::kQuietNs));
}

}  // namespace
}  // namespace penstock::origin
