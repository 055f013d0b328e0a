// The .meta file of an object, byte by byte (docs/object-format.md): a header block, then one
// 8-byte record for each 64 KiB range. Pure functions; nothing read is believed before it has
// verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shim/abi/key.h"

namespace penstock::cache {

// What an object is the bytes of.
struct ObjectKey {
  pst_key128 id{};
  std::uint64_t version = 0;
  std::uint64_t origin = 0;  // digest of the origin's address
  friend bool operator==(const ObjectKey& a, const ObjectKey& b) {
    return a.id.lo == b.id.lo && a.id.hi == b.id.hi && a.version == b.version &&
           a.origin == b.origin;
  }
};

struct ObjectKeyHash {
  std::size_t operator()(const ObjectKey& key) const {
    return static_cast<std::size_t>(pst_mix64(key.id.lo ^ key.version ^ key.origin));
  }
};

// Of what Origin::Describe() says: what tells the objects of two origins apart.
std::uint64_t OriginDigest(std::string_view origin);

std::string ObjectFileName(const ObjectKey& key);
std::optional<ObjectKey> ParseObjectFileName(std::string_view name);

struct ObjectHeader {
  ObjectKey key;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::string name;  // relative to the mount
};

inline constexpr std::size_t kMetaHeaderBytes = 8192;
inline constexpr std::size_t kMetaRecordBytes = 8;
inline constexpr char kMetaSuffix[] = ".meta";

constexpr std::uint64_t MetaRecordOffset(std::uint64_t range) {
  return kMetaHeaderBytes + range * kMetaRecordBytes;
}

// `to` has kMetaHeaderBytes; `header.name` at most PST_PATH_MAX - 1 bytes.
void EncodeHeader(const ObjectHeader& header, std::span<std::byte> to);
// Nothing unless every byte of the block is what EncodeHeader writes for some header.
std::optional<ObjectHeader> DecodeHeader(std::span<const std::byte> from);

// A record binds a CRC to its place; bytes of zero are "absent".
void EncodeRecord(const ObjectKey& key, std::uint64_t range, std::uint32_t crc, std::byte* to);
std::optional<std::uint32_t> DecodeRecord(const ObjectKey& key, std::uint64_t range,
                                          const std::byte* from);

}  // namespace penstock::cache
