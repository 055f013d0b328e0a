// How regions are written: items into batches, batches to the device, a footer when it is full.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/nvme/region_store.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kFlushDelayNs = 100'000'000;
constexpr std::int64_t kPauseNs = 5'000'000'000;  // of a device that failed
constexpr std::int64_t kLogEveryNs = 60'000'000'000;

}  // namespace

bool RegionStore::Fits(const Region& region, std::uint32_t bytes) const {
  const std::uint64_t fill =
      region.batch ? AlignTo(region.batch->fill + bytes, kBlockBytes)
                   : AlignTo(bytes + (region.fill == 0 ? kRegionHeaderBytes : 0u), kBlockBytes);
  return region.fill + fill + FooterBytes(region.planned + 1) <= config_.region_bytes;
}

bool RegionStore::Append(const RangeName& name, std::span<const std::byte> bytes, std::uint32_t crc,
                         RegionClass data_class) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  const std::uint32_t need = ItemBytes(length);
  Region* region = nullptr;
  for (std::size_t tries = 0; tries < 2 * devices_.size() + 2; ++tries) {
    region = current_[static_cast<std::size_t>(data_class)];
    if (region == nullptr) region = NextRegion(data_class);
    if (region == nullptr) return false;
    if (!Fits(*region, need)) {
      Close(region);
    } else if (region->batch && region->batch->fill + need > kBatchBytes) {
      FlushRegion(region);
    } else if (region->batch || OpenBatch(region)) {
      break;
    } else {
      return false;  // the disk has enough to do
    }
    region = nullptr;
  }
  if (region == nullptr) return false;
  Batch& batch = *region->batch;
  std::byte* at = batch.buffer.data() + batch.fill;
  const std::uint32_t place = region->fill + batch.fill;
  EncodeItemHeader(region->id, place, {name, length, crc}, at);
  std::memcpy(at + kItemHeaderBytes, bytes.data(), length);
  std::memset(at + kItemHeaderBytes + length, 0, need - kItemHeaderBytes - length);
  batch.fill += need;
  batch.items.push_back({FingerprintOf(name), place, length});
  ++region->planned;
  if (flush_timer_ == 0) {
    flush_timer_ = loop_->After(kFlushDelayNs, [this] {
      flush_timer_ = 0;
      Flush();
    });
  }
  return true;
}

// Batches go to the devices in turns.
RegionStore::Region* RegionStore::NextRegion(RegionClass data_class) {
  const auto which = static_cast<std::size_t>(data_class);
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    const std::size_t device = turn_[which]++ % devices_.size();
    Region* region = devices_[device].open[which];
    if (region == nullptr) region = OpenRegion(device, data_class);
    if (region != nullptr) return current_[which] = region;
  }
  return nullptr;
}

RegionStore::Region* RegionStore::OpenRegion(std::size_t device, RegionClass data_class) {
  Device& on = devices_[device];
  const std::int64_t now_ns = MonotonicNs();
  const auto which = static_cast<std::size_t>(data_class);
  if (now_ns < on.paused_until_ns || refused_bytes_ < on.look_again_bytes[which]) return nullptr;
  if (regions_.size() >= PlaceIndex::kMaxRegions) return nullptr;
  if (!MakeRoom(device, data_class)) {
    on.look_again_bytes[which] = refused_bytes_ + config_.region_bytes / 4;
    return nullptr;
  }
  const std::uint64_t file = next_file_++;
  if (const auto made = on.disk->Create(file, config_.region_bytes); !made) {
    Trouble(device, ErrnoOf(made.error()), "making a region");
    return nullptr;
  }
  Region* region = AddRegion(device, file, random_.Next(), data_class, config_.region_bytes);
  return on.open[which] = region;
}

bool RegionStore::OpenBatch(Region* region) {
  if (pending_bytes_ + kBatchBytes > config_.write_behind_bytes) return false;
  pending_bytes_ += kBatchBytes;
  auto batch = std::make_unique<Batch>();
  batch->buffer = BlockBuffer(kBatchBytes);
  if (region->fill == 0) {
    EncodeRegionHeader({region->id, region->data_class}, batch->buffer.span());
    batch->fill = kRegionHeaderBytes;
  }
  region->batch = std::move(batch);
  return true;
}

void RegionStore::Flush() {
  for (Device& device : devices_) {
    for (Region* region : device.open) {
      if (region != nullptr && region->batch) FlushRegion(region);
    }
  }
}

void RegionStore::FlushRegion(Region* region) {
  const std::unique_ptr<Batch> batch = std::move(region->batch);
  Region*& current = current_[static_cast<std::size_t>(region->data_class)];
  if (current == region) current = nullptr;  // the next batch is another device's
  auto op = std::make_unique<BlockOp>();
  op->file = region->file;
  op->offset = region->fill;
  op->length = AlignTo(batch->fill, kBlockBytes);
  op->write = true;
  std::memset(batch->buffer.data() + batch->fill, 0, op->length - batch->fill);
  op->buffer = std::move(batch->buffer);
  op->done = [this, number = region->number, items = std::move(batch->items)](
                 BlockOp* done) mutable { OnWritten(number, std::move(items), done->err); };
  region->fill += op->length;
  ++region->writes;
  devices_[region->device].disk->Start(std::move(op));
}

