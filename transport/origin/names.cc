#include "transport/origin/names.h"

#include <cstdint>

#include "transport/base/limits.h"

namespace penstock::origin {
namespace {

// Length of the UTF-8 sequence that starts with `lead`, 0 if none does.
std::size_t SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  return 0;
}

constexpr std::uint32_t kSmallestOfLength[5] = {0, 0, 0x80, 0x800, 0x10000};

// Decodes one sequence of `length` bytes; false if it is malformed.
bool IsSequence(std::string_view bytes, std::size_t length) {
  if (length == 1) return true;
  std::uint32_t point = static_cast<unsigned char>(bytes[0]) & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if ((byte & 0xC0) != 0x80) return false;
    point = (point << 6) | (byte & 0x3F);
  }
  const bool surrogate = point >= 0xD800 && point < 0xE000;
  return point >= kSmallestOfLength[length] && point <= 0x10FFFF && !surrogate;
}

}  // namespace

bool IsPathComponent(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return false;
  for (const char c : name) {
    if (c == '/' || c == '\0') return false;
  }
  return true;
}

Result<void> CheckName(std::string_view name) {
  if (name.empty()) return {};
  if (name.size() > limits::kMaxNameBytes) {
    return Fail(Code::kNameTooLong, "checking the length of a name");
  }
  while (true) {
    const std::size_t slash = name.find('/');
    const std::string_view component = name.substr(0, slash);
    if (!IsPathComponent(component)) return Fail(Code::kInvalid, "checking the parts of a name");
    if (slash == std::string_view::npos) return {};
    name.remove_prefix(slash + 1);
  }
}

std::size_t CountCharacters(std::string_view utf8) {
  std::size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::string JoinNames(std::string_view base, std::string_view name) {
  std::string joined;
  joined.reserve(base.size() + 1 + name.size());
  joined.append(base);
  if (!base.empty() && !name.empty() && base.back() != '/') joined.push_back('/');
  joined.append(name);
  return joined;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = SequenceLength(static_cast<unsigned char>(text.front()));
    if (length == 0 || length > text.size() || !IsSequence(text, length)) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace penstock::origin
