// What earlier starts left: sealed regions by their footers, others item by item. Nothing here
// reads the bytes of items: they are checked when they are read.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "cache/nvme/region_store.h"
#include "transport/base/log.h"
#include "transport/base/thread.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kTailBytes = 64u << 10;  // holds the footer of a region of 64 KiB ranges

}  // namespace

struct RegionStore::Load {
  std::size_t device = 0;
  BlockFile file;
  RegionHeader header;
  std::uint64_t bytes = 0;  // of the file, as it is left
  std::vector<FooterRecord> records;
  bool good = false;
  bool corrupt = false;
  bool unreadable = false;
};

void RegionStore::LoadAll() {
  std::vector<Load> loads;
  for (std::size_t device = 0; device < devices_.size(); ++device) {
    for (const BlockFile& file : devices_[device].disk->List()) {
      Load load;
      load.device = device;
      load.file = file;
      loads.push_back(std::move(load));
    }
  }
  std::sort(loads.begin(), loads.end(),
            [](const Load& a, const Load& b) { return a.file.number < b.file.number; });
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < loads.size(); i = next++) LoadOne(&loads[i]);
  };
  std::vector<std::thread> threads;
  const std::size_t wanted = std::min<std::size_t>(config_.load_threads, loads.size());
  for (std::size_t i = 1; i < wanted; ++i) threads.push_back(StartThread("nvme-load", work));
  work();
  for (std::thread& thread : threads) thread.join();
  std::size_t total = 0;
  for (const Load& load : loads) total += load.records.size();
  index_.Reserve(total);
  for (const Load& load : loads) Adopt(load);
  // A limit that was lowered.
  while (bytes_ > config_.max_bytes || files_ > config_.max_files || ranges_ > config_.max_ranges) {
    if (!DropOldest()) break;
  }
  if (!loads.empty())
    log::Info("the cache folder holds {} ranges in {} regions, {} MiB", ranges_, files_,
              bytes_ >> 20);
}

void RegionStore::LoadOne(Load* load) {
  BlockDevice* disk = devices_[load->device].disk.get();
  const std::uint64_t bytes = load->file.bytes / kBlockBytes * kBlockBytes;
  if (bytes < kRegionHeaderBytes) return;  // it never came to a write
  if (bytes > kMaxRegionBytes) {
    load->corrupt = true;
    return;
  }
  load->bytes = bytes;
  BlockBuffer head(kRegionHeaderBytes);
  if (disk->ReadNow(load->file.number, 0, head.span()) != 0) {
    load->unreadable = true;
    return;
  }
  const auto header = DecodeRegionHeader(head.span());
  if (!header) {
    load->corrupt = true;
    return;
  }
  load->header = *header;
  BlockBuffer tail(std::min<std::uint64_t>(bytes, kTailBytes));
  if (disk->ReadNow(load->file.number, bytes - tail.size(), tail.span()) == 0) {
    const auto count = DecodeTrailer(header->id, tail.span().last(kBlockBytes));
    const std::uint64_t footer_bytes = count ? FooterBytes(*count) : 0;
    if (count && footer_bytes > tail.size() && footer_bytes <= bytes) {
      tail = BlockBuffer(footer_bytes);
      if (disk->ReadNow(load->file.number, bytes - footer_bytes, tail.span()) != 0)
        tail = BlockBuffer(kBlockBytes);
    }
    if (count && footer_bytes <= tail.size()) {
      auto records = DecodeFooter(header->id, static_cast<std::uint32_t>(bytes),
                                  tail.span().last(footer_bytes));
      if (records) {
        load->records = *std::move(records);
        load->good = true;
        return;
      }
    }
    if (count) load->corrupt = true;  // a footer that does not hold; the items may
  }
  BlockBuffer all(bytes);
  if (disk->ReadNow(load->file.number, 0, all.span()) != 0) {
    load->unreadable = true;
    return;
  }
  load->records = WalkItems(header->id, all.span());
  if (load->records.empty()) return;
  load->good = true;
  const FooterRecord& last = load->records.back();
  Seal(load, AlignTo(last.place + ItemBytes(last.length), kBlockBytes));
}

// Gives it the footer that it lacks, where the disk lets us.
void RegionStore::Seal(Load* load, std::uint32_t end) {
  BlockBuffer footer(FooterBytes(static_cast<std::uint32_t>(load->records.size())));
  if (end + footer.size() > kMaxRegionBytes) return;
  EncodeFooter(load->header.id, load->records, footer.span());
  BlockDevice* disk = devices_[load->device].disk.get();
  if (disk->WriteNow(load->file.number, end, footer.span()) != 0) return;
  load->bytes = end + footer.size();
  disk->Trim(load->file.number, load->bytes);
}

void RegionStore::Adopt(const Load& load) {
  if (load.corrupt) ++stats_.corrupt;
  if (load.unreadable) ++stats_.io_errors;
  if (!load.good || regions_.size() >= PlaceIndex::kMaxRegions) {
    // Nothing of it can be believed; or it never held anything.
    devices_[load.device].disk->Remove(load.file.number);
    next_file_ = std::max(next_file_, load.file.number + 1);
    return;
  }
  Region* region =
      AddRegion(load.device, load.file.number, load.header.id, load.header.data_class, load.bytes);
  region->sealed = region->adopted = true;
  for (const FooterRecord& record : load.records) {
    if (const auto old = index_.Find(record.fingerprint)) Lose(record.fingerprint, *old);
    index_.Put(record.fingerprint, {region->number, record.place, record.length});
    ++ranges_;
    ++region->items;
  }
}

}  // namespace penstock::cache
