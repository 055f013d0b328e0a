#include "cache/memory/memory_tier.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cache/base/loop.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
TierShares SharesFor(std::uint32_t segments, bool has_dataset, bool has_general) {
  TierShares shares;
  shares.names_min = std::max(2u, segments / 32);  // one open, one to recycle
  shares.names_max = std::max(2u, segments / 8);
  const std::uint32_t rest = segments - shares.names_min;
  if (has_dataset) shares.transit = std::max(segments >= 32 ? 4u : 2u, segments / 20);
  if (has_general) shares.general_min = has_dataset ? std::max(3u, segments / 4) : rest;
  shares.keep_max = has_dataset ? rest - shares.transit - shares.general_min : 0;
  return shares;
}

MemoryTier::MemoryTier(Arena* arena, bool has_dataset, bool has_general)
    : arena_(arena),
      index_(arena),
      shares_(SharesFor(arena->segment_count(), has_dataset, has_general)),
      segments_(arena->segment_count()),
      ghosts_(has_general ? static_cast<std::uint64_t>(arena->segment_count()) * 64 : 0),
      scratch_(kMaxSurvivingBytes) {
  open_.fill(kNone);
}

// ---- Room ----

std::optional<Space> MemoryTier::Reserve(DataClass data_class, const pst_key& key, std::uint32_t bytes) {
  if (bytes == 0 || bytes > PST_RANGE_BYTES) return std::nullopt;
  std::optional<Space> space;
  switch (data_class) {
    case DataClass::kRecord: space = Allocate(kNames, bytes); break;
    case DataClass::kGeneral:
      space = Allocate(ghosts_.Recall(pst_key_hash(&key)) ? kMain : kProbation, bytes);
      break;
    case DataClass::kDataset:
      space = Allocate(kKeep, bytes);
      if (!space) space = Allocate(kTransit, bytes);
      break;
  }
  return space;
}

std::optional<Space> MemoryTier::Append(Area area, std::uint32_t bytes) {
  const std::uint32_t number = open_[area];
  if (number == kNone) return std::nullopt;
  Segment& segment = segments_[number];
  if (segment.fill + AlignUp(bytes) > PST_SEGMENT_BYTES) return std::nullopt;
  const Space space{number, segment.fill, bytes};
  segment.fill += AlignUp(bytes);
  Slot slot;
  slot.units = static_cast<std::uint16_t>(space.offset / PST_ALIGN);
  segment.slots.push_back(slot);
  Pin(number);
  return space;
}

std::optional<Space> MemoryTier::Allocate(Area area, std::uint32_t bytes) {
  // Retries move segments that survive as a whole, which wins nothing; after some it is taken by force,
  // and then each one wins at least a quarter of a segment.
  for (int tries = 0; tries < 64; ++tries) {
    if (auto space = Append(area, bytes)) return space;
    std::uint32_t number = kNone;
    switch (Acquire(area, tries > 32, &number)) {
      case Acquired::kNone: return std::nullopt;
      case Acquired::kRetry: break;
      case Acquired::kGot: OpenSegment(area, number); break;
    }
  }
  return std::nullopt;
}

// Segments that no other kind has a claim on.
std::uint32_t MemoryTier::Unclaimed(Area area) const {
  const auto lacks = [](std::uint32_t min, std::uint32_t count) { return min > count ? min - count : 0; };
  std::uint32_t claimed = 0;
  if (area != kNames) claimed += lacks(shares_.names_min, Count(kNames));
  if (area != kTransit) claimed += lacks(shares_.transit, Count(kTransit));
  if (area != kProbation && area != kMain) claimed += lacks(shares_.general_min, GeneralCount());
  const auto available =
      static_cast<std::uint32_t>(free_.size()) + arena_->segment_count() - taken_;
  return available > claimed ? available - claimed : 0;
}

bool MemoryTier::TakeFree(Area area, std::uint32_t* number) {
  if (area == kNames && Count(kNames) >= shares_.names_max) return false;
  if (area == kTransit && Count(kTransit) >= shares_.transit) return false;
  if (Unclaimed(area) == 0) return false;
  if (!free_.empty()) {
    *number = free_.front();
    free_.pop_front();
    return true;
  }
  bool prepared = false;
  const auto taken = arena_->TakeSegment(&prepared);
  if (!taken) return false;
  ++taken_;
  *number = *taken;
  segments_[*taken].late_huge = !prepared;
  return true;
}

