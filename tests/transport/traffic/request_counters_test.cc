// Counts of requests and their latencies.
#include "transport/traffic/request_counters.h"

#include <gtest/gtest.h>

#include "transport/base/histogram.h"

namespace penstock::origin {
namespace {

TEST(Histogram, BucketsHoldWhatTheySay) {
  std::size_t last = 0;
  for (std::uint64_t us = 0; us < 100'000; ++us) {
    const std::size_t bucket = HistogramCounts::BucketOf(us);
    ASSERT_LT(bucket, HistogramCounts::kBuckets);
    ASSERT_GE(bucket, last);
    ASSERT_LE(bucket, last + 1) << "no gap at " << us;
    last = bucket;
    ASSERT_GE(HistogramCounts::LongestOf(bucket), us);
    if (bucket > 0) {
      ASSERT_LT(HistogramCounts::LongestOf(bucket - 1), us);
    }
    ASSERT_LE(HistogramCounts::LongestOf(bucket), us + us / 8 + 1) << "an eighth at most";
  }
  EXPECT_EQ(HistogramCounts::BucketOf(UINT64_MAX), HistogramCounts::kBuckets - 1);
  EXPECT_EQ(HistogramCounts::BucketOf((1ull << 32) - 1), HistogramCounts::kBuckets - 1);
}

TEST(Histogram, QuantilesOfAKnownDistribution) {
  Histogram histogram;
  for (std::int64_t us = 1; us <= 10'000; ++us) histogram.Note(us * 1'000);
  const HistogramCounts counts = histogram.Counts();
  EXPECT_EQ(counts.count, 10'000u);
  EXPECT_EQ(counts.sum_us, 50'005'000u);
  EXPECT_NEAR(static_cast<double>(counts.QuantileUs(0.5)), 5'000, 5'000 / 8);
  EXPECT_NEAR(static_cast<double>(counts.QuantileUs(0.99)), 9'900, 9'900 / 8);
  EXPECT_GE(counts.QuantileUs(1.0), 10'000u);
  EXPECT_EQ(counts.CountUpTo(1'023), 1'023u);
  EXPECT_EQ(HistogramCounts().QuantileUs(0.5), 0u);
}

TEST(RequestCounters, SortsByKindAndAnswer) {
  RequestCounters counters;
  counters.NoteEnd({RequestKind::kGet, 206, 4096, 0, 2'000'000});
  counters.NoteEnd({RequestKind::kGet, 503, 100, 0, 1'000'000});
  counters.NoteEnd({RequestKind::kGet, 429, 0, 0, 1'000'000});
  counters.NoteEnd({RequestKind::kGet, 0, 0, 0, 30'000'000'000});
  counters.NoteEnd({RequestKind::kList, 200, 9, 0, 3'000'000});
  counters.NoteEnd({RequestKind::kPut, 201, 0, 77, 3'000'000});
  counters.NotePaced(5'000'000);
  const RequestCounts counts = counters.Counts();
  const auto& get = counts.of(RequestKind::kGet);
  EXPECT_EQ(get.answers, (std::array<std::uint64_t, kAnswerClasses>{1, 0, 1, 1, 1}));
  EXPECT_EQ(get.requests(), 4u);
  EXPECT_EQ(counts.of(RequestKind::kList).requests(), 1u);
  EXPECT_EQ(counts.bytes_received, 4205u);
  EXPECT_EQ(counts.bytes_sent, 77u);
  EXPECT_EQ(counts.throttled, 2u);
  EXPECT_EQ(counts.paced, 1u);
  EXPECT_EQ(counts.paced_us, 5'000u);
  EXPECT_EQ(get.latency.count, 4u);
}

}  // namespace
}  // namespace penstock::origin
