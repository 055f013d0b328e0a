#include "transport/origin/tree_plan.h"

#include <algorithm>
#include <queue>
#include <span>

namespace penstock::origin {
namespace {

// Children that share their first `length` bytes.
struct Group {
  std::span<const std::string_view> names;
  std::size_t length = 0;
};
struct Smaller {
  bool operator()(const Group& a, const Group& b) const { return a.names.size() < b.names.size(); }
};

// The bytes that all names of a sorted span begin with.
std::size_t CommonLength(std::span<const std::string_view> names) {
  const std::string_view first = names.front();
  const std::string_view last = names.back();
  const auto ends = std::mismatch(first.begin(), first.end(), last.begin(), last.end());
  return static_cast<std::size_t>(ends.first - first.begin());
}

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// The character of UTF-8 that begins at `at`; "" at the name's end.
std::string_view CharacterAt(std::string_view name, std::size_t at) {
  std::size_t end = std::min(at + 1, name.size());
  while (end < name.size() && IsContinuation(name[end])) ++end;
  return name.substr(std::min(at, name.size()), end - std::min(at, name.size()));
}

// Divides by the character after the common beginning; a name that ends there is a group of its
// own. Never within a character: a prefix in a URL has to be text.
std::vector<Group> Split(const Group& group) {
  std::size_t at = CommonLength(group.names);
  while (at > 0 && at < group.names.back().size() && IsContinuation(group.names.back()[at])) --at;
  std::vector<Group> parts;
  for (std::size_t begin = 0; begin < group.names.size();) {
    const std::string_view character = CharacterAt(group.names[begin], at);
    std::size_t end = begin + 1;
    while (end < group.names.size() && !character.empty() &&
           CharacterAt(group.names[end], at) == character) {
      ++end;
    }
    parts.push_back({group.names.subspan(begin, end - begin), at + character.size()});
    begin = end;
  }
  return parts;
}

}  // namespace

std::vector<std::string> PlanPrefixes(const std::vector<std::string_view>& children,
                                      std::size_t groups) {
  std::vector<std::string> prefixes;
  if (children.empty()) return prefixes;
  std::priority_queue<Group, std::vector<Group>, Smaller> open;
  open.push({children, 0});
  while (open.size() < groups && open.top().names.size() > 1) {
    const Group largest = open.top();
    const std::vector<Group> parts = Split(largest);
    if (open.size() - 1 + parts.size() > 2 * groups) break;
    open.pop();
    for (const Group& part : parts) open.push(part);
  }
  for (; !open.empty(); open.pop()) {
    const Group& group = open.top();
    if (group.names.size() == 1) {
      prefixes.push_back(std::string(group.names.front()) + "/");
    } else {
      prefixes.emplace_back(group.names.front().substr(0, group.length));
    }
  }
  std::sort(prefixes.begin(), prefixes.end());
  return prefixes;
}

}  // namespace penstock::origin
