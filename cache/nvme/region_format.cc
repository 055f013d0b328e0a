#include "cache/nvme/region_format.h"

#include <bit>
#include <cstring>

#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

static_assert(std::endian::native == std::endian::little, "regions are little-endian");

constexpr std::uint64_t kRegionMagic = 0x3147455254534550ull;  // "PESTREG1"
constexpr std::uint64_t kFooterMagic = 0x31544f4654534550ull;  // "PESTFOT1"
constexpr std::uint32_t kItemMagic = 0x4d544950u;              // "PITM"
constexpr std::uint32_t kFormat = 1;

struct DiskRegionHeader {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint32_t crc;  // of the whole block with this field 0
  std::uint64_t id;
  std::uint32_t data_class;
  std::uint32_t range_bytes;
  std::uint32_t item_align;
  std::uint32_t reserved;
};
static_assert(sizeof(DiskRegionHeader) == 40);

struct DiskItem {
  std::uint32_t magic;
  std::uint32_t crc;  // of these 64 bytes with this field 0, the region's id appended
  std::uint64_t key_lo;
  std::uint64_t key_hi;
  std::uint64_t version;
  std::uint64_t origin;
  std::uint32_t range;
  std::uint32_t length;
  std::uint32_t data_crc;
  std::uint32_t place;
  std::uint64_t reserved;
};
static_assert(sizeof(DiskItem) == kItemHeaderBytes);

struct DiskTrailer {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint32_t crc;  // of the whole footer with this field 0
  std::uint64_t id;
  std::uint32_t records;
  std::uint32_t reserved[9];
};
static_assert(sizeof(DiskTrailer) == kTrailerBytes);
static_assert(sizeof(FooterRecord) == kFooterRecordBytes);

std::uint32_t ItemCrc(DiskItem item, std::uint64_t region) {
  item.crc = 0;
  const std::uint32_t crc = Crc32c(std::as_bytes(std::span(&item, 1)));
  return Crc32c(std::as_bytes(std::span(&region, 1)), crc);
}

// With the four bytes at `hole` as zeros.
std::uint32_t CrcWithHole(std::span<const std::byte> bytes, std::size_t hole) {
  constexpr std::byte kZeros[4] = {};
  const std::uint32_t before = Crc32c(bytes.first(hole));
  return Crc32c(bytes.subspan(hole + 4), Crc32c(kZeros, before));
}

std::size_t TrailerCrcAt(std::size_t footer_bytes) {
  return footer_bytes - kTrailerBytes + offsetof(DiskTrailer, crc);
}

}  // namespace

std::uint64_t FingerprintOf(const RangeName& name) {
  const std::uint64_t mixed =
      pst_mix64(name.object.id.lo ^ pst_mix64(name.object.id.hi + name.range) ^
                pst_mix64(name.object.version ^ pst_mix64(name.object.origin)));
  return mixed == 0 ? 1 : mixed;
}

void EncodeRegionHeader(const RegionHeader& header, std::span<std::byte> to) {
  std::memset(to.data(), 0, kRegionHeaderBytes);
  DiskRegionHeader disk{};
  disk.magic = kRegionMagic;
  disk.format = kFormat;
  disk.id = header.id;
  disk.data_class = static_cast<std::uint32_t>(header.data_class);
  disk.range_bytes = PST_RANGE_BYTES;
  disk.item_align = kItemAlign;
  std::memcpy(to.data(), &disk, sizeof disk);
  disk.crc = Crc32c(to.first(kRegionHeaderBytes));
  std::memcpy(to.data(), &disk, sizeof disk);
}

std::optional<RegionHeader> DecodeRegionHeader(std::span<const std::byte> from) {
  if (from.size() < kRegionHeaderBytes) return std::nullopt;
  from = from.first(kRegionHeaderBytes);
  DiskRegionHeader disk;
  std::memcpy(&disk, from.data(), sizeof disk);
  if (disk.magic != kRegionMagic || disk.format != kFormat || disk.range_bytes != PST_RANGE_BYTES ||
      disk.item_align != kItemAlign || disk.data_class >= kRegionClasses ||
      disk.crc != CrcWithHole(from, offsetof(DiskRegionHeader, crc)))
    return std::nullopt;
  return RegionHeader{disk.id, static_cast<RegionClass>(disk.data_class)};
}

