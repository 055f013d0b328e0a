#pragma once

// Timing and statistics for the benchmark programs. Header only, libc and the standard library.
// Not thread safe; one Sampler per measured loop.

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace penstock::bench {

inline int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What two readings of the clock around nothing cost: subtracted from every sample.
inline int64_t ClockOverheadNs() {
  std::vector<int64_t> costs(2001);
  for (int64_t& cost : costs) {
    const int64_t begin = NowNs();
    cost = NowNs() - begin;
  }
  std::nth_element(costs.begin(), costs.begin() + 1000, costs.end());
  return costs[1000];
}

struct Summary {
  std::string name;
  uint64_t seed = 0;
  int64_t ops = 0;
  int64_t batch = 1;  // operations per sample: p50 and p99 are of the batches' means
  double p50_ns = 0;
  double p99_ns = 0;
  double ops_per_s = 0;
  double bytes_per_s = 0;

  void PrintJson() const {
    std::printf(
        "{\"case\": \"%s\", \"seed\": %llu, \"ops\": %lld, \"batch\": %lld, \"p50_ns\": %.1f, "
        "\"p99_ns\": %.1f, \"ops_per_s\": %.1f, \"bytes_per_s\": %.0f}\n",
        name.c_str(), static_cast<unsigned long long>(seed), static_cast<long long>(ops),
        static_cast<long long>(batch), p50_ns, p99_ns, ops_per_s, bytes_per_s);
  }
};

// Collects samples of `batch` operations each until the time is over.
class Sampler {
 public:
  Sampler(int64_t batch, double seconds)
      : batch_(batch), budget_ns_(static_cast<int64_t>(seconds * 1e9)) {
    samples_.reserve(1 << 20);
  }

  void Begin() { begin_ns_ = NowNs(); }
  void End() {
    const int64_t spent = NowNs() - begin_ns_ - overhead_ns_;
    total_ns_ += spent;
    samples_.push_back(static_cast<double>(spent) / static_cast<double>(batch_));
  }
  bool TimeIsOver() const { return total_ns_ >= budget_ns_; }

  Summary Finish(std::string name, uint64_t seed, int64_t bytes_per_op) {
    Summary summary;
    summary.name = std::move(name);
    summary.seed = seed;
    summary.batch = batch_;
    summary.ops = static_cast<int64_t>(samples_.size()) * batch_;
    summary.p50_ns = Quantile(0.50);
    summary.p99_ns = Quantile(0.99);
    const double seconds = static_cast<double>(total_ns_) / 1e9;
    if (seconds > 0) summary.ops_per_s = static_cast<double>(summary.ops) / seconds;
    summary.bytes_per_s = summary.ops_per_s * static_cast<double>(bytes_per_op);
    return summary;
  }

 private:
  double Quantile(double q) {
    if (samples_.empty()) return 0;
    const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(samples_.size() - 1));
    std::nth_element(samples_.begin(), samples_.begin() + at, samples_.end());
    return samples_[static_cast<size_t>(at)];
  }

  const int64_t batch_;
  const int64_t budget_ns_;
  const int64_t overhead_ns_ = ClockOverheadNs();
  int64_t begin_ns_ = 0;
  int64_t total_ns_ = 0;
  std::vector<double> samples_;
};

}  // namespace penstock::bench
