/* Index and arena: how a reader finds bytes without a system call, a lock or a store.
 *
 * The arena is an array of 2 MiB segments. The sidecar packs objects into the open segment at 64-byte
 * steps; whole segments are recycled. Each segment has a generation in index memory, which grows when
 * the segment is recycled and never repeats (its high bits are the sidecar's incarnation).
 *
 * The index is a table of 512-byte buckets: a header line with a sequence number and tags, and seven
 * entries of one line each. A key lives in one of two buckets. It is a cache: the sidecar may drop any
 * entry at any time, and a reader then takes the miss path.
 *
 * Invariants (the model in tests/model runs this header against them):
 *  W1 one writer (the sidecar's core thread) changes buckets and generations.
 *  W2 a bucket changes only while its seq is odd; readers retry, a bounded number of times.
 *  W3 bytes of [segment, offset, length) are complete before the entry that names them is stored, and
 *     stay unchanged until the segment's generation has been changed.
 *  W4 the generation is changed, and the change ordered before, the first store of recycled bytes.
 *  W5 a successor of a dead writer drops what that one was changing before it changes anything itself, and
 *     goes on with generations above all that it finds.
 *  R1 a reader copies bytes, then checks (acquire) that the generation is the entry's. If it is, the
 *     bytes are the key's; if not, it discards them and treats the key as a miss.
 */
#pragma once

#include "shim/abi/abi.h"
#include "shim/abi/key.h"

#define PST_INDEX_MAGIC 0x58444950u /* "PIDX" */

/* mount flags */
#define PST_MOUNT_RW 1u

struct pst_mount {
  uint32_t ns;
  uint32_t flags;
  uint32_t uid;       /* what stat shows; UINT32_MAX: the program's own */
  uint32_t gid;
  uint32_t st_dev;    /* what stat shows */
  uint32_t path_len;
  uint64_t reserved[5];
  char path[PST_MOUNT_PATH_MAX]; /* absolute, normalised, no trailing slash */
};
PST_CHECK_SIZE(struct pst_mount, 64 + PST_MOUNT_PATH_MAX);
PST_CHECK_OFFSET(struct pst_mount, path, 64);

struct pst_index_header {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint64_t incarnation;      /* of the sidecar; a new one after each start */
  uint64_t index_bytes;      /* of the whole mapping */
  uint64_t arena_bytes;
  uint64_t bucket_offset;    /* from the start of the index mapping; a multiple of 512 */
  uint64_t bucket_count;     /* a power of two */
  uint64_t segment_offset;   /* of the generations, uint64_t each */
  uint64_t segment_count;
  int64_t clock_base_ns;     /* CLOCK_MONOTONIC that `expires_ds` counts from */
  uint32_t mount_count;
  uint32_t reserved0;
  uint64_t name_epoch;       /* grows after a name record was replaced or dropped: what a client has kept
                                of a record (until it expires) is good while this stands still */
  uint64_t reserved[5];
  struct pst_mount mounts[PST_MAX_MOUNTS];
};
PST_CHECK_OFFSET(struct pst_index_header, clock_base_ns, 64);
PST_CHECK_OFFSET(struct pst_index_header, mounts, 128);
PST_CHECK_SIZE(struct pst_index_header, 128 + PST_MAX_MOUNTS * (64 + PST_MOUNT_PATH_MAX));

