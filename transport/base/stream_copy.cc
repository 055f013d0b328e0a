#include "transport/base/stream_copy.h"

#include <cstdint>
#include <cstring>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace penstock {

#ifdef __x86_64__
namespace {

constexpr std::size_t kLine = 64;

// One whole line: lines that are written in parts go to memory in parts.
void StreamLine(char* to, const char* from) {
  for (std::size_t at = 0; at < kLine; at += sizeof(__m128i)) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  }
}

}  // namespace

void StreamCopy(void* to, const void* from, std::size_t bytes) {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  const std::size_t head = -reinterpret_cast<std::uintptr_t>(out) % kLine;
  if (bytes < head + kLine) {
    std::memcpy(out, in, bytes);
    return;
  }
  std::memcpy(out, in, head);
  std::size_t at = head;
  for (; at + kLine <= bytes; at += kLine) StreamLine(out + at, in + at);
  _mm_sfence();  // streaming stores are not ordered with the stores that publish what they wrote
  std::memcpy(out + at, in + at, bytes - at);
}
#else
void StreamCopy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
#endif

}  // namespace penstock
