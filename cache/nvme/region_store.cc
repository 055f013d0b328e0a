#include "cache/nvme/region_store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/crc32c.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kLeastRegionBytes = 4u << 20;
constexpr std::uint32_t kMaxPieceBytes = 4u << 20;
constexpr std::size_t kMaxAbandoned = 64;  // then the disks do not answer, and nothing more is asked

std::uint32_t RegionBytesFor(std::uint64_t max_bytes) {
  const std::uint64_t part = max_bytes / 16 >> 20 << 20;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(part, kLeastRegionBytes, kMaxRegionBytes));
}

}  // namespace

// A read in progress: shared by its pieces, which may end after it was cancelled.
struct RegionStore::Reading {
  NvmeRead* read = nullptr;  // null: cancelled
  std::vector<std::uint64_t> fingerprints;
  std::vector<Place> places;
  std::size_t pieces = 0;  // under way
};

RegionStore::RegionStore(Loop* loop, std::vector<std::unique_ptr<BlockDevice>> devices,
                         RegionStoreConfig config)
    : loop_(loop),
      config_(std::move(config)),
      index_([this](std::uint32_t region) { return RegionAt(region) != nullptr; }),
      random_(Random::FromEnvironment()) {
  if (config_.region_bytes == 0) config_.region_bytes = RegionBytesFor(config_.max_bytes);
  for (auto& disk : devices) devices_.push_back({std::move(disk), {}, {}, 0, 0});
}

std::unique_ptr<RegionStore> RegionStore::Open(Loop* loop,
                                               std::vector<std::unique_ptr<BlockDevice>> devices,
                                               RegionStoreConfig config) {
  std::unique_ptr<RegionStore> store(new RegionStore(loop, std::move(devices), std::move(config)));
  store->LoadAll();
  return store;
}

RegionStore::~RegionStore() {
  alive_.reset();
  if (flush_timer_ != 0) loop_->CancelTimer(flush_timer_);
  CloseAll();
  devices_.clear();  // no completion comes any more
}

bool RegionStore::Has(const RangeName& name) const {
  return index_.Find(FingerprintOf(name)).has_value();
}

NvmeStats RegionStore::Stats() const {
  NvmeStats stats = stats_;
  stats.bytes = bytes_;
  stats.files = files_;
  stats.ranges = ranges_;
  return stats;
}

RegionStore::Region* RegionStore::AddRegion(std::size_t device, std::uint64_t file,
                                            std::uint64_t id, RegionClass data_class,
                                            std::uint64_t bytes) {
  auto region = std::make_unique<Region>();
  Region* raw = region.get();
  raw->number = static_cast<std::uint32_t>(regions_.size());
  raw->device = device;
  raw->file = file;
  raw->id = id;
  raw->data_class = data_class;
  raw->bytes = bytes;
  auto& ages = by_age_[static_cast<std::size_t>(data_class)];
  raw->age = ages.insert(ages.end(), raw);
  regions_.push_back(std::move(region));
  next_file_ = std::max(next_file_, file + 1);
  bytes_ += bytes;
  bytes_of_[static_cast<std::size_t>(data_class)] += bytes;
  ++files_;
  return raw;
}

// ---- Reading ----

void RegionStore::StartRead(NvmeRead* read) {
  auto reading = std::make_shared<Reading>();
  reading->read = read;
  read->err = abandoned_ < kMaxAbandoned ? 0 : EIO;
  read->crcs.assign(read->to.size(), 0);
  readings_[read] = reading;
  for (std::size_t i = 0; i < read->to.size() && read->err == 0; ++i) {
    const RangeName name{read->object, read->first + static_cast<std::uint32_t>(i)};
    reading->fingerprints.push_back(FingerprintOf(name));
    const auto place = index_.Find(reading->fingerprints.back());
    if (!place || place->length != read->to[i].size()) {
      read->err = ENOENT;
      break;
    }
    reading->places.push_back(*place);
  }
  reading->pieces = 1;  // this function's own
  if (read->err == 0) {
    for (std::size_t first = 0; first < reading->places.size();) {
      const Place& begin = reading->places[first];
      std::uint32_t bytes = ItemBytes(begin.length);
      std::size_t count = 1;
      for (; first + count < reading->places.size(); ++count) {
        const Place& next = reading->places[first + count];
        if (next.region != begin.region || next.at != begin.at + bytes || bytes > kMaxPieceBytes)
          break;
        bytes += ItemBytes(next.length);
      }
      StartPiece(reading, first, count);
      first += count;
    }
  }
  if (--reading->pieces > 0) return;
  loop_->Post([this, reading, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) FinishRead(reading);
  });
}

