// The scalars of a YAML document with their places, in the order of the text. The document is
// somebody else's and may be anything: its size, depth and number of values are bounded, aliases
// are named and not followed (a few lines of them stand for gigabytes), tags are not looked at.
//
// Thread safety: pure function.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::cache {

struct YamlValue {
  std::string key;  // "azstorage.container", "components[0]"
  std::string value;
  int line = 0;          // from 1
  bool is_null = false;  // "key:" with nothing behind it
  bool is_alias = false;
};

struct YamlProblem {
  int line = 0;  // 0: the whole text
  std::string message;
};

inline constexpr std::size_t kYamlMaxBytes = 128u << 10;
inline constexpr std::size_t kYamlMaxDepth = 16;
inline constexpr std::size_t kYamlMaxKeyBytes = 256;
inline constexpr std::size_t kYamlMaxValues = 4'096;

// The first document of `text`.
std::expected<std::vector<YamlValue>, YamlProblem> ReadYaml(std::string_view text);

}  // namespace penstock::cache