MemoryTier::Acquired MemoryTier::Acquire(Area area, bool force, std::uint32_t* number) {
  if (TakeFree(area, number)) return Acquired::kGot;
  // A transit segment does not stay: what it could win from others would be lost to it.
  if (area != kTransit && CompactSparse()) return Acquired::kRetry;
  switch (area) {
    case kKeep:
      if (Count(kKeep) >= shares_.keep_max || GeneralCount() <= shares_.general_min) {
        return Acquired::kNone;
      }
      return RecycleGeneral(force, number);
    case kProbation:
    case kMain: return RecycleGeneral(force, number);
    case kTransit:
    case kNames: return RecycleFront(area, number);
    default: return Acquired::kNone;
  }
}

// The oldest segment that may go.
std::uint32_t MemoryTier::Front(Area area) const {
  for (const std::uint32_t number : fifo_[area]) {
    if (segments_[number].state == State::kClosed && segments_[number].pins == 0) return number;
  }
  return kNone;
}

MemoryTier::Acquired MemoryTier::RecycleFront(Area area, std::uint32_t* number) {
  const std::uint32_t front = Front(area);
  if (front == kNone) return Acquired::kNone;
  if (area == kNames) {
    Empty(front, kNames, [this](const pst_entry& entry, std::uint8_t) { return !Expired(entry); }, 0);
  } else {
    Empty(front, area, nullptr, 0);
  }
  if (segments_[front].state != State::kFree) return Acquired::kRetry;  // survivors needed it
  std::erase(free_, front);
  *number = front;
  return Acquired::kGot;
}

MemoryTier::Acquired MemoryTier::RecycleGeneral(bool force, std::uint32_t* number) {
  const std::uint32_t small = Front(kProbation);
  const std::uint32_t large = Front(kMain);
  bool use_small = small != kNone &&
                   (large == kNone || Count(kProbation) > std::max(1u, GeneralCount() / 10));
  // What was published a moment ago has a reader that has not copied it yet: where the queue is so short
  // that this is all of it, an older segment goes. (A longer queue protects it, and a scan, however
  // fast, must not reach the main queue.)
  if (use_small && large != kNone && Count(kProbation) <= 2 &&
      MonotonicNs() - segments_[small].closed_ns < kYoungNs &&
      segments_[large].closed_ns < segments_[small].closed_ns) {
    use_small = false;
  }
  const std::uint32_t victim = use_small ? small : large;
  if (victim == kNone) return Acquired::kNone;
  const std::uint8_t forget = use_small ? kMaxTouches : 1;
  if (!force && KeepWhole(victim, forget)) return Acquired::kRetry;
  Empty(victim, kMain, [](const pst_entry&, std::uint8_t touches) { return touches > 0; }, forget);
  if (segments_[victim].state != State::kFree) return Acquired::kRetry;
  std::erase(free_, victim);
  *number = victim;
  return Acquired::kGot;
}

// If most of a segment was touched, it goes to the end of the main queue as it is.
bool MemoryTier::KeepWhole(std::uint32_t number, std::uint8_t forget_touches) {
  Segment& segment = segments_[number];
  std::uint32_t touched = 0;
  for (std::size_t i = 0; i < segment.slots.size(); ++i) {
    if (!segment.slots[i].live || segment.slots[i].touches == 0) continue;
    const std::uint32_t end =
        i + 1 < segment.slots.size() ? segment.slots[i + 1].units * PST_ALIGN : segment.fill;
    touched += end - segment.slots[i].units * PST_ALIGN;
  }
  if (touched <= kMaxSurvivingBytes) return false;
  for (Slot& slot : segment.slots) {
    if (!slot.live || slot.touches == 0) continue;
    const bool silent = slot.touches == kMaxTouches;
    slot.touches = slot.touches > forget_touches ? static_cast<std::uint8_t>(slot.touches - forget_touches)
                                                 : std::uint8_t{0};
    if (!silent) continue;
    const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
    if (!place) continue;
    pst_entry entry = index_.At(*place);
    entry.flags |= PST_ENTRY_RECENCY;
    index_.Store(*place, entry);
  }
  std::erase(fifo_[segment.area], number);
  segment.area = kMain;
  NoteArea(number, kMain);
  fifo_[kMain].push_back(number);
  return true;
}

