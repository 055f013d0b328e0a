#include "transport/base/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace penstock {
namespace {

// Polynomials are bit-reflected: bit 31 is the coefficient of x^0.
constexpr std::uint32_t kCastagnoli = 0x82F63B78u;

using ByteTables = std::array<std::array<std::uint32_t, 256>, 8>;

// Slicing by eight: table[k][b] advances byte b over k further zero bytes.
constexpr ByteTables MakeByteTables() {
  ByteTables tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCastagnoli : 0);
    tables[0][b] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t b = 0; b < 256; ++b) {
      const std::uint32_t before = tables[k - 1][b];
      tables[k][b] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}
constexpr ByteTables kByteTables = MakeByteTables();

std::uint64_t LoadWord(const std::byte* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// State in, state out: without the inversions before and after.
std::uint32_t UpdatePortable(std::uint32_t state, const std::byte* at, std::size_t size) {
  if constexpr (std::endian::native == std::endian::little) {
    for (; size >= 8; at += 8, size -= 8) {
      const std::uint64_t word = LoadWord(at) ^ state;
      state = 0;
      for (std::size_t k = 0; k < 8; ++k) state ^= kByteTables[7 - k][(word >> (8 * k)) & 0xFF];
    }
  }
  for (; size > 0; ++at, --size) {
    state = (state >> 8) ^ kByteTables[0][(state ^ std::to_integer<std::uint32_t>(*at)) & 0xFF];
  }
  return state;
}

#if defined(__x86_64__)

constexpr std::uint32_t MultiplyModP(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kCastagnoli : 0);
  }
  return product;
}

// x^(8 * bytes) mod P: multiplying a state by it appends that many zero bytes.
constexpr std::uint32_t ZeroBytesFactor(std::size_t bytes) {
  std::uint32_t result = 1u << 31;  // x^0
  std::uint32_t square = 1u << 23;  // x^8
  for (; bytes != 0; bytes >>= 1) {
    if ((bytes & 1) != 0) result = MultiplyModP(result, square);
    square = MultiplyModP(square, square);
  }
  return result;
}

// The multiplication as four look-ups; it is linear, so bytes may be shifted one by one.
using ShiftTable = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr ShiftTable MakeShiftTable(std::size_t bytes) {
  const std::uint32_t factor = ZeroBytesFactor(bytes);
  ShiftTable table{};
  for (std::size_t k = 0; k < 4; ++k) {
    for (std::uint32_t bit = 0; bit < 8; ++bit) {
      const std::uint32_t image = MultiplyModP(factor, 1u << (8 * k + bit));
      const std::uint32_t step = 1u << bit;
      for (std::uint32_t b = 0; b < step; ++b) table[k][step + b] = table[k][b] ^ image;
    }
  }
  return table;
}

constexpr std::size_t kLongStripe = 4096;
constexpr std::size_t kShortStripe = 256;
constexpr ShiftTable kShiftLong = MakeShiftTable(kLongStripe);
constexpr ShiftTable kShiftShort = MakeShiftTable(kShortStripe);

std::uint32_t Shift(const ShiftTable& table, std::uint32_t state) {
  return table[0][state & 0xFF] ^ table[1][(state >> 8) & 0xFF] ^ table[2][(state >> 16) & 0xFF] ^
         table[3][state >> 24];
}

// The instruction has a latency of three cycles and a throughput of one: three stripes side by
// side.
template <std::size_t kStripe>
__attribute__((target("sse4.2"))) std::uint32_t UpdateStripes(const ShiftTable& shift,
                                                              std::uint32_t state,
                                                              const std::byte*& at,
                                                              std::size_t& size) {
  for (; size >= 3 * kStripe; at += 3 * kStripe, size -= 3 * kStripe) {
    std::uint64_t first = state;
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kStripe; i += 8) {
      first = _mm_crc32_u64(first, LoadWord(at + i));
      second = _mm_crc32_u64(second, LoadWord(at + kStripe + i));
      third = _mm_crc32_u64(third, LoadWord(at + 2 * kStripe + i));
    }
    state = Shift(shift, static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    state = Shift(shift, state) ^ static_cast<std::uint32_t>(third);
  }
  return state;
}

__attribute__((target("sse4.2"))) std::uint32_t UpdateSse42(std::uint32_t state,
                                                            const std::byte* at, std::size_t size) {
  state = UpdateStripes<kLongStripe>(kShiftLong, state, at, size);
  state = UpdateStripes<kShortStripe>(kShiftShort, state, at, size);
  std::uint64_t wide = state;
  for (; size >= 8; at += 8, size -= 8) wide = _mm_crc32_u64(wide, LoadWord(at));
  state = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++at, --size) state = _mm_crc32_u8(state, std::to_integer<unsigned char>(*at));
  return state;
}

const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;

#else

constexpr bool kHasInstruction = false;

#endif

}  // namespace

std::uint32_t Crc32cPortable(std::span<const std::byte> data, std::uint32_t previous) {
  return ~UpdatePortable(~previous, data.data(), data.size());
}

std::uint32_t Crc32c(std::span<const std::byte> data, std::uint32_t previous) {
#if defined(__x86_64__)
  if (kHasInstruction) return ~UpdateSse42(~previous, data.data(), data.size());
#endif
  return Crc32cPortable(data, previous);
}

bool Crc32cIsAccelerated() { return kHasInstruction; }

}  // namespace penstock
