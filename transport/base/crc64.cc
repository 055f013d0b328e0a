#include "transport/base/crc64.h"

#include <array>
#include <cstring>

namespace penstock {
namespace {

constexpr std::uint64_t kNvme = 0x9A6C9329AC4BC9B5;
constexpr std::size_t kSlices = 16;  // bytes taken in one step

using Tables = std::array<std::array<std::uint64_t, 256>, kSlices>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (std::uint64_t byte = 0; byte < 256; ++byte) {
    std::uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kNvme : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < kSlices; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint64_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

std::uint64_t LoadLittleEndian(const std::byte* from) {
  std::uint64_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;  // as everywhere in Penstock: x86-64 and AArch64
}

}  // namespace

std::uint64_t Crc64(std::span<const std::byte> data, std::uint64_t previous) {
  std::uint64_t crc = ~previous;
  while (data.size() >= kSlices) {
    const std::uint64_t low = crc ^ LoadLittleEndian(data.data());
    const std::uint64_t high = LoadLittleEndian(data.data() + 8);
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      crc ^= kTables[15 - i][(low >> (8 * i)) & 0xFF] ^ kTables[7 - i][(high >> (8 * i)) & 0xFF];
    }
    data = data.subspan(kSlices);
  }
  for (const std::byte byte : data) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<std::uint64_t>(byte)) & 0xFF];
  }
  return ~crc;
}

}  // namespace penstock