bool MemoryTier::CompactSparse() {
  while (!sparse_.empty()) {
    const std::uint32_t number = sparse_.front();
    sparse_.pop_front();
    Segment& segment = segments_[number];
    segment.listed_sparse = false;
    if (segment.state != State::kClosed || segment.pins != 0 ||
        segment.live_bytes > PST_SEGMENT_BYTES / 2) {
      continue;
    }
    Empty(number, segment.area, [](const pst_entry&, std::uint8_t) { return true; }, 0);
    return true;
  }
  return false;
}

// ---- Segments ----

void MemoryTier::OpenSegment(Area area, std::uint32_t number) {
  if (open_[area] != kNone) CloseSegment(open_[area]);
  Segment& segment = segments_[number];
  segment.slots.clear();
  segment.fill = 0;
  segment.live_bytes = 0;
  segment.area = area;
  segment.state = State::kOpen;
  open_[area] = number;
  fifo_[area].push_back(number);
  NoteArea(number, area);
  pst_segment_recycle(&arena_->generations()[number], arena_->NextGeneration());
}

void MemoryTier::CloseSegment(std::uint32_t number) {
  Segment& segment = segments_[number];
  segment.state = State::kClosed;
  segment.closed_ns = MonotonicNs();
  if (open_[segment.area] == number) open_[segment.area] = kNone;
  if (segment.late_huge) {
    segment.late_huge = false;
    arena_->CollapseLater(number);
  }
  NoteLoss(number);
}

// Its bytes stay until it is opened again, and so does its generation.
void MemoryTier::FreeSegment(std::uint32_t number) {
  Segment& segment = segments_[number];
  std::erase(fifo_[segment.area], number);
  segment.state = State::kFree;
  live_bytes_ -= segment.live_bytes;
  segment.live_bytes = 0;
  segment.slots.clear();
  free_.push_back(number);
}

void MemoryTier::Empty(std::uint32_t number, Area target,
                       const std::function<bool(const pst_entry&, std::uint8_t)>& survives,
                       std::uint8_t forget_touches) {
  survivors_.clear();
  std::uint32_t kept = 0;
  const bool to_ghosts = segments_[number].area == kProbation;
  for (const Slot& slot : segments_[number].slots) {
    if (!slot.live) continue;
    const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
    if (!place) continue;
    const pst_entry entry = index_.At(*place);
    const std::uint32_t bytes = AlignUp(entry.length);
    if (survives && survives(entry, slot.touches) && kept + bytes <= kMaxSurvivingBytes) {
      const std::uint8_t touches = slot.touches > forget_touches
                                       ? static_cast<std::uint8_t>(slot.touches - forget_touches)
                                       : std::uint8_t{0};
      std::memcpy(scratch_.data() + kept, arena_->segment(number) + entry.offset, entry.length);
      survivors_.push_back({*place, entry, kept, touches});
      kept += bytes;
      continue;
    }
    if (to_ghosts) ghosts_.Remember(pst_key_hash(&entry.key));
    if (!Expired(entry)) ++stats_.evictions;
    index_.Clear(*place);
  }
  FreeSegment(number);
  CarryOver(number, target);
}

void MemoryTier::CarryOver(std::uint32_t number, Area target) {
  for (const Survivor& survivor : survivors_) {
    auto space = Append(target, survivor.entry.length);
    if (!space) {
      // All survivors together fit into the segment that they come from.
      std::erase(free_, number);
      OpenSegment(target, number);
      space = Append(target, survivor.entry.length);
      if (!space) std::abort();
    }
    std::memcpy(Bytes(*space), scratch_.data() + survivor.scratch_at, survivor.entry.length);
    Segment& segment = segments_[space->segment];
    pst_entry entry = survivor.entry;
    entry.segment = space->segment;
    entry.offset = space->offset;
    entry.generation = arena_->generations()[space->segment];
    if (target == kMain) entry.flags |= PST_ENTRY_RECENCY;
    Slot& slot = segment.slots.back();
    slot.bucket = survivor.place.bucket;
    slot.touches = survivor.touches;
    slot.live = true;
    Unpin(space->segment);
    segment.live_bytes += AlignUp(entry.length);
    live_bytes_ += AlignUp(entry.length);
    index_.Store(survivor.place, entry);
  }
}

// ---- Entries ----

MemoryTier::Slot* MemoryTier::SlotAt(std::uint32_t number, std::uint32_t offset) {
  std::vector<Slot>& slots = segments_[number].slots;
  const auto units = static_cast<std::uint16_t>(offset / PST_ALIGN);
  const auto found = std::lower_bound(slots.begin(), slots.end(), units,
                                      [](const Slot& slot, std::uint16_t at) { return slot.units < at; });
  return found != slots.end() && found->units == units ? &*found : nullptr;
}

