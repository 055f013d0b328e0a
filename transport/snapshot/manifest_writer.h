// Writes the manifest of a snapshot: collects entries in any order, sorts them, and writes blocks.
//
// Directories that names lie in need no entries of their own. Where a file and a directory have one
// name, the directory wins, as in a listing. Memory: about 100 bytes and the name for each entry.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "transport/snapshot/manifest_format.h"

namespace penstock::snapshot {

struct Written {
  Digest digest{};
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t bytes = 0;           // of all files
  std::uint64_t manifest_bytes = 0;  // of the manifest
  std::uint64_t left_out = 0;        // names that cannot be
};

class ManifestWriter {
 public:
  // `info.name` is the path relative to the snapshot's root.
  void Add(const origin::ObjectInfo& info);
  // Sorts and writes to `fd`, from where it stands. Once.
  Result<Written> Write(int fd, std::string_view origin, std::string_view writer,
                        std::int64_t created_ns);
  std::uint64_t entries() const { return entries_.size(); }

 private:
  struct Entry {
    std::string_view key;      // in texts_
    std::string_view version;  // in texts_
    std::uint64_t size = 0;
    std::int64_t mtime_ns = 0;
    bool directory = false;
  };

  std::string_view Keep(std::string_view text);
  void AddParents(std::string_view path);
  static bool Before(const Entry& a, const Entry& b);

  std::deque<std::string> texts_;  // large pieces, never moved
  std::vector<Entry> entries_;
  std::string last_parent_;
  std::uint64_t left_out_ = 0;
};

}  // namespace penstock::snapshot
