// Numbers from text that is not trusted: all of it must be the number, or it is none.
//
// Thread safety: pure functions.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace penstock {

// Decimal digits and nothing else: no sign, no space, no overflow.
inline std::optional<std::uint64_t> ParseUnsigned(std::string_view digits) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace penstock
