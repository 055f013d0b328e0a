// One table of the configuration file, read key by key. Each getter notes its key as known, checks
// the value's type and range, and reports what is wrong with file, line, key and what is allowed;
// Finish() reports the keys nobody asked for.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/config/config.h"
#include "cache/config/toml.h"

namespace penstock::cache {

class Section {
 public:
  // `prefix` is what stands before a key in messages: "cache.", "mount[0].". The table may be null:
  // every getter then leaves its default.
  Section(const toml::table* table, std::string prefix, const std::string& file,
          ConfigErrors* errors)
      : table_(table), prefix_(std::move(prefix)), file_(file), errors_(errors) {}

  // The getters return the node if the key is there and its value was taken, else null.
  const toml::node* String(std::string_view key, std::string* value);
  const toml::node* Bytes(std::string_view key, std::uint64_t* value, std::uint64_t min,
                          std::uint64_t max);
  // Bytes in a second: "2GiB/s", "16Gbit/s".
  const toml::node* Rate(std::string_view key, std::uint64_t* value, std::uint64_t min,
                         std::uint64_t max);
  const toml::node* Number(std::string_view key, double* value, double min, double max);
  const toml::node* Duration(std::string_view key, std::int64_t* value, std::int64_t min,
                             std::int64_t max);
  const toml::node* Integer(std::string_view key, std::uint32_t* value, std::uint32_t min,
                            std::uint32_t max);
  // One of `allowed`; gives its index.
  const toml::node* Choice(std::string_view key, std::span<const std::string_view> allowed,
                           std::size_t* index);
  // Notes the key as known and returns its node, or null.
  const toml::node* Raw(std::string_view key);
  // A table of this name, or null; anything else under the name is an error.
  const toml::table* Table(std::string_view key);

  void Fail(const toml::node& node, std::string_view key, std::string message);
  void FailHere(std::string_view key, std::string message);  // at the table's own line
  void Finish();

  int line() const;

 private:
  const toml::table* table_;
  std::string prefix_;
  const std::string& file_;
  ConfigErrors* errors_;
  std::vector<std::string_view> known_;
};

// How a value of the file reads in a message: "8GiB" in quotes, 8, true, a table ...
std::string Shown(const toml::node& node);

}  // namespace penstock::cache
