#include "shim/core/name_table.h"

#include <string.h>

namespace penstock {

NameRecord g_name_records[kNameRecords];
NameBucket g_name_buckets[kNameBuckets];

namespace {

uint32_t g_next_record;

// Where the record of a text is to go.
struct Target {
  uint32_t* entry;
  bool reuse;  // the entry's record: of this text, or of the name that has to give way
};

bool LeadsSomewhere(uint32_t value, const NameRecord& record, uint64_t hash) {
  const uint32_t place = (value & ~(kNameRecords - 1)) | (uint32_t)(hash % kNameBuckets);
  return __atomic_load_n(&record.epoch, __ATOMIC_RELAXED) != 0 &&
         __atomic_load_n(&record.place, __ATOMIC_RELAXED) == place;
}

// The entry that leads to this text, fresh or not; else one that leads nowhere; else the one that
// the hash chooses.
Target TargetFor(NameBucket* bucket, uint64_t epoch, uint64_t hash, const char* text,
                 uint32_t len) {
  const uint32_t tag = NameTag(hash);
  uint32_t* unused = nullptr;
  uint32_t* victim = &bucket->entries[hash >> 12 & (kNameWays - 1)];
  for (uint32_t& entry : bucket->entries) {
    const uint32_t value = __atomic_load_n(&entry, __ATOMIC_RELAXED);
    const NameRecord& record = g_name_records[value % kNameRecords];
    if (!LeadsSomewhere(value, record, hash)) {
      unused = &entry;
    } else if ((value ^ tag) < kNameRecords && record.len == len &&
               memcmp(record.text, text, len) == 0) {
      return {&entry, true};
    } else if (__atomic_load_n(&record.epoch, __ATOMIC_RELAXED) != epoch) {
      victim = &entry;
    }
  }
  if (unused != nullptr) return {unused, false};
  return {victim, true};
}

}  // namespace

void NameTableKeep(uint64_t epoch, const char* text, uint32_t len, uint32_t mount,
                   const pst_key128& id, const pst_attr& attr, int64_t expires_ns) {
  if (len - 1 >= kNameTextBytes || epoch == 0) return;
  const uint64_t hash = NameHash(text, len);
  const Target target = TargetFor(&g_name_buckets[hash % kNameBuckets], epoch, hash, text, len);
  const uint32_t number = (target.reuse ? __atomic_load_n(target.entry, __ATOMIC_RELAXED)
                                        : __atomic_fetch_add(&g_next_record, 1, __ATOMIC_RELAXED)) %
                          kNameRecords;
  NameRecord* record = &g_name_records[number];
  uint32_t seq = __atomic_load_n(&record->seq, __ATOMIC_RELAXED);
  if ((seq & 1u) != 0 || !__atomic_compare_exchange_n(&record->seq, &seq, seq + 1, false,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    return;
  }
  __atomic_thread_fence(__ATOMIC_RELEASE);
  record->len = len;
  __atomic_store_n(&record->epoch, epoch, __ATOMIC_RELAXED);
  record->expires_ns = expires_ns;
  record->mount = mount;
  __atomic_store_n(&record->place, NamePlace(hash), __ATOMIC_RELAXED);
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
  __atomic_store_n(target.entry, NameTag(hash) | number, __ATOMIC_RELEASE);
}

}  // namespace penstock
