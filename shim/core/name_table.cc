#include "shim/core/name_table.h"

#include <string.h>

namespace penstock {

NameRecord g_name_records[kNameRecords];
NameBucket g_name_buckets[kNameBuckets];

namespace {

uint32_t g_next_record;
uint32_t g_process;  // grows at every fork, modulo 256

constexpr uint32_t kProcessShift = 24, kCountMask = (1u << kProcessShift) - 1;

// Takes a record to write: *after is the seq that frees it. False: another thread of this process
// has it.
bool Take(NameRecord* record, uint32_t* after) {
  uint32_t seq = __atomic_load_n(&record->seq, __ATOMIC_RELAXED);
  const uint32_t process = __atomic_load_n(&g_process, __ATOMIC_RELAXED) << kProcessShift;
  if ((seq & 1u) != 0 && (seq & ~kCountMask) == process) return false;
  const uint32_t taken = (seq & kCountMask) | 1u;
  *after = (taken + 1) & kCountMask;
  return __atomic_compare_exchange_n(&record->seq, &seq, taken | process, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED);
}

template <class T>
void Put(T* field, T value) {
  __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

void PutText(NameRecord* record, const char* text, uint32_t len) {
  static_assert(offsetof(NameRecord, text) % 8 == 0 && kNameTextBytes % 8 == 0);
  using Chunk = uint64_t __attribute__((may_alias));
  auto* to = (Chunk*)(void*)record->text;
  for (uint32_t at = 0; at < len; at += 8) {
    uint64_t word = 0;
    memcpy(&word, text + at, len - at < 8 ? len - at : 8);
    __atomic_store_n(&to[at / 8], word, __ATOMIC_RELAXED);
  }
}

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
    } else if ((value ^ tag) < kNameRecords && Word(record.len) == len &&
               SameAsShared(record.text, text, len)) {
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
  uint32_t after;
  if (!Take(record, &after)) return;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  Put(&record->len, len);
  Put(&record->epoch, epoch);
  Put(&record->expires_ns, expires_ns);
  Put(&record->mount, mount);
  Put(&record->place, NamePlace(hash));
  Put(&record->size, attr.size);
  Put(&record->version, attr.version);
  Put(&record->mtime_ns, attr.mtime_ns);
  Put(&record->ino, attr.ino);
  Put(&record->kind, attr.kind);
  Put(&record->mode, attr.mode);
  Put(&record->nlink, attr.nlink);
  Put(&record->err, attr.err);
  Put(&record->id.lo, id.lo);
  Put(&record->id.hi, id.hi);
  PutText(record, text, len);
  __atomic_store_n(&record->seq, after, __ATOMIC_RELEASE);
  __atomic_store_n(target.entry, NameTag(hash) | number, __ATOMIC_RELEASE);
}

void NameTableForked() {
  __atomic_store_n(&g_process, (g_process + 1) & (UINT32_MAX >> kProcessShift), __ATOMIC_RELAXED);
}

}  // namespace penstock
