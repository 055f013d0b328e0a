#include "cache/nvme/region_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "cache/nvme/region_format.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

struct Items {
  std::vector<FooterRecord> records;
  bool sealed = false;
};

// By the footer, else one by one.
Items ItemsOf(std::uint64_t region, std::span<const std::byte> file) {
  const auto count = DecodeTrailer(region, file.last(kBlockBytes));
  if (count && FooterBytes(*count) <= file.size()) {
    auto records = DecodeFooter(region, static_cast<std::uint32_t>(file.size()),
                                file.last(FooterBytes(*count)));
    if (records) return {*std::move(records), true};
  }
  return {WalkItems(region, file), false};
}

void CheckItems(std::uint64_t number, std::uint64_t region, std::span<const std::byte> file,
                const Items& items, RegionCheck* check,
                const std::function<void(const std::string&)>& complain) {
  for (const FooterRecord& record : items.records) {
    const auto item = DecodeItemHeader(region, record.place, file.data() + record.place);
    const auto bytes = file.subspan(record.place + kItemHeaderBytes, record.length);
    if (item && item->length == record.length && Crc32c(bytes) == item->crc) {
      ++check->ranges;
      check->bytes += record.length;
      continue;
    }
    ++check->bad_ranges;
    complain(fmt::format("region {:016x}: the range at {} does not match its checksum", number,
                         record.place));
  }
}

}  // namespace

RegionCheck CheckRegions(BlockDevice* disk,
                         const std::function<void(const std::string& line)>& complain) {
  RegionCheck check;
  auto files = disk->List();
  std::sort(files.begin(), files.end(),
            [](const BlockFile& a, const BlockFile& b) { return a.number < b.number; });
  for (const BlockFile& file : files) {
    const std::uint64_t bytes = file.bytes / kBlockBytes * kBlockBytes;
    if (bytes < kRegionHeaderBytes) continue;  // it never came to a write
    ++check.regions;
    const auto bad = [&](const std::string& why) {
      ++check.bad_regions;
      complain(fmt::format("region {:016x}: {}", file.number, why));
    };
    if (bytes > kMaxRegionBytes) {
      bad("larger than a region can be");
      continue;
    }
    BlockBuffer all(bytes);
    if (const int err = disk->ReadNow(file.number, 0, all.span()); err != 0) {
      bad(std::strerror(err));
      continue;
    }
    const auto header = DecodeRegionHeader(all.span());
    if (!header) {
      bad("its header does not verify");
      continue;
    }
    const Items items = ItemsOf(header->id, all.span());
    if (!items.sealed) ++check.unsealed;
    CheckItems(file.number, header->id, all.span(), items, &check, complain);
  }
  return check;
}

}  // namespace penstock::cache