void EncodeItemHeader(std::uint64_t region, std::uint32_t place, const ItemHeader& header,
                      std::byte* to) {
  DiskItem disk{};
  disk.magic = kItemMagic;
  disk.key_lo = header.name.object.id.lo;
  disk.key_hi = header.name.object.id.hi;
  disk.version = header.name.object.version;
  disk.origin = header.name.object.origin;
  disk.range = header.name.range;
  disk.length = header.length;
  disk.data_crc = header.crc;
  disk.place = place;
  disk.crc = ItemCrc(disk, region);
  std::memcpy(to, &disk, sizeof disk);
}

std::optional<ItemHeader> DecodeItemHeader(std::uint64_t region, std::uint32_t place,
                                           const std::byte* from) {
  DiskItem disk;
  std::memcpy(&disk, from, sizeof disk);
  if (disk.magic != kItemMagic || disk.place != place || disk.length == 0 ||
      disk.length > PST_RANGE_BYTES || disk.crc != ItemCrc(disk, region))
    return std::nullopt;
  ItemHeader header;
  header.name.object = {{disk.key_lo, disk.key_hi}, disk.version, disk.origin};
  header.name.range = disk.range;
  header.length = disk.length;
  header.crc = disk.data_crc;
  return header;
}

void EncodeFooter(std::uint64_t region, std::span<const FooterRecord> records,
                  std::span<std::byte> to) {
  std::memset(to.data(), 0, to.size());
  if (!records.empty()) std::memcpy(to.data(), records.data(), records.size_bytes());
  DiskTrailer disk{};
  disk.magic = kFooterMagic;
  disk.format = kFormat;
  disk.id = region;
  disk.records = static_cast<std::uint32_t>(records.size());
  std::byte* at = to.data() + to.size() - kTrailerBytes;
  std::memcpy(at, &disk, sizeof disk);
  disk.crc = Crc32c(to);
  std::memcpy(at, &disk, sizeof disk);
}

std::optional<std::uint32_t> DecodeTrailer(std::uint64_t region,
                                           std::span<const std::byte> last_block) {
  if (last_block.size() < kTrailerBytes) return std::nullopt;
  DiskTrailer disk;
  std::memcpy(&disk, last_block.data() + last_block.size() - kTrailerBytes, sizeof disk);
  if (disk.magic != kFooterMagic || disk.format != kFormat || disk.id != region ||
      disk.records > kMaxRegionBytes / kItemAlign)
    return std::nullopt;
  return disk.records;
}

std::optional<std::vector<FooterRecord>> DecodeFooter(std::uint64_t region,
                                                      std::uint32_t file_bytes,
                                                      std::span<const std::byte> footer) {
  const auto count = DecodeTrailer(region, footer);
  if (!count || footer.size() != FooterBytes(*count) || footer.size() > file_bytes)
    return std::nullopt;
  DiskTrailer disk;
  std::memcpy(&disk, footer.data() + footer.size() - kTrailerBytes, sizeof disk);
  if (disk.crc != CrcWithHole(footer, TrailerCrcAt(footer.size()))) return std::nullopt;
  std::vector<FooterRecord> records(*count);
  if (*count != 0) std::memcpy(records.data(), footer.data(), *count * sizeof(FooterRecord));
  const std::uint64_t end = file_bytes - footer.size();
  for (const FooterRecord& record : records) {
    if (record.fingerprint == 0 || record.place % kItemAlign != 0 ||
        record.place < kRegionHeaderBytes || record.length == 0 ||
        record.length > PST_RANGE_BYTES ||
        std::uint64_t{record.place} + ItemBytes(record.length) > end)
      return std::nullopt;
  }
  return records;
}

std::vector<FooterRecord> WalkItems(std::uint64_t region, std::span<const std::byte> file) {
  std::vector<FooterRecord> records;
  const auto size = static_cast<std::uint32_t>(file.size());
  std::uint32_t at = kRegionHeaderBytes;
  while (size >= kItemHeaderBytes && at <= size - kItemHeaderBytes) {
    const auto item = DecodeItemHeader(region, at, file.data() + at);
    if (!item) {
      at = AlignTo(at + 1,
                   kBlockBytes);  // a write begins at a block: the next one may have succeeded
      continue;
    }
    if (ItemBytes(item->length) > size - at) break;
    records.push_back({FingerprintOf(item->name), at, item->length});
    at += ItemBytes(item->length);
  }
  return records;
}

}  // namespace penstock::cache
