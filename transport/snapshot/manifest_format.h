// The manifest of a snapshot: what a file of it consists of. docs/snapshot-format.md says it for
// people; this and the two files that write and read it are the code for that page.
//
// Thread safety: values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "transport/base/limits.h"
#include "transport/origin/origin.h"

namespace penstock::snapshot {

inline constexpr char kHeadMagic[8] = {'P', 'S', 'T', 'S', 'N', 'A', 'P', '1'};
inline constexpr char kFootMagic[8] = {'P', 'S', 'T', 'S', 'N', 'E', 'N', 'D'};
inline constexpr std::uint32_t kFormat = 1;
inline constexpr std::size_t kBlockTargetBytes = 4096;    // a block is closed once it has as many
inline constexpr std::size_t kBlockMaxBytes = 64u << 10;  // none has more
inline constexpr std::size_t kMetaMaxBytes = 64u << 10;
inline constexpr std::size_t kVersionMaxBytes = 1024;
static_assert(kBlockTargetBytes + limits::kMaxNameBytes + kVersionMaxBytes + 64 < kBlockMaxBytes);
inline constexpr std::size_t kDigestBytes = 32;  // SHA-256
using Digest = std::array<std::uint8_t, kDigestBytes>;

// Little-endian, as every machine is that this runs on.
struct Head {
  char magic[8];
  std::uint32_t format;
  std::uint32_t reserved;
};
static_assert(sizeof(Head) == 16);

struct BlockHead {
  std::uint32_t bytes;  // of the entries that follow
  std::uint32_t count;  // of entries, at least 1
  std::uint32_t crc;    // CRC32C of the entries' bytes
};
static_assert(sizeof(BlockHead) == 12);

struct Foot {
  std::uint64_t index_at;  // offset of each block, 8 bytes each, in order
  std::uint64_t blocks;
  std::uint64_t meta_at;  // origin and writer: two texts, each with its length as a varint
  std::uint64_t meta_bytes;
  std::uint64_t files;
  std::uint64_t directories;  // without the root
  std::uint64_t bytes;        // sizes of all files
  std::int64_t created_ns;    // UTC since 1970
  std::uint64_t reserved[3];
  char magic[8];
  Digest digest;  // of everything before it
};
static_assert(sizeof(Foot) == 128);

// Flags of an entry.
inline constexpr std::uint8_t kIsDirectory = 1;
inline constexpr std::uint8_t kHasTime = 2;
inline constexpr std::uint8_t kTimeInSeconds = 4;
inline constexpr std::uint8_t kHexVersion = 8;  // "0x" and hexadecimal digits, as Blob's ETags are
inline constexpr std::uint8_t kTextVersion = 16;  // anything else; neither: none

// What entries are sorted by, bytewise: the directory, a NUL, the name. The children of a directory
// lie together.
std::string KeyOf(std::string_view directory, std::string_view name);
std::string KeyOfPath(std::string_view path);

// A version token of the form of Blob's ETags as a number; false if it would not come back the
// same.
bool ParseHexVersion(std::string_view version, std::uint64_t* value);
std::string FormatHexVersion(std::uint64_t value);

// What the coder of a block remembers from one entry to the next; a block begins with a new one.
struct Before {
  std::string key;
  std::int64_t time_ns = 0;
  std::uint64_t version = 0;
};

// Appends one entry. `info.name` is not looked at.
void AppendEntry(std::string_view key, const origin::ObjectInfo& info, Before* before,
                 std::string* out);
// Takes one entry: the key is then in `before->key`, the rest in `info`, its name included. False
// if the bytes make no sense; the key is checked for being one: one NUL, a good name after it.
bool TakeEntry(std::span<const std::byte>* bytes, Before* before, origin::ObjectInfo* info);

std::string HexDigest(const Digest& digest);

}  // namespace penstock::snapshot
