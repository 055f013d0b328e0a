// What this process has read of name records, found by the whole path as the program writes it: a
// known name costs one hash, one compare and no routing. Private memory: nothing here is shared
// with anybody.
//
// Records lie side by side in the order in which they were met, so that a process touches memory
// for the names that it uses (256 bytes each) and a data set of a few thousand names stays in the
// processor's caches. A small index of hash tags leads to them. When all records are in use the
// oldest is taken, and the entry that led to it is left over until its place is wanted; a name that
// finds its bucket full of names takes the record of one of them, so that a few full buckets do not
// push out all the others.
//
// Why it is right: only paths that were routed are kept, under their clean absolute text, and the
// text alone decides the mount and the name while the view stands; the whole text is compared. A
// record is good while the index's name_epoch and the sidecar's incarnation stand still and until
// it expires, so it is exactly as fresh as the index itself. A record that another thread changes
// meanwhile is not believed (`seq`). Texts longer than kNameTextBytes are not kept.
//
// Thread safety: any thread, signal handlers, forked children; a writer that finds another one at
// work does not keep.
#pragma once

#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "shim/abi/key.h"
#include "shim/abi/record.h"
#include "shim/core/bytes.h"
#include "shim/core/time.h"
#include "shim/core/view.h"

namespace penstock {

inline constexpr uint32_t kNameTextBytes = 160;
inline constexpr uint32_t kNameRecordBits = 12;
inline constexpr uint32_t kNameRecords = 1u << kNameRecordBits;
inline constexpr uint32_t kNameBuckets = 4096;
inline constexpr uint32_t kNameWays = 4;

struct alignas(64) NameRecord {
  uint32_t
      seq;  // odd while a thread writes; then its top byte says in which process (NameTableForked)
  uint32_t len;
  uint64_t epoch;      // 0: empty (an epoch is never 0: the incarnation is in it)
  int64_t expires_ns;  // CLOCK_MONOTONIC, INT64_MAX never
  uint32_t mount;
  uint32_t place;  // NamePlace() of the text: an entry elsewhere that leads here is left over
  uint64_t size;   // from here on as in pst_attr
  uint64_t version;
  int64_t mtime_ns;
  uint64_t ino;
  uint32_t kind;
  uint32_t mode;
  uint32_t nlink;
  int32_t err;
  char text[kNameTextBytes];
  pst_key128 id;
};
static_assert(sizeof(NameRecord) == 256);

// A tag of the hash in the upper bits, the record's number in the lower ones.
struct alignas(16) NameBucket {
  uint32_t entries[kNameWays];
};

extern NameRecord g_name_records[kNameRecords];
extern NameBucket g_name_buckets[kNameBuckets];

// The index's epoch, to be read before the index is looked at.
PST_INLINE uint64_t NameEpoch(const View* view) {
  return __atomic_load_n(&view->index.header->name_epoch, __ATOMIC_ACQUIRE) ^ view->incarnation;
}

// A hash for the table alone; the text is compared in full, so it decides nothing but the place.
// wyhash's step (multiply, fold), 16 bytes at a time, the last ones overlapping.
PST_INLINE uint64_t NameHash(const char* text, uint32_t len) {
  constexpr uint64_t kFirst = 0xa0761d6478bd642full, kSecond = 0xe7037ed1a0b428dbull;
  auto fold = [](uint64_t a, uint64_t b) {
    const auto product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
  };
  uint64_t hash = len * kFirst;
  if (PST_UNLIKELY(len < 16)) {
    for (uint32_t i = 0; i < len; ++i) hash = fold(hash ^ (unsigned char)text[i], kSecond);
    return hash;
  }
  for (uint32_t i = 0; i + 16 < len; i += 16)
    hash = fold(LoadWord(text + i) ^ hash, LoadWord(text + i + 8) ^ kSecond);
  return fold(LoadWord(text + len - 16) ^ hash, LoadWord(text + len - 8) ^ kFirst);
}

static_assert(kNameBuckets <= kNameRecords);  // NamePlace() has room for both

PST_INLINE uint32_t NameTag(uint64_t hash) { return (uint32_t)(hash >> 32) & ~(kNameRecords - 1); }

// Tag and bucket in one word.
PST_INLINE uint32_t NamePlace(uint64_t hash) {
  return NameTag(hash) | (uint32_t)(hash % kNameBuckets);
}

// Bit i: way i may be of this tag.
PST_INLINE uint32_t NameMatches(const NameBucket& bucket, uint32_t tag) {
#if defined(__SSE2__)
  // Each entry is one aligned word, which no processor reads in parts.
  const auto entries = (__m128i)LoadShared((const char*)(const void*)&bucket);
  const __m128i tags = _mm_andnot_si128(_mm_set1_epi32(kNameRecords - 1), entries);
  const __m128i equal = _mm_cmpeq_epi32(tags, _mm_set1_epi32((int)tag));
  return (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(equal));
#else
  uint32_t matches = 0;
#pragma GCC unroll 4
  for (uint32_t way = 0; way < kNameWays; ++way) {
    const uint32_t entry = __atomic_load_n(&bucket.entries[way], __ATOMIC_RELAXED);
    matches |= (uint32_t)((entry ^ tag) < kNameRecords) << way;
  }
  return matches;
#endif
}

// A field of a record that another thread may be writing.
template <class T>
PST_INLINE T Word(const T& field) {
  return __atomic_load_n(&field, __ATOMIC_RELAXED);
}

// What stands between `epoch` and `text`, and `id`, sixteen bytes at a time.
PST_INLINE void NameFields(const NameRecord& record, NameRecord* out) {
  constexpr size_t kFirst = offsetof(NameRecord, expires_ns), kEnd = offsetof(NameRecord, text);
  static_assert((kEnd - kFirst) % 16 == 0);
  const auto* from = (const char*)(const void*)&record;
  auto* to = (char*)(void*)out;
#pragma GCC unroll 4
  for (size_t at = kFirst; at < kEnd; at += 16)
    *(TwoWords*)(void*)(to + at) = LoadShared(from + at);
  constexpr size_t kId = offsetof(NameRecord, id);
  *(TwoWords*)(void*)(to + kId) = LoadShared(from + kId);
}

// What was kept of a text, in *out (all but `text`). False: nothing that is still good. Hot.
PST_INLINE bool NameTableFind(uint64_t epoch, const char* text, uint32_t len, NameRecord* out) {
  if (PST_UNLIKELY(len - 1 >= kNameTextBytes)) return false;
  const uint64_t hash = NameHash(text, len);
  const NameBucket& bucket = g_name_buckets[hash % kNameBuckets];
  for (uint32_t ways = NameMatches(bucket, NameTag(hash)); PST_LIKELY(ways != 0);
       ways &= ways - 1) {
    const uint32_t entry = __atomic_load_n(&bucket.entries[__builtin_ctz(ways)], __ATOMIC_RELAXED);
    const NameRecord& record = g_name_records[entry % kNameRecords];
    const uint32_t seq = __atomic_load_n(&record.seq, __ATOMIC_ACQUIRE);
    if (PST_UNLIKELY((seq & 1u) != 0 || Word(record.epoch) != epoch || Word(record.len) != len))
      continue;
    const bool same = SameAsShared(record.text, text, len);
    NameFields(record, out);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (PST_UNLIKELY(__atomic_load_n(&record.seq, __ATOMIC_RELAXED) != seq || !same)) continue;
    return out->expires_ns == INT64_MAX || PST_LIKELY(PstCoarseNs() < out->expires_ns);
  }
  return false;
}

PST_INLINE pst_attr NameAttr(const NameRecord& record) {
  return {record.size, record.version, record.mtime_ns, record.ino, record.kind,
          record.mode, record.nlink,   record.err,      {0, 0}};
}

// Keeps a record that was read under `epoch`.
void NameTableKeep(uint64_t epoch, const char* text, uint32_t len, uint32_t mount,
                   const pst_key128& id, const pst_attr& attr, int64_t expires_ns);

// In a forked child: writers that were at work in the parent are not here, and their records are
// free.
void NameTableForked();

}  // namespace penstock
