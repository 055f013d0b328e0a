/* The key of everything that is cached: (namespace, 128-bit key, version, range).
 *
 * For files the 128-bit key is XXH3-128 of the path relative to its mount (no leading or trailing
 * slash, "" for the mount itself). A KV block will bring a namespace of its own kind and its own keys.
 * Keys can collide in theory, so the full name is compared with the name record at open; from then on
 * (key, version) names the content: `version` is a 64-bit digest of the origin's version token that is
 * seeded with the full name.
 */
#pragma once

#include "shim/abi/abi.h"

struct pst_key128 {
  uint64_t lo;
  uint64_t hi;
};
PST_CHECK_SIZE(struct pst_key128, 16);

/* Namespace: kind in the high byte, for files the number of the mount below. */
#define PST_NS_FILES 0x01000000u
#define PST_NS_KV 0x02000000u
#define PST_NS_INDEX_MASK 0x00FFFFFFu

struct pst_key {
  struct pst_key128 id;
  uint64_t version; /* 0 for records about a name rather than about one version's content */
  uint32_t ns;
  uint32_t range;   /* data: offset / PST_RANGE_BYTES; else one of the numbers below */
};
PST_CHECK_SIZE(struct pst_key, 32);

#define PST_RANGE_DATA_MAX 0x7FFFFFFFu  /* the last number for data (2^47 bytes) */
#define PST_RANGE_NAME 0x80000000u      /* the name record (record.h) */
#define PST_RANGE_LISTING 0xC0000000u   /* + page: a page of a directory listing (record.h) */
#define PST_LISTING_PAGES_MAX 0x00FFFFFFu /* pages; + this: the listing's head */

static inline uint64_t pst_mix64(uint64_t x) {
  x ^= x >> 32; /* the finalizer of splitmix64's family (Stafford's mix 13 shape) */
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 29;
  x *= 0x94d049bb133111ebull;
  x ^= x >> 32;
  return x;
}

static inline uint64_t pst_key_hash(const struct pst_key* key) {
  uint64_t place = ((uint64_t)key->ns << 32) | key->range;
  return pst_mix64(key->id.lo ^ (key->version * 0x9e3779b97f4a7c15ull) ^
                   (place * 0xd6e8feb86659fd93ull));
}

/* The number that stat and readdir show for a name: never 0, positive for those who sign it. */
static inline uint64_t pst_inode(uint32_t ns, struct pst_key128 id) {
  uint64_t ino = (id.lo ^ (id.hi >> 7) ^ (ns & PST_NS_INDEX_MASK)) >> 1;
  return ino != 0 ? ino : 1;
}
