// What a predecessor has cached becomes this sidecar's: the half of MemoryTier that runs once, at
// the start.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cache/base/loop.h"
#include "cache/memory/memory_tier.h"

namespace penstock::cache {
AdoptedMemory MemoryTier::Adopt(const std::function<bool(const pst_entry&)>& keep) {
  using Found = std::pair<IndexWriter::Place, pst_entry>;
  AdoptedMemory result;
  std::vector<Found> found;
  const auto adopted = index_.Adopt(keep, [&](IndexWriter::Place place, const pst_entry& entry) {
    found.emplace_back(place, entry);
  });
  result.torn_buckets = adopted.torn_buckets;
  result.dropped = adopted.dropped;
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return a.second.segment != b.second.segment ? a.second.segment < b.second.segment
                                                : a.second.offset < b.second.offset;
  });
  taken_ = arena_->adopted_segments();
  for (std::size_t at = 0, number = 0; number < taken_; ++number) {
    std::size_t end = at;
    while (end < found.size() && found[end].second.segment == number) ++end;
    AdoptSegment(static_cast<std::uint32_t>(number), std::span(found).subspan(at, end - at),
                 &result);
    at = end;
  }
  // Each queue in the order in which its segments were opened.
  for (auto& queue : fifo_) {
    std::sort(queue.begin(), queue.end(), [this](std::uint32_t a, std::uint32_t b) {
      return arena_->generations()[a] < arena_->generations()[b];
    });
  }
  return result;
}

// `found` lies in this segment, in the order of offsets.
void MemoryTier::AdoptSegment(std::uint32_t number,
                              std::span<const std::pair<IndexWriter::Place, pst_entry>> found,
                              AdoptedMemory* result) {
  Segment& segment = segments_[number];
  bool records = false, data = false;
  for (const auto& [place, entry] : found) {
    // Two that overlap cannot both have been stored: neither is to be believed.
    if (entry.offset < segment.fill) {
      ++result->dropped;
      index_.Clear(place);
      if (Slot* before = segment.slots.empty() ? nullptr : &segment.slots.back();
          before != nullptr && before->live) {
        const auto other = index_.FindIn(before->bucket, number, before->units * PST_ALIGN);
        if (other) index_.Clear(*other);
        before->live = false;
        ++result->dropped;
      }
      continue;
    }
    Slot slot;
    slot.bucket = place.bucket;
    slot.units = static_cast<std::uint16_t>(entry.offset / PST_ALIGN);
    slot.live = true;
    segment.slots.push_back(slot);
    segment.fill = entry.offset + AlignUp(entry.length);
    (entry.key.range >= PST_RANGE_NAME ? records : data) = true;
  }
  // A refresh looks for names in their own queue only, so what lies elsewhere would outlive it.
  const SegmentNote note = arena_->notes()[number];
  segment.area = records                                ? kNames
                 : note.area == 0 || note.area > kNames ? kTransit
                                                        : static_cast<Area>(note.area - 1);
  if (records && data) segment.slots.clear();  // no segment holds both
  for (const Slot& slot : segment.slots) {
    if (!slot.live) continue;
    const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
    if (place) segment.live_bytes += AlignUp(index_.At(*place).length);
  }
  if (segment.live_bytes == 0) {
    for (const auto& [place, entry] : found) index_.Clear(place);
  }
  // What was written for a dead process may still come: never into pages that somebody gets again.
  if (note.filling != 0) {
    ++result->renewed_segments;
    if (!RenewPages(number)) {
      segment.state = State::kClosed;  // for ever: it is never filled again
      segment.pins = 1;
      segment.slots.clear();
      segment.live_bytes = 0;
    }
  }
  if (segment.pins == 0 && segment.live_bytes == 0) {
    segment.slots.clear();
    segment.fill = 0;
    segment.state = State::kFree;
    free_.push_back(number);
    return;
  }
  if (segment.pins == 0) {
    segment.state = State::kClosed;
    segment.closed_ns = MonotonicNs() - kYoungNs;
    fifo_[segment.area].push_back(number);
  }
  live_bytes_ += segment.live_bytes;
  result->bytes += segment.live_bytes;
  for (const Slot& slot : segment.slots) {
    if (!slot.live) continue;
    const auto place = index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN);
    if (place) result->entries.push_back(index_.At(*place));
  }
}

// Puts what a segment holds onto pages of its own: readers miss for the moment that it takes. False: the
// old pages may be gone and there were no new ones, so nothing of it is believed.
bool MemoryTier::RenewPages(std::uint32_t number) {
  Segment& segment = segments_[number];
  std::byte* bytes = arena_->segment(number);
  const std::vector<std::byte> copy(bytes, bytes + segment.fill);
  std::vector<std::pair<IndexWriter::Place, pst_entry>> entries;
  for (const Slot& slot : segment.slots) {
    const auto place =
        slot.live ? index_.FindIn(slot.bucket, number, slot.units * PST_ALIGN) : std::nullopt;
    if (place) entries.emplace_back(*place, index_.At(*place));
  }
  pst_segment_recycle(&arena_->generations()[number], arena_->NextGeneration());
  const bool renewed = arena_->ReplacePages(number);
  if (renewed) {
    if (!copy.empty()) std::memcpy(bytes, copy.data(), copy.size());
    NoteFilling(number, false);
  }
  for (auto& [place, entry] : entries) {
    if (!renewed) {
      index_.Clear(place);
      continue;
    }
    entry.generation = arena_->generations()[number];
    index_.Store(place, entry);
  }
  return renewed;
}

}  // namespace penstock::cache
