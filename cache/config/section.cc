#include "cache/config/section.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cache/config/units.h"

namespace penstock::cache {

std::string Shown(const toml::node& node) {
  if (const auto* text = node.as_string()) return fmt::format("\"{}\"", text->get());
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* real = node.as_floating_point()) return fmt::format("{}", real->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (node.is_array()) return "a list";
  if (node.is_table()) return "a table";
  return "a date or time";
}

int Section::line() const {
  return table_ == nullptr ? 0 : static_cast<int>(table_->source().begin.line);
}

void Section::Fail(const toml::node& node, std::string_view key, std::string message) {
  errors_->push_back({file_, static_cast<int>(node.source().begin.line), prefix_ + std::string(key),
                      std::move(message)});
}

void Section::FailHere(std::string_view key, std::string message) {
  errors_->push_back({file_, line(), prefix_ + std::string(key), std::move(message)});
}

const toml::node* Section::Raw(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  return table_ == nullptr ? nullptr : table_->get(key);
}

const toml::table* Section::Table(std::string_view key) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  if (node->is_table()) return node->as_table();
  Fail(*node, key, fmt::format("expected a table [{}{}], got {}", prefix_, key, Shown(*node)));
  return nullptr;
}

const toml::node* Section::String(std::string_view key, std::string* value) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  const auto* text = node->as_string();
  if (text == nullptr) {
    Fail(*node, key, fmt::format("expected a string in quotes, got {}", Shown(*node)));
    return nullptr;
  }
  if (text->get().find('\0') != std::string::npos) {
    Fail(*node, key, "a NUL character is not allowed");
    return nullptr;
  }
  *value = text->get();
  return node;
}

const toml::node* Section::Bytes(std::string_view key, std::uint64_t* value, std::uint64_t min,
                                 std::uint64_t max) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  std::optional<std::uint64_t> bytes;
  if (const auto* text = node->as_string()) bytes = ParseBytes(text->get());
  if (const auto* number = node->as_integer(); number != nullptr && number->get() >= 0)
    bytes = static_cast<std::uint64_t>(number->get());
  if (!bytes) {
    Fail(*node, key, fmt::format("{} is no size; allowed is {}", Shown(*node), kBytesAllowed));
    return nullptr;
  }
  if (*bytes < min || *bytes > max) {
    Fail(*node, key,
         fmt::format("{} is out of range; allowed is {} to {}", Shown(*node), FormatBytes(min),
                     FormatBytes(max)));
    return nullptr;
  }
  *value = *bytes;
  return node;
}

const toml::node* Section::Rate(std::string_view key, std::uint64_t* value, std::uint64_t min,
                                std::uint64_t max) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  const auto* text = node->as_string();
  const std::optional<std::uint64_t> rate = text == nullptr ? std::nullopt : ParseRate(text->get());
  if (!rate) {
    Fail(*node, key, fmt::format("{} is no rate; allowed is {}", Shown(*node), kRateAllowed));
    return nullptr;
  }
  if (*rate < min || *rate > max) {
    Fail(*node, key,
         fmt::format("{} is out of range; allowed is {}/s to {}/s", Shown(*node), FormatBytes(min),
                     FormatBytes(max)));
    return nullptr;
  }
  *value = *rate;
  return node;
}

const toml::node* Section::Number(std::string_view key, double* value, double min, double max) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  const std::optional<double> number = node->value<double>();
  if (!number || !(*number >= min && *number <= max)) {
    Fail(*node, key,
         fmt::format("{} is not allowed here; allowed is a number from {} to {}", Shown(*node), min,
                     max));
    return nullptr;
  }
  *value = *number;
  return node;
}

const toml::node* Section::Duration(std::string_view key, std::int64_t* value, std::int64_t min,
                                    std::int64_t max) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  const auto* text = node->as_string();
  const std::optional<std::int64_t> ns =
      text == nullptr ? std::nullopt : ParseDuration(text->get());
  if (!ns) {
    Fail(*node, key,
         fmt::format("{} is no duration; allowed is {}", Shown(*node), kDurationAllowed));
    return nullptr;
  }
  if (*ns < min || *ns > max) {
    Fail(*node, key,
         fmt::format("{} is out of range; allowed is {} to {}", Shown(*node), FormatDuration(min),
                     FormatDuration(max)));
    return nullptr;
  }
  *value = *ns;
  return node;
}

const toml::node* Section::Integer(std::string_view key, std::uint32_t* value, std::uint32_t min,
                                   std::uint32_t max) {
  const toml::node* node = Raw(key);
  if (node == nullptr) return nullptr;
  const auto* number = node->as_integer();
  if (number == nullptr || number->get() < static_cast<std::int64_t>(min) ||
      number->get() > static_cast<std::int64_t>(max)) {
    Fail(*node, key,
         fmt::format("{} is not allowed here; allowed is a whole number from {} to {}",
                     Shown(*node), min, max));
    return nullptr;
  }
  *value = static_cast<std::uint32_t>(number->get());
  return node;
}

const toml::node* Section::Choice(std::string_view key, std::span<const std::string_view> allowed,
                                  std::size_t* index) {
  std::string text;
  const toml::node* node = String(key, &text);
  if (node == nullptr) return nullptr;
  const auto found = std::find(allowed.begin(), allowed.end(), text);
  if (found == allowed.end()) {
    Fail(*node, key,
         fmt::format("{} is not allowed here; allowed is one of \"{}\"", Shown(*node),
                     fmt::join(allowed, "\", \"")));
    return nullptr;
  }
  *index = static_cast<std::size_t>(found - allowed.begin());
  return node;
}

void Section::Finish() {
  if (table_ == nullptr) return;
  for (const auto& [name, node] : *table_) {
    if (std::find(known_.begin(), known_.end(), name.str()) != known_.end()) continue;
    const std::string_view near = Nearest(name.str(), known_);
    std::string message = "unknown key";
    if (!near.empty()) message += fmt::format("; did you mean '{}'?", near);
    message += fmt::format(" (allowed here: {})", fmt::join(known_, ", "));
    errors_->push_back({file_, static_cast<int>(name.source().begin.line),
                        prefix_ + std::string(name.str()), std::move(message)});
  }
}

}  // namespace penstock::cache
