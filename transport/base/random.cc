#include "transport/base/random.h"

#include <sys/random.h>

#include <bit>
#include <cstdlib>

#include "transport/base/clock.h"
#include "transport/base/parse.h"

namespace penstock {
namespace {

// splitmix64: spreads a poor seed over the whole state.
std::uint64_t Mix(std::uint64_t* state) {
  std::uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::uint64_t SeedFromKernel() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
    seed = static_cast<std::uint64_t>(SystemClock::Get().WallNs());
  }
  return seed;
}

}  // namespace

Random::Random(std::uint64_t seed) : seed_(seed) {
  for (std::uint64_t& word : state_) word = Mix(&seed);
}

Random Random::FromEnvironment() {
  if (const char* text = std::getenv("PENSTOCK_SEED"); text != nullptr) {
    if (const auto seed = ParseUnsigned(text)) return Random(*seed);
  }
  return Random(SeedFromKernel());
}

// xoshiro256**.
std::uint64_t Random::Next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Random::Below(std::uint64_t bound) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
}

double Random::Fraction() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

}  // namespace penstock