void MemoryTier::Publish(const Space& space, const pst_key& key, std::uint32_t crc, std::uint32_t flags,
                         std::uint32_t expires_ds) {
  Segment& segment = segments_[space.segment];
  Slot* slot = SlotAt(space.segment, space.offset);
  if (slot == nullptr || segment.pins == 0) std::abort();  // the caller published what it did not reserve
  pst_entry entry{};
  entry.key = key;
  entry.generation = arena_->generations()[space.segment];
  entry.segment = space.segment;
  entry.offset = space.offset;
  entry.length = space.bytes;
  entry.crc32c = crc;
  entry.flags = flags | (segment.area == kProbation || segment.area == kMain ? PST_ENTRY_RECENCY : 0u);
  entry.expires_ds = expires_ds;
  StoreEntry(entry, slot);
  slot->live = true;
  segment.live_bytes += AlignUp(entry.length);
  live_bytes_ += AlignUp(entry.length);
  ++stats_.published;
  Unpin(space.segment);
  NoteLoss(space.segment);
}

// The note is there before the first byte that is written without an entry, and stays until the last one is
// published or given up.
void MemoryTier::NoteFilling(std::uint32_t number, bool filling) {
  __atomic_store_n(&arena_->notes()[number].filling, static_cast<std::uint8_t>(filling), __ATOMIC_RELEASE);
  // Before the requests that fill it leave for the kernel.
  if (filling) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void MemoryTier::StoreEntry(const pst_entry& entry, Slot* slot) {
  auto place = index_.Find(entry.key);
  if (place) {
    MarkDead(index_.At(*place));
  } else {
    place = index_.FreePlace(entry.key);
  }
  if (!place) {
    place = index_.Victim(entry.key, [this](const pst_entry& other) -> std::uint64_t {
      const Area area = segments_[other.segment].area;
      const std::uint64_t kind = Expired(other) ? 3 : area == kTransit || area == kProbation ? 2 : 1;
      const std::uint64_t age = (1ull << 40) - (other.generation & ((1ull << 40) - 1));
      return kind << 48 | age;
    });
    ++stats_.evictions;
    MarkDead(index_.At(*place));
  }
  slot->bucket = place->bucket;
  index_.Store(*place, entry);
}

void MemoryTier::Abandon(const Space& space) {
  Segment& segment = segments_[space.segment];
  Unpin(space.segment);
  // The last piece of an open segment is given back; nothing ever named it.
  if (segment.state == State::kOpen && space.offset + AlignUp(space.bytes) == segment.fill) {
    segment.fill = space.offset;
    segment.slots.pop_back();
  }
  NoteLoss(space.segment);
}

bool MemoryTier::PublishRecord(const pst_key& key, std::span<const std::byte> bytes,
                               std::uint32_t expires_ds) {
  const auto space = Reserve(DataClass::kRecord, key, static_cast<std::uint32_t>(bytes.size()));
  if (!space) return false;
  std::memcpy(Bytes(*space), bytes.data(), bytes.size());
  Publish(*space, key, Crc32c(bytes), 0, expires_ds);
  return true;
}

void MemoryTier::MarkDead(const pst_entry& entry) {
  if (!index_.IsCurrent(entry)) return;
  Slot* slot = SlotAt(entry.segment, entry.offset);
  if (slot == nullptr || !slot->live) return;
  slot->live = false;
  segments_[entry.segment].live_bytes -= AlignUp(entry.length);
  live_bytes_ -= AlignUp(entry.length);
  NoteLoss(entry.segment);
}

// A segment that lost something is freed at once if it is empty, else remembered if it is sparse.
void MemoryTier::NoteLoss(std::uint32_t number) {
  Segment& segment = segments_[number];
  if (segment.state != State::kClosed || segment.pins != 0) return;
  if (segment.live_bytes == 0) {
    FreeSegment(number);
  } else if (!segment.listed_sparse && segment.live_bytes <= PST_SEGMENT_BYTES / 2 &&
             (segment.area == kKeep || segment.area == kMain || segment.area == kNames)) {
    segment.listed_sparse = true;
    sparse_.push_back(number);
  }
}

void MemoryTier::Drop(IndexWriter::Place place) {
  MarkDead(index_.At(place));
  index_.Clear(place);
}

const pst_entry* MemoryTier::Find(const pst_key& key) const {
  const auto place = index_.Find(key);
  if (!place) return nullptr;
  const pst_entry& entry = index_.At(*place);
  return index_.IsCurrent(entry) ? &entry : nullptr;
}

std::span<const std::byte> MemoryTier::BytesOf(const pst_entry& entry) const {
  return {arena_->segment(entry.segment) + entry.offset, entry.length};
}

bool MemoryTier::SetExpiry(const pst_key& key, std::uint32_t expires_ds) {
  const auto place = index_.Find(key);
  if (!place || !index_.IsCurrent(index_.At(*place))) return false;
  pst_entry entry = index_.At(*place);
  entry.expires_ds = expires_ds;
  index_.Store(*place, entry);
  return true;
}

bool MemoryTier::ChangeFlags(const pst_key& key, std::uint32_t set, std::uint32_t clear) {
  const auto place = index_.Find(key);
  if (!place || !index_.IsCurrent(index_.At(*place))) return false;
  pst_entry entry = index_.At(*place);
  const std::uint32_t flags = (entry.flags & ~clear) | set;
  if (flags == entry.flags) return true;
  entry.flags = flags;
  index_.Store(*place, entry);
  return true;
}

void MemoryTier::Erase(const pst_key& key) {
  if (const auto place = index_.Find(key)) Drop(*place);
}

bool MemoryTier::EraseExactly(const pst_entry& entry) {
  const auto place = index_.Find(entry.key);
  if (!place) return false;
  const pst_entry& there = index_.At(*place);
  if (there.segment != entry.segment || there.offset != entry.offset || there.generation != entry.generation)
    return false;
  Drop(*place);
  return true;
}

void MemoryTier::EraseRecords(
    const std::function<bool(const pst_key&, std::span<const std::byte>)>& doomed) {
  const std::deque<std::uint32_t> numbers = fifo_[kNames];  // dropping may free segments
  for (const std::uint32_t number : numbers) {
    const std::vector<Slot> slots = segments_[number].slots;
    for (const Slot& slot : slots) {
      if (!slot.live) continue;
      const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
      if (place && doomed(index_.At(*place).key, BytesOf(index_.At(*place)))) Drop(*place);
    }
  }
}

bool MemoryTier::VisitRecords(
    const std::function<bool(const pst_key&, std::span<const std::byte>)>& enough) const {
  for (const std::uint32_t number : fifo_[kNames]) {
    for (const Slot& slot : segments_[number].slots) {
      if (!slot.live) continue;
      const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
      if (place && enough(index_.At(*place).key, BytesOf(index_.At(*place)))) return true;
    }
  }
  return false;
}

void MemoryTier::Touched(std::uint64_t place) {
  const auto number = static_cast<std::uint32_t>(place >> 32);
  const std::uint64_t offset = (place & UINT32_MAX) * PST_ALIGN;
  if (number >= segments_.size() || offset >= PST_SEGMENT_BYTES) return;
  Slot* slot = SlotAt(number, static_cast<std::uint32_t>(offset));
  if (slot == nullptr || !slot->live || slot->touches >= kMaxTouches) return;
  if (++slot->touches < kMaxTouches) return;
  // Counted enough: readers need not report this one any more.
  const auto at = index_.FindIn(slot->bucket, number, static_cast<std::uint32_t>(offset));
  if (!at) return;
  pst_entry entry = index_.At(*at);
  entry.flags &= ~PST_ENTRY_RECENCY;
  index_.Store(*at, entry);
}

bool MemoryTier::Expired(const pst_entry& entry) const {
  return entry.expires_ds != 0 && arena_->ExpiresDs(MonotonicNs()) >= entry.expires_ds;
}

std::uint64_t MemoryTier::HeadroomBytes(DataClass data_class) const {
  std::uint64_t segments = 0;
  switch (data_class) {
    case DataClass::kDataset: segments = std::max<std::uint64_t>(shares_.transit, Unclaimed(kKeep)); break;
    case DataClass::kGeneral:
      segments = std::max<std::uint64_t>(GeneralCount() / 10 + 1, Unclaimed(kProbation));
      break;
    case DataClass::kRecord: segments = shares_.names_max; break;
  }
  return segments << PST_SEGMENT_SHIFT;
}

TierStats MemoryTier::Stats() const {
  TierStats stats = stats_;
  stats.bytes_used = static_cast<std::uint64_t>(taken_) << PST_SEGMENT_SHIFT;
  stats.bytes_live = live_bytes_;
  stats.entries = index_.size();
  return stats;
}

}  // namespace penstock::cache
