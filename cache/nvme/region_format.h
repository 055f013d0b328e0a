// A region file, byte by byte (docs/nvme-format.md): a header block, items, and a footer once it is
// full. Pure functions over memory; nothing read is believed before it has verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cache/object/object_meta.h"
#include "shim/abi/abi.h"

namespace penstock::cache {

// One range of one version of a file.
struct RangeName {
  ObjectKey object;
  std::uint32_t range = 0;
  friend bool operator==(const RangeName&, const RangeName&) = default;
};
// What the index and the footers know a range by. Never 0.
std::uint64_t FingerprintOf(const RangeName& name);

inline constexpr std::uint32_t kBlockBytes = 4096;  // what a disk is written in
inline constexpr std::uint32_t kItemAlign = 64;
inline constexpr std::uint32_t kItemHeaderBytes = 64;
inline constexpr std::uint32_t kRegionHeaderBytes = kBlockBytes;
inline constexpr std::uint32_t kFooterRecordBytes = 16;
inline constexpr std::uint32_t kTrailerBytes = 64;
inline constexpr std::uint32_t kMaxRegionBytes = 64u << 20;

constexpr std::uint32_t AlignTo(std::uint32_t value, std::uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}
// Header and bytes of an item.
constexpr std::uint32_t ItemBytes(std::uint32_t length) {
  return AlignTo(kItemHeaderBytes + length, kItemAlign);
}
constexpr std::uint32_t FooterBytes(std::uint32_t items) {
  return AlignTo(items * kFooterRecordBytes + kTrailerBytes, kBlockBytes);
}

enum class RegionClass : std::uint8_t { kDataset = 0, kGeneral = 1 };
inline constexpr std::size_t kRegionClasses = 2;

struct RegionHeader {
  std::uint64_t id = 0;  // random: blocks of another file do not pass for this one's
  RegionClass data_class = RegionClass::kDataset;
};
// `to` has kRegionHeaderBytes.
void EncodeRegionHeader(const RegionHeader& header, std::span<std::byte> to);
std::optional<RegionHeader> DecodeRegionHeader(std::span<const std::byte> from);

struct ItemHeader {
  RangeName name;
  std::uint32_t length = 0;  // 1 to PST_RANGE_BYTES
  std::uint32_t crc = 0;     // CRC32C of the bytes
};
// `place` is where the item begins in the region, a multiple of kItemAlign.
void EncodeItemHeader(std::uint64_t region, std::uint32_t place, const ItemHeader& header,
                      std::byte* to);
// Nothing unless it is an item of this region at this place. `from` has kItemHeaderBytes.
std::optional<ItemHeader> DecodeItemHeader(std::uint64_t region, std::uint32_t place,
                                           const std::byte* from);

struct FooterRecord {
  std::uint64_t fingerprint = 0;
  std::uint32_t place = 0;
  std::uint32_t length = 0;
};
// FooterBytes(records.size()) bytes that end the file.
void EncodeFooter(std::uint64_t region, std::span<const FooterRecord> records,
                  std::span<std::byte> to);
// How many records the footer of `region` has, as the file's last block says; nothing if it is
// none.
std::optional<std::uint32_t> DecodeTrailer(std::uint64_t region,
                                           std::span<const std::byte> last_block);
// `footer` is all of it. Nothing unless every record lies before it and the checksum holds.
std::optional<std::vector<FooterRecord>> DecodeFooter(std::uint64_t region,
                                                      std::uint32_t file_bytes,
                                                      std::span<const std::byte> footer);

// The items of a region without a footer, by their own headers. Their bytes are not looked at.
std::vector<FooterRecord> WalkItems(std::uint64_t region, std::span<const std::byte> file);

}  // namespace penstock::cache
