#include "cache/memory/index_writer.h"

namespace penstock::cache {

IndexWriter::IndexWriter(Arena* arena)
    : buckets_(arena->buckets()),
      generations_(arena->generations()),
      name_epoch_(const_cast<std::uint64_t*>(&arena->header()->name_epoch)),
      mask_(arena->bucket_count() - 1),
      segment_count_(arena->segment_count()) {}

std::optional<IndexWriter::Place> IndexWriter::Find(const pst_key& key) const {
  const std::uint64_t hash = pst_key_hash(&key);
  const std::uint16_t tag = pst_hash_tag(hash);
  for (unsigned which = 0; which < 2; ++which) {
    const auto number = static_cast<std::uint32_t>(pst_hash_bucket(hash, mask_, which));
    const pst_bucket& bucket = buckets_[number];
    for (std::uint32_t slot = 0; slot < PST_BUCKET_ENTRIES; ++slot) {
      if (bucket.tags[slot] == tag && pst_key_equal(&bucket.entries[slot].key, &key)) {
        return Place{number, slot};
      }
    }
  }
  return std::nullopt;
}

std::optional<IndexWriter::Place> IndexWriter::FindIn(std::uint32_t number, std::uint32_t segment,
                                                      std::uint32_t offset) const {
  if (number > mask_) return std::nullopt;
  const pst_bucket& bucket = buckets_[number];
  for (std::uint32_t slot = 0; slot < PST_BUCKET_ENTRIES; ++slot) {
    const pst_entry& entry = bucket.entries[slot];
    if (bucket.tags[slot] != 0 && entry.segment == segment && entry.offset == offset &&
        IsCurrent(entry)) {
      return Place{number, slot};
    }
  }
  return std::nullopt;
}

std::optional<IndexWriter::Place> IndexWriter::FreePlace(const pst_key& key) const {
  const std::uint64_t hash = pst_key_hash(&key);
  std::optional<Place> best;
  unsigned best_free = 0;
  for (unsigned which = 0; which < 2; ++which) {
    const auto number = static_cast<std::uint32_t>(pst_hash_bucket(hash, mask_, which));
    unsigned free = 0;
    std::uint32_t last = 0;
    for (std::uint32_t slot = 0; slot < PST_BUCKET_ENTRIES; ++slot) {
      if (buckets_[number].tags[slot] != 0) continue;
      ++free;
      last = slot;
    }
    // The emptier of the two keeps both from filling up.
    if (free > best_free) {
      best_free = free;
      best = Place{number, last};
    }
  }
  return best;
}

IndexWriter::Place IndexWriter::Victim(
    const pst_key& key, const std::function<std::uint64_t(const pst_entry&)>& rank) const {
  const std::uint64_t hash = pst_key_hash(&key);
  Place best;
  std::uint64_t best_rank = 0;
  for (unsigned which = 0; which < 2; ++which) {
    const auto number = static_cast<std::uint32_t>(pst_hash_bucket(hash, mask_, which));
    for (std::uint32_t slot = 0; slot < PST_BUCKET_ENTRIES; ++slot) {
      const std::uint64_t value = rank(buckets_[number].entries[slot]) + 1;
      if (value > best_rank) {
        best_rank = value;
        best = Place{number, slot};
      }
    }
  }
  return best;
}

IndexWriter::Adopted IndexWriter::Adopt(const std::function<bool(const pst_entry&)>& keep,
                                        const std::function<void(Place, const pst_entry&)>& show) {
  Adopted result;
  for (std::uint64_t number = 0; number <= mask_; ++number) {
    pst_bucket& bucket = buckets_[number];
    if (pst_bucket_repair(&bucket) != 0) ++result.torn_buckets;
    for (std::uint32_t slot = 0; slot < PST_BUCKET_ENTRIES; ++slot) {
      if (bucket.tags[slot] == 0) continue;
      ++size_;
      const Place place{static_cast<std::uint32_t>(number), slot};
      const pst_entry entry = bucket.entries[slot];
      const std::uint64_t hash = pst_key_hash(&entry.key);
      const bool here = pst_hash_bucket(hash, mask_, 0) == number || pst_hash_bucket(hash, mask_, 1) == number;
      const bool sound = bucket.tags[slot] == pst_hash_tag(hash) && here && entry.segment < segment_count_ &&
                         entry.generation != 0 && entry.length != 0 && entry.length <= PST_RANGE_BYTES &&
                         entry.offset % PST_ALIGN == 0 && entry.offset <= PST_SEGMENT_BYTES - entry.length;
      // One whose segment has been recycled since is no fault.
      const bool current = sound && IsCurrent(entry);
      // Of a key that is there twice the first one is found; the other would come back once that one goes.
      const auto first = current ? Find(entry.key) : std::nullopt;
      const bool only = first && first->bucket == number && first->slot == slot;
      if (current && only && keep(entry)) {
        show(place, entry);
        continue;
      }
      if (!sound || (current && !only)) ++result.dropped;
      Clear(place);
    }
  }
  return result;
}

void IndexWriter::Store(Place place, const pst_entry& entry) {
  pst_bucket& bucket = buckets_[place.bucket];
  const bool replaces_name = HoldsName(place);
  if (bucket.tags[place.slot] == 0) ++size_;
  pst_bucket_store(&bucket, place.slot, pst_hash_tag(pst_key_hash(&entry.key)), &entry);
  if (replaces_name) PST_STORE_RELEASE(name_epoch_, *name_epoch_ + 1);
}

bool IndexWriter::HoldsName(Place place) const {
  const pst_bucket& bucket = buckets_[place.bucket];
  return bucket.tags[place.slot] != 0 && bucket.entries[place.slot].key.range >= PST_RANGE_NAME;
}

void IndexWriter::Clear(Place place) {
  pst_bucket& bucket = buckets_[place.bucket];
  if (bucket.tags[place.slot] == 0) return;
  --size_;
  const bool drops_name = HoldsName(place);
  pst_bucket_clear(&bucket, place.slot);
  if (drops_name) PST_STORE_RELEASE(name_epoch_, *name_epoch_ + 1);
}

}  // namespace penstock::cache