void RegionStore::StartPiece(const std::shared_ptr<Reading>& reading, std::size_t first,
                             std::size_t count) {
  const Place& begin = reading->places[first];
  const Place& last = reading->places[first + count - 1];
  Region* region = RegionAt(begin.region);
  region->touched = true;
  const std::uint64_t from = begin.at / kBlockBytes * kBlockBytes;
  const std::uint32_t bytes =
      AlignTo(last.at + ItemBytes(last.length), kBlockBytes) - static_cast<std::uint32_t>(from);
  auto op = std::make_unique<BlockOp>();
  op->file = region->file;
  op->offset = from;
  op->length = bytes;
  op->buffer = BlockBuffer(bytes);
  op->done = [this, reading, first, count, from](BlockOp* done) {
    if (reading->read == nullptr) --abandoned_;
    PieceDone(reading.get(), first, count, RegionAt(reading->places[first].region), from, *done);
    if (--reading->pieces == 0) FinishRead(reading);
  };
  ++reading->pieces;
  devices_[region->device].disk->Start(std::move(op));
}

// `region` is null if it was given up meanwhile: its ranges count all the same, but can't be
// checked.
void RegionStore::PieceDone(Reading* reading, std::size_t first, std::size_t count, Region* region,
                            std::uint64_t from, const BlockOp& op) {
  NvmeRead* read = reading->read;
  if (read == nullptr) return;
  if (op.err != 0 || region == nullptr) read->err = EIO;
  if (op.err != 0) {
    ++stats_.io_errors;
    if (region != nullptr) Trouble(region->device, op.err, "reading a region");
  }
  if (region == nullptr) return;
  for (std::size_t i = first; i < first + count; ++i) {
    const Place& place = reading->places[i];
    if (op.err != 0) {
      Lose(reading->fingerprints[i], place);  // it comes from elsewhere, and is kept elsewhere
      continue;
    }
    const std::byte* item = op.buffer.data() + (place.at - from);
    const auto header = DecodeItemHeader(region->id, place.at, item);
    const RangeName name{read->object, read->first + static_cast<std::uint32_t>(i)};
    if (header && !(header->name == name)) {  // another name with this fingerprint
      read->err = ENOENT;
      continue;
    }
    const std::span<const std::byte> bytes(item + kItemHeaderBytes, place.length);
    if (!header || header->length != place.length || Crc32c(bytes) != header->crc) {
      ++stats_.corrupt;
      log::Warning("dropped a range of {}: its bytes do not match their checksum",
                   devices_[region->device].disk->Describe());
      Lose(reading->fingerprints[i], place);
      read->err = EIO;
      continue;
    }
    std::memcpy(read->to[i].data(), bytes.data(), bytes.size());
    read->crcs[i] = header->crc;
    ++stats_.hits;
  }
}

void RegionStore::FinishRead(const std::shared_ptr<Reading>& reading) {
  NvmeRead* read = std::exchange(reading->read, nullptr);
  if (read == nullptr) return;
  readings_.erase(read);
  read->done(read);
}

void RegionStore::Cancel(NvmeRead* read) {
  const auto found = readings_.find(read);
  if (found == readings_.end()) return;
  found->second->read = nullptr;
  abandoned_ += found->second->pieces;
  readings_.erase(found);
}

void RegionStore::Lose(std::uint64_t fingerprint, const Place& place) {
  const auto now = index_.Find(fingerprint);
  if (!now || !(*now == place)) return;
  index_.Erase(fingerprint, place);
  --ranges_;
  --RegionAt(place.region)->items;
}

