// The writing half of the index (shim/abi/index.h): stores and drops entries in the buckets.
//
// Knows buckets, not segments: what happens to the bytes of an entry that is replaced or pushed out is
// the caller's business (MemoryTier). A place is (bucket, slot); it stays valid until the entry there is
// replaced or cleared, because entries never move.
//
// Thread safety: the core thread only (W1).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "cache/memory/arena.h"
#include "shim/abi/index.h"

namespace penstock::cache {

class IndexWriter {
 public:
  struct Place {
    std::uint32_t bucket = 0;
    std::uint32_t slot = 0;
  };

  explicit IndexWriter(Arena* arena);

  // Where `key` is, stale generations included.
  std::optional<Place> Find(const pst_key& key) const;
  // The entry of `segment` at `offset` in `bucket`, if it is still there.
  std::optional<Place> FindIn(std::uint32_t bucket, std::uint32_t segment, std::uint32_t offset) const;
  const pst_entry& At(Place place) const { return buckets_[place.bucket].entries[place.slot]; }
  bool IsCurrent(const pst_entry& entry) const {
    return entry.segment < segment_count_ && generations_[entry.segment] == entry.generation;
  }

  // An empty slot for `key`; nullopt if both buckets are full.
  std::optional<Place> FreePlace(const pst_key& key) const;
  // The entry to push out of the two full buckets of `key`: the highest value of `rank`.
  Place Victim(const pst_key& key,
               const std::function<std::uint64_t(const pst_entry&)>& rank) const;

  void Store(Place place, const pst_entry& entry);  // whatever was there
  void Clear(Place place);
  // A predecessor's index, before anything else is done with it: drops what was being changed at its death and
  // every entry that could not have been stored, or that `keep` does not want. Shows those that stay.
  struct Adopted {
    std::uint64_t torn_buckets = 0;
    std::uint64_t dropped = 0;   // entries that cannot be right
  };
  Adopted Adopt(const std::function<bool(const pst_entry&)>& keep,
                const std::function<void(Place, const pst_entry&)>& show);

  std::uint64_t size() const { return size_; }      // slots with an entry

 private:
  bool HoldsName(Place place) const;

  pst_bucket* buckets_;
  const std::uint64_t* generations_;
  std::uint64_t* name_epoch_;                       // in the index header, which clients read
  std::uint64_t mask_;
  std::uint32_t segment_count_;
  std::uint64_t size_ = 0;
};

}  // namespace penstock::cache