// A region with writes under way is never dropped, so it is there.
void RegionStore::OnWritten(std::uint32_t number, std::vector<FooterRecord> items, int err) {
  Region* region = RegionAt(number);
  pending_bytes_ -= kBatchBytes;
  --region->writes;
  if (err != 0) {
    ++stats_.io_errors;
    stats_.refused += items.size();
    Trouble(region->device, err, "writing a region");
    region->planned -= static_cast<std::uint32_t>(items.size());
    if (!region->closing) return Close(region);
  } else {
    for (const FooterRecord& item : items) {
      if (const auto old = index_.Find(item.fingerprint)) Lose(item.fingerprint, *old);
      index_.Put(item.fingerprint, {number, item.place, item.length});
      ++ranges_;
      ++region->items;
    }
    stats_.written += items.size();
    region->records.insert(region->records.end(), items.begin(), items.end());
  }
  if (region->closing && region->writes == 0) WriteFooter(region);
}

void RegionStore::Close(Region* region) {
  const auto which = static_cast<std::size_t>(region->data_class);
  if (region->batch) FlushRegion(region);
  if (current_[which] == region) current_[which] = nullptr;
  if (devices_[region->device].open[which] == region)
    devices_[region->device].open[which] = nullptr;
  region->closing = true;
  if (region->writes == 0) WriteFooter(region);
}

void RegionStore::WriteFooter(Region* region) {
  if (region->records.empty()) {
    region->items = 0;
    return Drop(region);
  }
  auto op = std::make_unique<BlockOp>();
  const auto footer_bytes = FooterBytes(static_cast<std::uint32_t>(region->records.size()));
  op->file = region->file;
  op->offset = region->fill;
  op->length = footer_bytes;
  op->write = true;
  op->buffer = BlockBuffer(footer_bytes);
  EncodeFooter(region->id, region->records, op->buffer.span());
  op->done = [this, number = region->number, footer_bytes](BlockOp* done) {
    OnFooter(number, footer_bytes, done->err);
  };
  ++region->writes;
  devices_[region->device].disk->Start(std::move(op));
}

// Without its footer a region is walked item by item at the next start: slower, not wrong.
void RegionStore::OnFooter(std::uint32_t number, std::uint32_t footer_bytes, int err) {
  Region* region = RegionAt(number);
  --region->writes;
  if (err != 0) {
    ++stats_.io_errors;
    Trouble(region->device, err, "writing a region's footer");
  }
  const std::uint64_t bytes = region->fill + (err == 0 ? footer_bytes : 0);
  devices_[region->device].disk->Trim(region->file, bytes);
  bytes_ -= region->bytes - bytes;
  bytes_of_[static_cast<std::size_t>(region->data_class)] -= region->bytes - bytes;
  region->bytes = bytes;
  region->sealed = true;
  region->records = {};
}

void RegionStore::Trouble(std::size_t device, int err, const char* doing) {
  Device& on = devices_[device];
  const std::int64_t now_ns = MonotonicNs();
  on.paused_until_ns = now_ns + kPauseNs;
  if (now_ns < on.next_log_ns) return;
  on.next_log_ns = now_ns + kLogEveryNs;
  log::Warning("cache folder {}: {}: {}; what it would have held is read from the origin",
               on.disk->Describe(), doing, std::strerror(err));
}

// The end: batches are written here and now. Where others are under way the footer is left to the
// next start.
void RegionStore::CloseAll() {
  for (Device& device : devices_) {
    for (Region* region : device.open) {
      if (region == nullptr) continue;
      if (region->batch && MonotonicNs() >= device.paused_until_ns) {
        Batch& batch = *region->batch;
        const std::uint32_t length = AlignTo(batch.fill, kBlockBytes);
        std::memset(batch.buffer.data() + batch.fill, 0, length - batch.fill);
        if (device.disk->WriteNow(region->file, region->fill, batch.buffer.span().first(length)) !=
            0)
          continue;
        region->fill += length;
        region->records.insert(region->records.end(), batch.items.begin(), batch.items.end());
      }
      if (region->writes != 0) continue;
      if (region->records.empty()) {
        device.disk->Remove(region->file);
        continue;
      }
      BlockBuffer footer(FooterBytes(static_cast<std::uint32_t>(region->records.size())));
      EncodeFooter(region->id, region->records, footer.span());
      if (device.disk->WriteNow(region->file, region->fill, footer.span()) == 0)
        device.disk->Trim(region->file, region->fill + footer.size());
    }
  }
}

}  // namespace penstock::cache
