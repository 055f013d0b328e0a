#include "transport/base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace penstock {

std::size_t HistogramCounts::BucketOf(std::uint64_t us) {
  if (us < kParts) return us;
  const auto octave = static_cast<unsigned>(std::bit_width(us)) - 1;
  if (octave >= kOctaves) return kBuckets - 1;
  const std::uint64_t part = (us >> (octave - kPartBits)) & (kParts - 1);
  return (octave - kPartBits + 1) * kParts + part;
}

std::uint64_t HistogramCounts::LongestOf(std::size_t bucket) {
  if (bucket < kParts) return bucket;
  const auto octave = static_cast<unsigned>(bucket / kParts) + kPartBits - 1;
  const std::uint64_t width = 1ull << (octave - kPartBits);
  return (1ull << octave) + (bucket % kParts + 1) * width - 1;
}

std::uint64_t HistogramCounts::QuantileUs(double part) const {
  if (count == 0) return 0;
  const auto rank = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(count)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets[i];
    if (seen >= std::max<std::uint64_t>(rank, 1)) return LongestOf(i);
  }
  return LongestOf(kBuckets - 1);
}

std::uint64_t HistogramCounts::CountUpTo(std::uint64_t us) const {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets && LongestOf(i) <= us; ++i) seen += buckets[i];
  return seen;
}

void HistogramCounts::Add(const HistogramCounts& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) buckets[i] += other.buckets[i];
  count += other.count;
  sum_us += other.sum_us;
}

namespace {

// One writer: no locked addition.
void Bump(std::atomic<std::uint64_t>& counter, std::uint64_t by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

void Histogram::Note(std::int64_t ns) {
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0)) / 1'000;
  Bump(buckets_[HistogramCounts::BucketOf(us)], 1);
  Bump(sum_us_, us);
}

HistogramCounts Histogram::Counts() const {
  HistogramCounts counts;
  for (std::size_t i = 0; i < HistogramCounts::kBuckets; ++i) {
    counts.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    counts.count += counts.buckets[i];
  }
  counts.sum_us = sum_us_.load(std::memory_order_relaxed);
  return counts;
}

}  // namespace penstock
