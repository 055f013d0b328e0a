// Numbers of 1 to 10 bytes, seven bits a byte, the lowest first (LEB128), as the manifest has them.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace penstock::snapshot {

inline void AppendVarint(std::uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Signed ones: small for both small positive and small negative values.
inline std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
inline std::int64_t UnZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

// Takes one from the front of `bytes`; false if it is cut off or too large.
inline bool TakeVarint(std::span<const std::byte>* bytes, std::uint64_t* value) {
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < bytes->size() && i < 10; ++i) {
    const auto byte = static_cast<std::uint8_t>((*bytes)[i]);
    if (i == 9 && byte > 1) return false;
    result |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if ((byte & 0x80) == 0) {
      *value = result;
      *bytes = bytes->subspan(i + 1);
      return true;
    }
  }
  return false;
}

}  // namespace penstock::snapshot
