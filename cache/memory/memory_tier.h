// The memory tier: packs objects into the arena's segments, publishes them in the index, and makes room.
//
// Objects are appended to an open segment at 64-byte steps and never span segments; whole segments are
// recycled, after their generation has changed (W4). Five kinds of segments, each a FIFO:
//
//   keep       dataset data: admitted until full, then kept
//   transit    dataset data that came after that: a small FIFO, so that a reader gets its bytes at all
//   probation  general data, first seen (S3-FIFO's small queue, 10 %)
//   main       general data that was touched again, or that the ghost table remembers
//   names      name records and listings: live ones are appended again when their segment's turn comes
//
// Recycling copies what shall survive (into the open segment of its kind); at least a quarter of each
// segment is won, so it always ends. A general segment of which more than three quarters shall survive
// moves to the main queue's end as it stands, without a copy. A sparse segment (less than half alive: versions superseded, files
// forgotten) is compacted before anything that is alive is dropped. A segment into which an origin read
// is in flight is pinned and never recycled.
//
// Thread safety: the core thread only, except that the bytes of a Space may be filled by any thread
// until it is published or abandoned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cache/memory/arena.h"
#include "cache/memory/ghost_table.h"
#include "cache/memory/index_writer.h"

namespace penstock::cache {

// What a range of so many bytes takes of a segment.
constexpr std::uint32_t AlignUp(std::uint32_t bytes) {
  return (bytes + PST_ALIGN - 1) & ~(PST_ALIGN - 1);
}

enum class DataClass : std::uint8_t { kDataset, kGeneral, kRecord };

// How the segments are shared out. Minimums are kept free for their kind; what is left goes to whoever
// comes first, up to the maximums.
struct TierShares {
  std::uint32_t names_min = 0;
  std::uint32_t names_max = 0;
  std::uint32_t transit = 0;      // minimum and maximum
  std::uint32_t general_min = 0;  // probation and main together
  std::uint32_t keep_max = 0;
};
TierShares SharesFor(std::uint32_t segments, bool has_dataset, bool has_general);

// Room in the arena that its holder fills. Its segment is pinned until Publish() or Abandon().
struct Space {
  std::uint32_t segment = 0;
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};

struct TierStats {
  std::uint64_t evictions = 0;     // entries dropped to make room
  std::uint64_t published = 0;
  std::uint64_t bytes_used = 0;    // of segments that were ever taken: they stay resident
  std::uint64_t bytes_live = 0;
  std::uint64_t entries = 0;
};

// What came of a predecessor's memory.
struct AdoptedMemory {
  std::vector<pst_entry> entries;      // that stay: their bytes are still to be checked (entry.crc32c)
  std::uint64_t bytes = 0;
  std::uint64_t torn_buckets = 0;      // that were being changed at its death
  std::uint64_t dropped = 0;           // entries that could not be right
  std::uint64_t renewed_segments = 0;  // that were being filled
};

class MemoryTier {
 public:
  // Of an arena that was adopted, Adopt() comes before all else.
  MemoryTier(Arena* arena, bool has_dataset, bool has_general);

  // Builds the queues from what the index says: readers have gone on all the time and do not notice.
  // `keep` says which entries still mean something to whoever asks.
  AdoptedMemory Adopt(const std::function<bool(const pst_entry&)>& keep);

  // At most PST_RANGE_BYTES, at least 1. nullopt if everything that could go is pinned: try again when a
  // read has finished.
  std::optional<Space> Reserve(DataClass data_class, const pst_key& key, std::uint32_t bytes);
  std::byte* Bytes(const Space& space) { return arena_->segment(space.segment) + space.offset; }
  // Replaces an entry of the same key. RECENCY is added for classes that want to know of hits.
  void Publish(const Space& space, const pst_key& key, std::uint32_t crc, std::uint32_t flags,
               std::uint32_t expires_ds);
  void Abandon(const Space& space);
  // Reserve, copy, publish. False if there was no room.
  bool PublishRecord(const pst_key& key, std::span<const std::byte> bytes, std::uint32_t expires_ds);

  // The current entry of `key`, expired or not; valid until the next change. Null if absent.
  const pst_entry* Find(const pst_key& key) const;
  std::span<const std::byte> BytesOf(const pst_entry& entry) const;
  bool SetExpiry(const pst_key& key, std::uint32_t expires_ds);
  bool ChangeFlags(const pst_key& key, std::uint32_t set, std::uint32_t clear);
  void Erase(const pst_key& key);
  // Erases the entry if it still is this very one.
  bool EraseExactly(const pst_entry& entry);
  // Erases the records (names, listings) for which `doomed` says so.
  void EraseRecords(
      const std::function<bool(const pst_key&, std::span<const std::byte>)>& doomed);
  // Shows the records until `enough` says so: true if it did.
  bool VisitRecords(
      const std::function<bool(const pst_key&, std::span<const std::byte>)>& enough) const;
  // A client's access log named this place. Anything may stand in there.
  void Touched(std::uint64_t place);

