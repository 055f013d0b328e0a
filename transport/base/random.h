// Random numbers for jitter and tests: small, fast, reproducible from a seed that can be printed.
// Not for secrets.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>

namespace penstock {

class Random {
 public:
  explicit Random(std::uint64_t seed);
  // Seeds from the kernel, or from the environment variable PENSTOCK_SEED so that a run repeats.
  static Random FromEnvironment();

  std::uint64_t seed() const { return seed_; }
  std::uint64_t Next();
  // Uniform in [0, bound); 0 for a bound of 0.
  std::uint64_t Below(std::uint64_t bound);
  // Uniform in [0, 1).
  double Fraction();

 private:
  std::uint64_t seed_;
  std::uint64_t state_[4];
};

}  // namespace penstock
