#include "transport/http/hedging.h"

#include <algorithm>

namespace penstock::origin {
namespace {

constexpr std::size_t kSamplesBetweenLooks = 16;

}  // namespace

std::size_t Hedging::SizeOf(std::uint64_t bytes) {
  std::size_t size = 0;
  for (std::uint64_t most = 16u << 10; bytes > most && size + 1 < kSizes; most *= 4) ++size;
  return size;
}

void Hedging::NoteLatency(std::uint64_t bytes, std::int64_t latency_ns) {
  Size& size = sizes_[SizeOf(bytes)];
  size.latencies_ns[size.count++ % kSamples] = latency_ns;
  ++size.fresh;
  tokens_ = std::min(kMostTokens, tokens_ + kShare);
}

std::optional<std::int64_t> Hedging::DelayNs(std::uint64_t bytes) {
  Size& size = sizes_[SizeOf(bytes)];
  if (size.count < kFewestSamples) return std::nullopt;
  if (size.delay_ns == 0 || size.fresh >= kSamplesBetweenLooks) {
    size.fresh = 0;
    auto sorted = size.latencies_ns;
    const std::size_t count = std::min(size.count, kSamples);
    const auto begin = sorted.begin();
    std::sort(begin, begin + static_cast<std::ptrdiff_t>(count));
    const auto slow = static_cast<std::size_t>(kQuantile * static_cast<double>(count));
    size.delay_ns = std::max({sorted[std::min(slow, count - 1)], 3 * sorted[count / 2],
                              kLeastDelayNs});
  }
  return size.delay_ns;
}

bool Hedging::Take(std::int64_t now_ns) {
  if (now_ns < quiet_until_ns_ || tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

}  // namespace penstock::origin
