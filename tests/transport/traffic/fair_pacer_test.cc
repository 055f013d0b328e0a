// Limits of a job: what passes in a second, whose turn it is, and that nothing is lost or stuck.
#include "transport/traffic/fair_pacer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace penstock::origin {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMs;
constexpr std::uint64_t kMiB = 1u << 20;

// A mount whose requests never end: asks when it may, as the HTTP client does.
struct Mount {
  Pacer* pacer;
  std::uint64_t bytes;
  bool urgent = true;
  std::uint64_t left = UINT64_MAX;  // requests that wait
  std::int64_t ask_at_ns = 0;
  std::uint64_t sent = 0;
  std::int64_t longest_gap_ns = 0;
  std::int64_t last_ns = 0;

  void Step(std::int64_t now_ns) {
    if (now_ns < ask_at_ns) return;
    while (left > 0) {
      const std::int64_t wait_ns = pacer->Ask(urgent, bytes, now_ns);
      if (wait_ns > 0) {
        EXPECT_LE(wait_ns, Pacer::kLongestWaitNs);
        ask_at_ns = now_ns + wait_ns;
        return;
      }
      --left;
      ++sent;
      longest_gap_ns = std::max(longest_gap_ns, now_ns - last_ns);
      last_ns = now_ns;
    }
    pacer->Leave();
  }
};

// Time goes in steps of a millisecond, as a poll's timeouts do.
void Simulate(std::vector<Mount*> mounts, std::int64_t from_ns, std::int64_t to_ns) {
  for (std::int64_t now_ns = from_ns; now_ns < to_ns; now_ns += kMs)
    for (Mount* mount : mounts) mount->Step(now_ns);
}

double RateOf(std::uint64_t sent, std::int64_t ns) {
  return static_cast<double>(sent) * 1e9 / static_cast<double>(ns);
}

TEST(FairPacer, KeepsTheRequestRate) {
  for (const std::uint64_t rate : {1u, 7u, 100u, 2'000u, 20'000u}) {
    FairPacer all({0, rate}, nullptr);
    Mount mount{all.MakePacer(1), 0};
    Simulate({&mount}, kSecond, 11 * kSecond);
    const double most = static_cast<double>(rate) * 10.05 + 1;
    EXPECT_LE(static_cast<double>(mount.sent), most + 1) << rate;
    EXPECT_GE(static_cast<double>(mount.sent), static_cast<double>(rate) * 9.9 - 1) << rate;
  }
}

TEST(FairPacer, KeepsTheBandwidthWhateverTheSizes) {
  FairPacer all({100 * kMiB, 0}, nullptr);
  Mount large{all.MakePacer(1), 8 * kMiB};
  Mount small{all.MakePacer(1), 64 << 10};
  Simulate({&large, &small}, kSecond, 11 * kSecond);
  const double bytes =
      static_cast<double>(large.sent) * 8 * kMiB + static_cast<double>(small.sent) * (64 << 10);
  EXPECT_NEAR(bytes / (10.0 * 100 * kMiB), 1.0, 0.03);
  // Fair by bytes, not by requests.
  EXPECT_NEAR(static_cast<double>(large.sent) * 128 / static_cast<double>(small.sent), 1.0, 0.1);
}

