#include "shim/core/name_table.h"

#include <string.h>

namespace penstock {

NameRecord g_name_records[kNameRecords];
NameBucket g_name_buckets[kNameBuckets];

namespace {

uint32_t g_next_record;

// The entry that leads to this text, fresh or not; else an empty one; else the one that the hash
// chooses.
uint32_t* EntryFor(NameBucket* bucket, uint64_t hash, const char* text, uint32_t len, bool* known) {
  *known = false;
  const uint32_t tag = NameTag(hash);
  uint32_t* place = &bucket->entries[hash >> 11 & (kNameWays - 1)];
  bool empty = false;
  for (uint32_t& entry : bucket->entries) {
    const uint32_t value = __atomic_load_n(&entry, __ATOMIC_RELAXED);
    const NameRecord& record = g_name_records[value % kNameRecords];
    if ((value ^ tag) < kNameRecords && record.epoch != 0 && record.len == len &&
        memcmp(record.text, text, len) == 0) {
      *known = true;
      return &entry;
    }
    if (value == 0 && !empty) {
      place = &entry;
      empty = true;
    }
  }
  return place;
}

}  // namespace

void NameTableKeep(uint64_t epoch, const char* text, uint32_t len, uint32_t mount,
                   const pst_key128& id, const pst_attr& attr, int64_t expires_ns) {
  if (len - 1 >= kNameTextBytes || epoch == 0) return;
  const uint64_t hash = NameHash(text, len);
  bool known;
  uint32_t* entry = EntryFor(&g_name_buckets[hash % kNameBuckets], hash, text, len, &known);
  const uint32_t number =
      known ? __atomic_load_n(entry, __ATOMIC_RELAXED) % kNameRecords
            : __atomic_fetch_add(&g_next_record, 1, __ATOMIC_RELAXED) % kNameRecords;
  NameRecord* record = &g_name_records[number];
  uint32_t seq = __atomic_load_n(&record->seq, __ATOMIC_RELAXED);
  if ((seq & 1u) != 0 || !__atomic_compare_exchange_n(&record->seq, &seq, seq + 1, false,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    return;
  }
  __atomic_thread_fence(__ATOMIC_RELEASE);
  record->len = len;
  record->epoch = epoch;
  record->expires_ns = expires_ns;
  record->mount = mount;
  record->size = attr.size;
  record->version = attr.version;
  record->mtime_ns = attr.mtime_ns;
  record->ino = attr.ino;
  record->kind = attr.kind;
  record->mode = attr.mode;
  record->nlink = attr.nlink;
  record->err = attr.err;
  record->id = id;
  memcpy(record->text, text, len);
  __atomic_store_n(&record->seq, seq + 2, __ATOMIC_RELEASE);
  __atomic_store_n(entry, NameTag(hash) | number, __ATOMIC_RELEASE);
}

}  // namespace penstock
