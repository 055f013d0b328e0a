#include "cache/object/object_meta.h"

#include <bit>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/abi/abi.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

static_assert(std::endian::native == std::endian::little, "object files are little-endian");

constexpr std::uint64_t kMagic = 0x314a424f54534550ull;  // "PESTOBJ1"
constexpr std::uint32_t kFormat = 1;

struct DiskHeader {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint32_t crc;  // of the whole block with this field 0
  std::uint64_t key_lo;
  std::uint64_t key_hi;
  std::uint64_t version;
  std::uint64_t origin;
  std::uint64_t size;
  std::int64_t mtime_ns;
  std::uint32_t range_bytes;
  std::uint32_t name_bytes;
  std::uint64_t reserved[7];
};
static_assert(sizeof(DiskHeader) == 128 && sizeof(DiskHeader) + PST_PATH_MAX <= kMetaHeaderBytes);

struct DiskRecord {
  std::uint32_t crc;
  std::uint32_t mark;
};
static_assert(sizeof(DiskRecord) == kMetaRecordBytes);

std::uint32_t MarkOf(const ObjectKey& key, std::uint64_t range, std::uint32_t crc) {
  const std::uint64_t words[] = {key.id.lo, key.id.hi, key.version, key.origin, range, crc};
  const std::uint32_t mark = Crc32c(std::as_bytes(std::span(words)));
  return mark == 0 ? 1 : mark;
}

bool ParseHex(std::string_view text, std::uint64_t* value) {
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return std::from_chars(text.data(), text.data() + text.size(), *value, 16).ec == std::errc();
}

}  // namespace

std::uint64_t OriginDigest(std::string_view origin) {
  return XXH3_64bits(origin.data(), origin.size());
}

std::string ObjectFileName(const ObjectKey& key) {
  char text[80];
  std::snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64,
                key.id.hi, key.id.lo, key.version, key.origin);
  return text;
}

std::optional<ObjectKey> ParseObjectFileName(std::string_view name) {
  ObjectKey key;
  if (name.size() != 66 || name[32] != '-' || name[49] != '-') return std::nullopt;
  if (!ParseHex(name.substr(0, 16), &key.id.hi) || !ParseHex(name.substr(16, 16), &key.id.lo) ||
      !ParseHex(name.substr(33, 16), &key.version) || !ParseHex(name.substr(50, 16), &key.origin))
    return std::nullopt;
  return key;
}

void EncodeHeader(const ObjectHeader& header, std::span<std::byte> to) {
  std::memset(to.data(), 0, kMetaHeaderBytes);
  DiskHeader disk{};
  disk.magic = kMagic;
  disk.format = kFormat;
  disk.key_lo = header.key.id.lo;
  disk.key_hi = header.key.id.hi;
  disk.version = header.key.version;
  disk.origin = header.key.origin;
  disk.size = header.size;
  disk.mtime_ns = header.mtime_ns;
  disk.range_bytes = PST_RANGE_BYTES;
  disk.name_bytes = static_cast<std::uint32_t>(header.name.size());
  std::memcpy(to.data() + sizeof disk, header.name.data(), header.name.size());
  std::memcpy(to.data(), &disk, sizeof disk);
  disk.crc = Crc32c(to.first(kMetaHeaderBytes));
  std::memcpy(to.data(), &disk, sizeof disk);
}

std::optional<ObjectHeader> DecodeHeader(std::span<const std::byte> from) {
  if (from.size() < kMetaHeaderBytes) return std::nullopt;
  DiskHeader disk;
  std::memcpy(&disk, from.data(), sizeof disk);
  if (disk.magic != kMagic || disk.format != kFormat || disk.range_bytes != PST_RANGE_BYTES ||
      disk.name_bytes >= PST_PATH_MAX || disk.size > PST_MAX_FILE_BYTES)
    return std::nullopt;
  ObjectHeader header;
  header.key = {{disk.key_lo, disk.key_hi}, disk.version, disk.origin};
  header.size = disk.size;
  header.mtime_ns = disk.mtime_ns;
  header.name.assign(reinterpret_cast<const char*>(from.data()) + sizeof disk, disk.name_bytes);
  std::byte again[kMetaHeaderBytes];
  EncodeHeader(header, again);
  if (std::memcmp(again, from.data(), kMetaHeaderBytes) != 0) return std::nullopt;
  return header;
}

void EncodeRecord(const ObjectKey& key, std::uint64_t range, std::uint32_t crc, std::byte* to) {
  const DiskRecord record{crc, MarkOf(key, range, crc)};
  std::memcpy(to, &record, sizeof record);
}

std::optional<std::uint32_t> DecodeRecord(const ObjectKey& key, std::uint64_t range,
                                          const std::byte* from) {
  DiskRecord record;
  std::memcpy(&record, from, sizeof record);
  if (record.mark == 0 || record.mark != MarkOf(key, range, record.crc)) return std::nullopt;
  return record.crc;
}

}  // namespace penstock::cache