// ---- Room ----

void RegionStore::Offer(const RangeName& name, std::span<const std::byte> bytes, std::uint32_t crc,
                        RegionClass data_class) {
  if (bytes.empty() || bytes.size() > PST_RANGE_BYTES || Has(name)) return;
  if (Append(name, bytes, crc, data_class)) return;
  ++stats_.refused;
  refused_bytes_ += bytes.size();
}

// What regions of all classes may take together when one of this class is added. An eighth is left
// to the others of the limit, who serve what cannot wait: files that are mapped.
std::uint64_t RegionStore::Allowed(RegionClass data_class) const {
  std::uint64_t taken = config_.others_bytes ? config_.others_bytes() : 0;
  if (config_.others_bytes) taken = std::max(taken, config_.max_bytes / 8);
  if (data_class == RegionClass::kDataset && config_.has_general) {
    const std::uint64_t general = bytes_of_[static_cast<std::size_t>(RegionClass::kGeneral)];
    const std::uint64_t least = config_.max_bytes / 4;
    taken += least > general ? least - general : 0;
  }
  return config_.max_bytes > taken ? config_.max_bytes - taken : 0;
}

bool RegionStore::MakeRoom(std::size_t device, RegionClass data_class) {
  while (bytes_ + config_.region_bytes > Allowed(data_class) || files_ >= config_.max_files ||
         ranges_ >= config_.max_ranges) {
    if (!DropOne(data_class, nullptr)) return false;
  }
  while (devices_[device].disk->FreeBytes() < config_.region_bytes) {
    if (!DropOne(data_class, &device)) return false;
  }
  return true;
}

bool RegionStore::DropOne(RegionClass data_class, const std::size_t* device) {
  if (DropUnread(device)) return true;
  const std::uint64_t general = bytes_of_[static_cast<std::size_t>(RegionClass::kGeneral)];
  // A dataset takes what general data has beyond its quarter, or has left here without a mount of
  // it.
  if (data_class == RegionClass::kGeneral || !config_.has_general ||
      general > config_.max_bytes / 4)
    return DropGeneral(device);
  return false;
}

// The oldest region of an earlier start that nobody has read in this one. A job that reads in
// shuffled order has touched all that are its own long before a quarter of the room was refused.
bool RegionStore::DropUnread(const std::size_t* device) {
  if (refused_bytes_ < config_.max_bytes / 4) return false;
  Region* oldest = nullptr;
  for (const auto& ages : by_age_) {
    for (Region* region : ages) {
      if (!region->adopted || region->touched || !region->sealed ||
          (device != nullptr && region->device != *device))
        continue;
      if (oldest == nullptr || region->file < oldest->file) oldest = region;
      break;
    }
  }
  if (oldest == nullptr) return false;
  Drop(oldest);
  return true;
}

bool RegionStore::DropGeneral(const std::size_t* device) {
  auto& ages = by_age_[static_cast<std::size_t>(RegionClass::kGeneral)];
  for (std::size_t looks = 2 * ages.size(); looks > 0; --looks) {
    Region* region = ages.front();
    const bool right = region->sealed && (device == nullptr || region->device == *device);
    if (right && !region->touched) {
      Drop(region);
      return true;
    }
    if (right) region->touched = false;
    ages.splice(ages.end(), ages, ages.begin());
  }
  return false;
}

bool RegionStore::DropOldest() {
  if (DropGeneral(nullptr)) return true;
  for (Region* region : by_age_[static_cast<std::size_t>(RegionClass::kDataset)]) {
    if (!region->sealed) continue;
    Drop(region);
    return true;
  }
  return false;
}

void RegionStore::Drop(Region* region) {
  devices_[region->device].disk->Remove(region->file);
  const auto data_class = static_cast<std::size_t>(region->data_class);
  by_age_[data_class].erase(region->age);
  bytes_ -= region->bytes;
  bytes_of_[data_class] -= region->bytes;
  --files_;
  ranges_ -= region->items;
  stats_.evicted += region->items;
  regions_[region->number].reset();  // what the index says of it is dead with it
}

}  // namespace penstock::cache
