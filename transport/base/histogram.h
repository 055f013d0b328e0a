// Durations in buckets that grow: each power of two in eight equal parts, so that a quantile is
// wrong by an eighth at most, from one microsecond to an hour, in two kilobytes.
//
// Thread safety: Histogram has one writer at a time; Counts() from any thread sees each bucket
// whole, and buckets of slightly different moments. HistogramCounts is a plain value.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace penstock {

struct HistogramCounts {
  static constexpr unsigned kPartBits = 3;
  static constexpr unsigned kParts = 1u << kPartBits;
  static constexpr unsigned kOctaves = 32;  // the last bucket takes all that is longer
  static constexpr std::size_t kBuckets = (kOctaves - kPartBits + 1) * kParts;

  std::array<std::uint64_t, kBuckets> buckets{};
  std::uint64_t count = 0;
  std::uint64_t sum_us = 0;

  static std::size_t BucketOf(std::uint64_t us);
  // The longest duration that falls into `bucket`.
  static std::uint64_t LongestOf(std::size_t bucket);

  // The duration that `part` (0 to 1) of all do not exceed, rounded up to its bucket's end; 0 when
  // there is none.
  std::uint64_t QuantileUs(double part) const;
  // How many took `us` or less, rounded to whole buckets.
  std::uint64_t CountUpTo(std::uint64_t us) const;
  void Add(const HistogramCounts& other);
};

class Histogram {
 public:
  void Note(std::int64_t ns);
  HistogramCounts Counts() const;

 private:
  std::array<std::atomic<std::uint64_t>, HistogramCounts::kBuckets> buckets_{};
  std::atomic<std::uint64_t> sum_us_{0};
};

}  // namespace penstock
