// A manifest that is read: names looked up by binary search in its bytes, nothing copied.
//
// Open() reads everything once: digest, every block's checksum, every entry, their order. Later
// looks trust none of it all the same: a block is checked each time it is decoded.
//
// Thread safety: immutable; all methods from any thread. The bytes are the caller's and outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/snapshot/manifest_format.h"

namespace penstock::snapshot {

struct ManifestInfo {
  std::string origin;  // az://account/container/prefix
  std::string writer;  // "penstock 1.2.3"
  std::int64_t created_ns = 0;
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t bytes = 0;
  std::uint64_t manifest_bytes = 0;
  std::string digest;  // hexadecimal
};

class Manifest {
 public:
  // kCorrupt with a sentence for a person in `explanation` if it is no whole manifest.
  static Result<Manifest> Open(std::span<const std::byte> bytes, std::string* explanation);

  const ManifestInfo& info() const { return info_; }

  // One name; nullopt if it is not there. "" is the root, a directory.
  Result<std::optional<origin::ObjectInfo>> Find(std::string_view path) const;
  // Children of a directory in the order of their names, those after `after` ("": from the first),
  // at most `most`; `more` says whether others follow. kNotFound, kNotDirectory.
  Result<std::vector<origin::ObjectInfo>> List(std::string_view directory, std::string_view after,
                                               std::size_t most, bool* more) const;

 private:
  struct Block {
    std::span<const std::byte> entries;
    std::uint32_t count = 0;
  };
  class Cursor;

  Result<void> ReadFoot(std::string* explanation);
  Result<void> CheckAll(std::string* explanation);
  std::uint64_t OffsetOf(std::uint64_t block) const;
  // nullopt if the block is not what it was.
  std::optional<Block> BlockAt(std::uint64_t block, bool check) const;
  // The last block whose first key is not after `key`; 0 if there is none such.
  std::optional<std::uint64_t> BlockFor(std::string_view key) const;

  static constexpr std::uint64_t kSampleBlocks = 16;

  std::span<const std::byte> bytes_;
  Foot foot_{};
  ManifestInfo info_;
  // The first key of each kSampleBlocks'th block, so that a search reads only a few neighbours.
  std::vector<std::string> samples_;
};

}  // namespace penstock::snapshot