/* entry flags */
#define PST_ENTRY_RECENCY 1u    /* the policy wants to know of hits: note them in the access log */
#define PST_ENTRY_READAHEAD 2u  /* a reader that gets here in sequence asks for what comes next, without
                                   waiting for it (as Linux's PG_readahead) */

struct pst_entry {
  struct pst_key key;        /* 32 */
  uint64_t generation;       /* of the segment when this entry was stored */
  uint32_t segment;
  uint32_t offset;           /* in the segment, a multiple of PST_ALIGN */
  uint32_t length;           /* bytes, at most PST_RANGE_BYTES; fewer only for a file's last range */
  uint32_t crc32c;           /* of the bytes; checked when an arena or object is adopted */
  uint32_t flags;
  uint32_t expires_ds;       /* tenths of a second after clock_base_ns; 0 never */
};
PST_CHECK_SIZE(struct pst_entry, 64);
PST_CHECK_OFFSET(struct pst_entry, generation, 32);
PST_CHECK_OFFSET(struct pst_entry, flags, 56);

#define PST_BUCKET_ENTRIES 7u
struct pst_bucket {
  uint32_t seq;              /* odd while the writer is in it */
  uint32_t reserved0;
  uint16_t tags[8];          /* 0: empty; tags[7] is unused */
  uint64_t reserved[5];
  struct pst_entry entries[PST_BUCKET_ENTRIES];
};
PST_CHECK_SIZE(struct pst_bucket, 512);
PST_CHECK_OFFSET(struct pst_bucket, tags, 8);
PST_CHECK_OFFSET(struct pst_bucket, entries, 64);

/* A process's private, already validated view of the mappings. Immutable once built. */
struct pst_view {
  const struct pst_index_header* header;
  const struct pst_bucket* buckets;
  const uint64_t* generations;
  const unsigned char* arena;
  uint64_t bucket_mask;
  uint64_t segment_count;
  int64_t clock_base_ns;
};

/* Checks everything that a reader relies on. 0, or -1 if the memory is not a usable index. */
static inline int pst_view_init(struct pst_view* view, const void* index, uint64_t index_bytes,
                                const void* arena, uint64_t arena_bytes) {
  const struct pst_index_header* h = (const struct pst_index_header*)index;
  if (index_bytes < sizeof *h || h->magic != PST_INDEX_MAGIC || h->major != PST_ABI_MAJOR) return -1;
  uint64_t bucket_offset = h->bucket_offset, bucket_count = h->bucket_count;
  uint64_t segment_offset = h->segment_offset, segment_count = h->segment_count;
  if (h->index_bytes > index_bytes || h->arena_bytes > arena_bytes) return -1;
  if (bucket_count == 0 || (bucket_count & (bucket_count - 1)) != 0) return -1;
  if (bucket_offset % sizeof(struct pst_bucket) != 0 || bucket_offset < sizeof *h) return -1;
  if (bucket_offset > index_bytes ||
      bucket_count > (index_bytes - bucket_offset) / sizeof(struct pst_bucket)) return -1;
  if (segment_count > PST_MAX_SEGMENTS || segment_offset % 8 != 0 || segment_offset < sizeof *h) return -1;
  if (segment_offset > index_bytes || segment_count > (index_bytes - segment_offset) / 8) return -1;
  if (segment_count > arena_bytes >> PST_SEGMENT_SHIFT) return -1;
  if (h->mount_count > PST_MAX_MOUNTS) return -1;
  view->header = h;
  view->buckets = (const struct pst_bucket*)((const unsigned char*)index + bucket_offset);
  view->generations = (const uint64_t*)((const unsigned char*)index + segment_offset);
  view->arena = (const unsigned char*)arena;
  view->bucket_mask = bucket_count - 1;
  view->segment_count = segment_count;
  view->clock_base_ns = h->clock_base_ns;
  return 0;
}

static inline uint16_t pst_hash_tag(uint64_t hash) { return (uint16_t)((hash >> 48) | 1u); }
static inline uint64_t pst_hash_bucket(uint64_t hash, uint64_t mask, unsigned which) {
  uint64_t first = hash & mask;
  if (which == 0) return first;
  return (first ^ ((((uint64_t)pst_hash_tag(hash) * 0x5bd1e995u) | 1u) & mask)) & mask;
}

static inline int pst_key_equal(const struct pst_key* a, const struct pst_key* b) {
  return ((a->id.lo ^ b->id.lo) | (a->id.hi ^ b->id.hi) | (a->version ^ b->version) |
          (uint64_t)((a->ns ^ b->ns) | (a->range ^ b->range))) == 0;
}

/* Loads an entry if it has this key; the bucket's seq decides later whether that means anything. Word by
 * word, for loads that are not torn, and compared in registers: a copy in memory that is read back in other
 * widths costs a store-forwarding stall at each hit. */
static inline int pst_entry_load_if(struct pst_entry* to, const struct pst_entry* from,
                                    const struct pst_key* key) {
  const uint64_t* source = (const uint64_t*)(const void*)from;
  uint64_t place = (uint64_t)key->ns | ((uint64_t)key->range << 32);
  uint64_t word;
  if (((PST_LOAD_RELAXED(&source[0]) ^ key->id.lo) | (PST_LOAD_RELAXED(&source[1]) ^ key->id.hi) |
       (PST_LOAD_RELAXED(&source[2]) ^ key->version) | (PST_LOAD_RELAXED(&source[3]) ^ place)) != 0)
    return 0;
  to->key.id.lo = key->id.lo;
  to->key.id.hi = key->id.hi;
  to->key.version = key->version;
  to->key.ns = key->ns;
  to->key.range = key->range;
  to->generation = PST_LOAD_RELAXED(&source[4]);
  word = PST_LOAD_RELAXED(&source[5]);
  to->segment = (uint32_t)word;
  to->offset = (uint32_t)(word >> 32);
  word = PST_LOAD_RELAXED(&source[6]);
  to->length = (uint32_t)word;
  to->crc32c = (uint32_t)(word >> 32);
  word = PST_LOAD_RELAXED(&source[7]);
  to->flags = (uint32_t)word;
  to->expires_ds = (uint32_t)(word >> 32);
  return 1;
}

#ifndef PST_BUCKET_SPINS /* the model test makes it small */
#define PST_BUCKET_SPINS 64
#endif

/* Looks in one bucket. 1 found, 0 not found or the writer was in the way for too long. */
static inline int pst_bucket_find(const struct pst_bucket* bucket, uint16_t tag,
                                  const struct pst_key* key, struct pst_entry* out) {
  for (int spin = 0; spin < PST_BUCKET_SPINS; spin++) {
    uint32_t seq = PST_LOAD_ACQUIRE(&bucket->seq);
    int found = 0;
    if (seq & 1u) continue;
    /* No branch for each tag: which one matches cannot be predicted. */
    unsigned match = 0;
    for (unsigned i = 0; i < PST_BUCKET_ENTRIES; i++)
      match |= (unsigned)(PST_LOAD_RELAXED(&bucket->tags[i]) == tag) << i;
    for (; match != 0 && !found; match &= match - 1)
      found = pst_entry_load_if(out, &bucket->entries[__builtin_ctz(match)], key);
    PST_FENCE_ACQUIRE();
    if (PST_LOAD_RELAXED(&bucket->seq) == seq) return found;
  }
  return 0;
}

/* R1's check. Also the cheap test before a copy. */
static inline int pst_entry_current(const struct pst_view* view, const struct pst_entry* entry) {
  PST_FENCE_ACQUIRE();
  return PST_LOAD_RELAXED(&view->generations[entry->segment]) == entry->generation;
}

/* Finds `key`. 1: `out` is an entry whose place was inside the arena and current a moment ago; copy
 * from pst_entry_bytes() and then ask pst_entry_current(). 0: a miss. Expiry is the caller's business. */
static inline int pst_find(const struct pst_view* view, const struct pst_key* key,
                           struct pst_entry* out) {
  uint64_t hash = pst_key_hash(key);
  uint16_t tag = pst_hash_tag(hash);
  if (!pst_bucket_find(&view->buckets[pst_hash_bucket(hash, view->bucket_mask, 0)], tag, key, out) &&
      !pst_bucket_find(&view->buckets[pst_hash_bucket(hash, view->bucket_mask, 1)], tag, key, out))
    return 0;
  if (out->segment >= view->segment_count || out->length > PST_RANGE_BYTES ||
      out->offset > PST_SEGMENT_BYTES - out->length)
    return 0;
  return pst_entry_current(view, out);
}

static inline const unsigned char* pst_entry_bytes(const struct pst_view* view,
                                                   const struct pst_entry* entry) {
  return view->arena + ((uint64_t)entry->segment << PST_SEGMENT_SHIFT) + entry->offset;
}

/* ---- The writer's half of the protocol. Only the sidecar's core thread calls these. ---- */

static inline void pst_bucket_store(struct pst_bucket* bucket, unsigned i, uint16_t tag,
                                    const struct pst_entry* entry) {
  uint32_t seq = PST_LOAD_RELAXED(&bucket->seq);
  uint64_t words[8];
  uint64_t* target = (uint64_t*)(void*)&bucket->entries[i];
  __builtin_memcpy(words, entry, sizeof words);
  PST_STORE_RELAXED(&bucket->seq, seq + 1); /* W2 */
  PST_FENCE_RELEASE();
  PST_STORE_RELAXED(&bucket->tags[i], tag);
  for (unsigned w = 0; w < 8; w++) PST_STORE_RELAXED(&target[w], words[w]);
  PST_STORE_RELEASE(&bucket->seq, seq + 2); /* W3: bytes were written before this in program order */
}

static inline void pst_bucket_clear(struct pst_bucket* bucket, unsigned i) {
  uint32_t seq = PST_LOAD_RELAXED(&bucket->seq);
  PST_STORE_RELAXED(&bucket->seq, seq + 1);
  PST_FENCE_RELEASE();
  PST_STORE_RELAXED(&bucket->tags[i], (uint16_t)0);
  PST_STORE_RELEASE(&bucket->seq, seq + 2);
}

/* W5: a successor adopts the memory of a writer that is dead. A bucket whose seq is odd was being changed: which
 * of its entries is half old and half new cannot be told, so all of them go, while readers still keep
 * away. 1 if that was so. */
static inline int pst_bucket_repair(struct pst_bucket* bucket) {
  uint32_t seq = PST_LOAD_RELAXED(&bucket->seq);
  if ((seq & 1u) == 0) return 0;
  for (unsigned i = 0; i < PST_BUCKET_ENTRIES; i++) PST_STORE_RELAXED(&bucket->tags[i], (uint16_t)0);
  PST_STORE_RELEASE(&bucket->seq, seq + 1);
  return 1;
}

/* W4: after this returns, bytes of the segment may be overwritten. */
static inline void pst_segment_recycle(uint64_t* generation, uint64_t next) {
  PST_STORE_RELAXED(generation, next);
  PST_FENCE_RELEASE();
}