TEST(FairPacer, OneRequestDoesNotWaitBehindAThousand) {
  FairPacer all({0, 100}, nullptr);
  Mount crowd{all.MakePacer(1), 0, true, 1'000};
  Mount single{all.MakePacer(1), 0, true, 0};
  Simulate({&crowd, &single}, kSecond, 2 * kSecond);
  EXPECT_GT(crowd.left, 800u);
  single.left = 1;
  Simulate({&crowd, &single}, 2 * kSecond, 2 * kSecond + 60 * kMs);
  EXPECT_EQ(single.sent, 1u) << "after two turns of 10 ms and the time to ask";
}

TEST(FairPacer, WeightsDivideWhatThereIs) {
  FairPacer all({0, 1'000}, nullptr);
  Mount one{all.MakePacer(1), 0};
  Mount three{all.MakePacer(3), 0};
  Simulate({&one, &three}, kSecond, 11 * kSecond);
  EXPECT_NEAR(static_cast<double>(three.sent) / static_cast<double>(one.sent), 3.0, 0.2);
  EXPECT_NEAR(RateOf(one.sent + three.sent, 10 * kSecond), 1'000, 30);
}

TEST(FairPacer, NoTurnsAreLostAtHighRates) {
  FairPacer all({0, 20'000}, nullptr);
  Mount a{all.MakePacer(1), 0}, b{all.MakePacer(1), 0}, c{all.MakePacer(1), 0};
  Simulate({&a, &b, &c}, kSecond, 6 * kSecond);
  EXPECT_NEAR(RateOf(a.sent + b.sent + c.sent, 5 * kSecond), 20'000, 800);
  EXPECT_NEAR(static_cast<double>(a.sent) / static_cast<double>(b.sent), 1.0, 0.1);
}

TEST(FairPacer, PrefetchYieldsToReadsOfOtherMounts) {
  FairPacer all({0, 1'000}, nullptr);
  Mount ahead{all.MakePacer(1), 0, false};
  Mount demand{all.MakePacer(1), 0, true};
  Simulate({&ahead, &demand}, kSecond, 3 * kSecond);
  EXPECT_GE(demand.sent, 1'900u);
  EXPECT_LE(ahead.sent, 100u);
  demand.left = 0;
  const std::uint64_t before = ahead.sent;
  Simulate({&ahead, &demand}, 3 * kSecond, 4 * kSecond);
  EXPECT_GE(ahead.sent - before, 900u) << "the rest is the prefetch's";
}

TEST(FairPacer, WhoDoesNotComeBackLosesHisTurn) {
  FairPacer all({0, 10}, nullptr);
  Mount gone{all.MakePacer(1), 0, true, 5};
  Mount other{all.MakePacer(1), 0};
  Simulate({&gone, &other}, kSecond, kSecond + 50 * kMs);
  Simulate({&other}, kSecond + 50 * kMs, 6 * kSecond);  // `gone` waits and never asks again
  EXPECT_GE(other.sent, 45u);
}

TEST(FairPacer, AnIdleMountSavesNothingUp) {
  FairPacer all({0, 1'000}, nullptr);
  Mount busy{all.MakePacer(1), 0};
  Mount late{all.MakePacer(1), 0, true, 0};
  Simulate({&busy, &late}, kSecond, 20 * kSecond);
  const std::uint64_t before = busy.sent;
  late.left = UINT64_MAX;
  Simulate({&busy, &late}, 20 * kSecond, 21 * kSecond);
  EXPECT_NEAR(static_cast<double>(busy.sent - before), 500, 60);
}

TEST(FairPacer, WhatWasNotExpectedIsPaidAfterwards) {
  FairPacer all({10 * kMiB, 0}, nullptr);
  Pacer* pacer = all.MakePacer(1);
  std::int64_t now_ns = kSecond;
  ASSERT_EQ(pacer->Ask(true, 0, now_ns), 0);
  pacer->NoteMoved(0, 5 * kMiB, now_ns);  // a listing of half a second
  std::int64_t until_ns = now_ns;
  while (const std::int64_t wait_ns = pacer->Ask(true, 0, until_ns)) until_ns += wait_ns;
  EXPECT_NEAR(static_cast<double>(until_ns - now_ns) / kMs, 475, 30);
  // And what was paid for and did not come is given back.
  now_ns = until_ns + kSecond;
  ASSERT_EQ(pacer->Ask(true, 100 * kMiB, now_ns), 0);
  EXPECT_GT(pacer->Ask(true, 0, now_ns), 0);
  pacer->NoteMoved(100 * kMiB, 0, now_ns);
  EXPECT_EQ(pacer->Ask(true, 0, now_ns), 0);
}

TEST(FairPacer, ARequestLargerThanASecondPasses) {
  FairPacer all({kMiB, 0}, nullptr);
  Pacer* pacer = all.MakePacer(1);
  EXPECT_EQ(pacer->Ask(true, 16 * kMiB, kSecond), 0);
  std::int64_t at_ns = kSecond;
  while (const std::int64_t wait_ns = pacer->Ask(true, 1, at_ns)) at_ns += wait_ns;
  EXPECT_NEAR(static_cast<double>(at_ns) / kSecond, 17, 0.2);
}

}  // namespace
}  // namespace penstock::origin
