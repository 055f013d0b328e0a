/* Records about names: objects in the arena like any other, found under PST_RANGE_NAME and
 * PST_RANGE_LISTING. A reader copies a record out, checks the entry's generation, and only then looks
 * at the copy, with every length checked against the copy's size. */
#pragma once

#include "shim/abi/abi.h"

#define PST_NAME_MAGIC 0x4d414e50u    /* "PNAM" */
#define PST_LISTING_MAGIC 0x54534c50u /* "PLST" */
#define PST_LISTING_HEAD_MAGIC 0x44484c50u /* "PLHD" */

/* kinds */
#define PST_KIND_ABSENT 0u
#define PST_KIND_FILE 1u
#define PST_KIND_DIRECTORY 2u

struct pst_attr {
  uint64_t size;
  uint64_t version;    /* digest of the origin's version token, seeded with the name; never 0 for a file */
  int64_t mtime_ns;    /* since 1970 */
  uint64_t ino;        /* stable for a name; never 0 */
  uint32_t kind;
  uint32_t mode;       /* permission bits, and PST_MODE_GIVEN if they are the origin's own */
  uint32_t nlink;
  int32_t err;         /* PST_KIND_ABSENT: the errno to give (ENOENT, EACCES, ...) */
  uint64_t reserved[2];
};
PST_CHECK_SIZE(struct pst_attr, 64);
PST_CHECK_OFFSET(struct pst_attr, kind, 32);

/* Object stores know no permissions: theirs are made up, and whether a file may be executed is not known. */
#define PST_MODE_GIVEN 01000u

struct pst_name_record {
  uint32_t magic;
  uint32_t name_len;
  uint64_t reserved;
  struct pst_attr attr;
  /* name_len bytes: the path relative to the mount, as in the key; no NUL */
};
PST_CHECK_SIZE(struct pst_name_record, 80);
#define PST_NAME_RECORD_MAX (sizeof(struct pst_name_record) + PST_PATH_MAX)

/* One page of a directory. All pages of one listing carry the same listing_id; a reader that meets
 * another id starts over. "." and ".." are not in it.
 *
 * A page is the header and the entries (`bytes`), which is all that a reader of the directory copies,
 * and behind them what is known about each name, so that stat needs no record of its own:
 *   attrs_at   `count` pst_listing_attr, in the order of the entries
 *   finder_at  `finder_slots` uint16_t (a power of two): offset / 8 of the entry whose key hashes
 *              there (pst_listing_slot) or to a slot before it without a gap; 0: none
 *   path_at    the directory's path relative to the mount, path_len bytes, no NUL
 * Names are in one order over all pages (pst_listing_compare). Found by shim/abi/listing.h. */
struct pst_listing_page {
  uint32_t magic;
  uint32_t bytes;        /* of header and entries; at most PST_RANGE_BYTES */
  uint32_t page;
  uint32_t pages;        /* at least 1; 0: more are to come, or came later (pst_listing_head) */
  uint32_t count;        /* entries in this page */
  uint32_t flags;        /* PST_LISTING_WHOLE */
  uint64_t listing_id;
  uint64_t total_count;  /* 0 while `pages` is */
  uint32_t first;        /* number of the first entry in the whole listing */
  uint32_t attrs_at;     /* a multiple of 8 */
  uint32_t finder_at;
  uint32_t finder_slots;
  uint32_t path_at;
  uint32_t path_len;
};
PST_CHECK_SIZE(struct pst_listing_page, 64);
PST_CHECK_OFFSET(struct pst_listing_page, listing_id, 24);
PST_CHECK_OFFSET(struct pst_listing_page, first, 40);

/* A name that is not in the listing is not there. (Else it may have been left out.) */
#define PST_LISTING_WHOLE 1u

/* What a listing told about a name. */
struct pst_listing_attr {
  uint64_t size_mode;    /* bits 0 to 47: size of a file; from 48: mode as in pst_attr, 0: not given */
  uint64_t version;      /* as in pst_attr; 0 for a file: not known any more, ask */
  int64_t mtime_ns;
  uint64_t token;        /* the sidecar's: the origin's version token, packed; 0: not known */
};
PST_CHECK_SIZE(struct pst_listing_attr, 32);
PST_STATIC_ASSERT(PST_MAX_FILE_BYTES <= 1ull << 48, "a size fits in a listing");

static inline uint64_t pst_listing_pack(uint64_t size, uint32_t mode) {
  return size | (uint64_t)mode << 48;
}
static inline uint64_t pst_listing_size(const struct pst_listing_attr* attr) {
  return attr->size_mode & ((1ull << 48) - 1);
}
static inline uint32_t pst_listing_mode(const struct pst_listing_attr* attr) {
  return (uint32_t)(attr->size_mode >> 48);
}

/* How far a listing has come that is published while it comes: one for a directory, found under
 * PST_RANGE_LISTING + PST_LISTING_PAGES_MAX. Its pages say `pages` 0, but for the last one. */
struct pst_listing_head {
  uint32_t magic;        /* PST_LISTING_HEAD_MAGIC */
  uint32_t pages;        /* that have come */
  uint32_t complete;     /* 1: those are all */
  uint32_t flags;        /* PST_LISTING_WHOLE */
  uint64_t listing_id;
  uint64_t total_count;  /* of those that have come */
  uint32_t path_len;     /* of the directory's path, which follows, as in a page */
  uint32_t reserved0;
  uint64_t reserved[3];
};
PST_CHECK_SIZE(struct pst_listing_head, 64);

/* An entry; the first one lies behind the header, each next one behind the last. As Linux's struct
 * linux_dirent64, so that readdir hands entries out where they lie in its copy of a page. A reader
 * takes an entry of its copy only if record_bytes is a multiple of 8 from sizeof(pst_listing_entry)
 * to PST_LISTING_ENTRY_BYTES(255), the record ends inside the page and its last byte is 0, so that
 * the name has an end; else the page is not sound. */
struct pst_listing_entry {
  uint64_t ino;
  int64_t next;          /* what telldir says behind it: 3 + its number in the whole listing */
  uint16_t record_bytes; /* of this entry with its name and padding, a multiple of 8 */
  uint8_t type;          /* PST_LISTING_FILE or PST_LISTING_DIRECTORY */
  char name[5];          /* 1 to 255 bytes, then zeros to the record's end, past the struct */
};
PST_CHECK_SIZE(struct pst_listing_entry, 24);
PST_CHECK_OFFSET(struct pst_listing_entry, name, 19);
#define PST_LISTING_ENTRY_BYTES(name_len) ((19u + (name_len) + 1u + 7u) & ~7u)
#define PST_LISTING_DIRECTORY 4u /* libc's DT_DIR */
#define PST_LISTING_FILE 8u      /* and DT_REG */