  // How much new data of a class can lie in the arena before it pushes itself out.
  std::uint64_t HeadroomBytes(DataClass data_class) const;
  TierStats Stats() const;
  const TierShares& shares() const { return shares_; }

 private:
  enum Area : std::uint8_t { kKeep, kTransit, kProbation, kMain, kNames, kAreas };
  enum class State : std::uint8_t { kUnused, kOpen, kClosed, kFree };
  enum class Acquired : std::uint8_t { kGot, kRetry, kNone };

  struct Slot {                // one object; in the order of offsets
    std::uint32_t bucket = 0;
    std::uint16_t units = 0;   // offset / PST_ALIGN
    std::uint8_t touches = 0;
    bool live = false;
  };
  struct Segment {
    std::vector<Slot> slots;
    std::uint32_t fill = 0;
    std::uint32_t live_bytes = 0;
    std::uint32_t pins = 0;
    std::int64_t closed_ns = 0;
    Area area = kKeep;
    State state = State::kUnused;
    bool listed_sparse = false;
    bool late_huge = false;
  };
  struct Survivor {
    IndexWriter::Place place;
    pst_entry entry;
    std::uint32_t scratch_at;
    std::uint8_t touches;
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint8_t kMaxTouches = 3;
  static constexpr std::uint32_t kMaxSurvivingBytes = PST_SEGMENT_BYTES / 4 * 3;
  static constexpr std::int64_t kYoungNs = 50'000'000;

  std::optional<Space> Allocate(Area area, std::uint32_t bytes);
  std::optional<Space> Append(Area area, std::uint32_t bytes);
  Acquired Acquire(Area area, bool force, std::uint32_t* number);
  bool TakeFree(Area area, std::uint32_t* number);
  Acquired RecycleGeneral(bool force, std::uint32_t* number);
  bool KeepWhole(std::uint32_t number, std::uint8_t forget_touches);
  Acquired RecycleFront(Area area, std::uint32_t* number);
  bool CompactSparse();
  std::uint32_t Front(Area area) const;
  void OpenSegment(Area area, std::uint32_t number);
  void CloseSegment(std::uint32_t number);
  void FreeSegment(std::uint32_t number);
  // Drops or carries over what lies in a closed segment, which is then free (or open again for `target`).
  void Empty(std::uint32_t number, Area target,
             const std::function<bool(const pst_entry&, std::uint8_t touches)>& survives,
             std::uint8_t forget_touches);
  void CarryOver(std::uint32_t number, Area target);

  void AdoptSegment(std::uint32_t number, std::span<const std::pair<IndexWriter::Place, pst_entry>> found,
                    AdoptedMemory* result);
  bool RenewPages(std::uint32_t number);
  // For a successor (SegmentNote).
  void NoteArea(std::uint32_t number, Area area) {
    arena_->notes()[number].area = static_cast<std::uint8_t>(area + 1);
  }
  void Pin(std::uint32_t number) {
    if (segments_[number].pins++ == 0) NoteFilling(number, true);
  }
  void Unpin(std::uint32_t number) {
    if (--segments_[number].pins == 0) NoteFilling(number, false);
  }
  void NoteFilling(std::uint32_t number, bool filling);
  void StoreEntry(const pst_entry& entry, Slot* slot);
  void Drop(IndexWriter::Place place);
  void MarkDead(const pst_entry& entry);
  void NoteLoss(std::uint32_t number);
  Slot* SlotAt(std::uint32_t number, std::uint32_t offset);
  bool Expired(const pst_entry& entry) const;
  std::uint32_t Count(Area area) const { return static_cast<std::uint32_t>(fifo_[area].size()); }
  std::uint32_t GeneralCount() const { return Count(kProbation) + Count(kMain); }
  std::uint32_t Unclaimed(Area area) const;

  Arena* arena_;
  IndexWriter index_;
  TierShares shares_;
  std::vector<Segment> segments_;
  std::array<std::deque<std::uint32_t>, kAreas> fifo_;   // open segment included
  std::array<std::uint32_t, kAreas> open_;
  std::deque<std::uint32_t> free_;
  std::deque<std::uint32_t> sparse_;
  GhostTable ghosts_;
  std::vector<std::byte> scratch_;                       // what survives, while its segment is emptied
  std::vector<Survivor> survivors_;
  std::uint32_t taken_ = 0;
  std::uint64_t live_bytes_ = 0;
  TierStats stats_;
};

}  // namespace penstock::cache
