/* Finding a name in the pages of its directory's listing (record.h), without a copy: what is read where it
 * lies counts only if the segment's generation is still the entry's afterwards. Until then anything may
 * stand there, so every offset is checked against the object's length before it is used.
 *
 * Names are ordered as a flat listing of a Blob container brings them: by bytes, a directory with a slash
 * behind its name. Which page may hold a name is found by comparing with the first entry of pages; in the
 * page the finder, a hash table, leads to the entry. */
#pragma once

#include "shim/abi/index.h"
#include "shim/abi/record.h"

#define PST_LISTED_UNKNOWN (-1) /* a page is missing, or the listing cannot tell: ask */
#define PST_LISTED_NO 0         /* it is not there */
#define PST_LISTED_YES 1

struct pst_listed {
  struct pst_listing_attr attr;
  uint64_t listing_id;
  uint64_t number;      /* of the entry in the whole listing */
  uint32_t kind;        /* PST_KIND_FILE or PST_KIND_DIRECTORY */
  uint32_t page;        /* in which it is */
  uint32_t expires_ds;  /* the earliest of the pages that were read; 0 never */
  uint32_t pages;       /* of the listing, as far as it has come */
};

/* A name to be found in a directory. */
struct pst_listed_name {
  uint32_t ns;
  uint32_t dir_len;
  uint32_t name_len;
  uint32_t reserved;
  struct pst_key128 dir_id;
  struct pst_key128 id; /* of the whole path */
  const char* dir;      /* path relative to the mount */
  const char* name;
};

static inline uint32_t pst_listing_slot(struct pst_key128 id, uint32_t slots) {
  return (uint32_t)(id.hi >> 20) & (slots - 1);
}

/* Smallest power of two that leaves a quarter empty. */
static inline uint32_t pst_listing_slots(uint32_t count) {
  uint32_t slots = 1;
  while (slots < count + count / 3 + 1) slots <<= 1;
  return slots;
}

/* Order of names; `dir` 1 for a directory. Less than, equal to or greater than 0. */
static inline int pst_listing_compare(const char* a, uint32_t a_len, int a_dir, const char* b,
                                      uint32_t b_len, int b_dir) {
  uint32_t shared = a_len < b_len ? a_len : b_len;
  int order = __builtin_memcmp(a, b, shared);
  int next_a, next_b;
  if (order != 0) return order;
  next_a = a_len > shared ? (unsigned char)a[shared] : a_dir ? '/' : -1;
  next_b = b_len > shared ? (unsigned char)b[shared] : b_dir ? '/' : -1;
  if (next_a != next_b) return next_a - next_b;
  /* Both end here, or one goes on with a slash, which no name holds. */
  return a_len == b_len ? 0 : a_len < b_len ? -1 : 1;
}

/* The header of a page that lies in `bytes` bytes. 1 if its parts lie in there. */
static inline int pst_listing_header(const unsigned char* page, uint32_t bytes,
                                     struct pst_listing_page* out) {
  if (bytes < sizeof *out) return 0;
  __builtin_memcpy(out, page, sizeof *out);
  if (out->magic != PST_LISTING_MAGIC || out->bytes < sizeof *out || out->bytes > bytes) return 0;
  if (out->count > bytes / sizeof(struct pst_listing_attr)) return 0;
  if (out->attrs_at > bytes || out->attrs_at % 8 != 0 ||
      out->count * sizeof(struct pst_listing_attr) > bytes - out->attrs_at) return 0;
  if (out->finder_slots == 0 || (out->finder_slots & (out->finder_slots - 1)) != 0) return 0;
  if (out->finder_at > bytes || out->finder_at % 2 != 0 ||
      out->finder_slots > (bytes - out->finder_at) / 2) return 0;
  return out->path_at <= bytes && out->path_len <= bytes - out->path_at;
}

/* The entry at `at`, at most 255 bytes of name. Its length, 0 if it is not sound. */
static inline uint32_t pst_listing_entry_at(const unsigned char* page, uint32_t end, uint32_t at,
                                            struct pst_listing_entry* out) {
  if (at < sizeof(struct pst_listing_page) || at % 8 != 0 || at > end ||
      end - at < sizeof *out) return 0;
  __builtin_memcpy(out, page + at, sizeof *out);
  if (out->record_bytes < sizeof *out || out->record_bytes > PST_LISTING_ENTRY_BYTES(255u) ||
      out->record_bytes > end - at) return 0;
  return out->record_bytes;
}

/* Looks for a key in a page; with a name, only that name is it. The entry's place or 0, and its number in
 * the page. */
static inline uint32_t pst_listing_probe(const unsigned char* page, const struct pst_listing_page* head,
                                         uint32_t ns, struct pst_key128 id, const char* name,
                                         uint32_t name_len, uint32_t* number) {
  const uint64_t ino = pst_inode(ns, id);
  const uint32_t name_at = (uint32_t)offsetof(struct pst_listing_entry, name);
  uint32_t slot = pst_listing_slot(id, head->finder_slots);
  for (uint32_t tries = 0; tries < head->finder_slots; tries++) {
    struct pst_listing_entry entry;
    uint16_t eighth;
    uint32_t at, bytes;
    __builtin_memcpy(&eighth, page + head->finder_at + 2 * slot, sizeof eighth);
    if (eighth == 0) return 0;
    at = 8u * eighth;
    bytes = pst_listing_entry_at(page, head->bytes, at, &entry);
    if (bytes == 0) return 0;
    if (entry.ino == ino && entry.next >= 3 &&
        (name == 0 || (bytes == PST_LISTING_ENTRY_BYTES(name_len) &&
                       __builtin_memcmp(page + at + name_at, name, name_len) == 0 &&
                       page[at + name_at + name_len] == 0))) {
      uint64_t in_page = (uint64_t)(entry.next - 3) - head->first;
      if (in_page >= head->count) return 0;
      *number = (uint32_t)in_page;
      return at;
    }
    slot = (slot + 1) & (head->finder_slots - 1);
  }
  return 0;
}

/* Finds a name in a page that may hold it. */
static inline int pst_listing_find_in(const unsigned char* page, const struct pst_listing_page* head,
                                      const struct pst_listed_name* wanted, struct pst_listed* out) {
  struct pst_listing_entry entry;
  uint32_t number = 0;
  uint32_t at = pst_listing_probe(page, head, wanted->ns, wanted->id, wanted->name, wanted->name_len,
                                  &number);
  if (at == 0) return PST_LISTED_NO;
  __builtin_memcpy(&entry, page + at, sizeof entry);
  __builtin_memcpy(&out->attr, page + head->attrs_at + number * sizeof out->attr, sizeof out->attr);
  out->number = (uint64_t)head->first + number;
  out->kind = entry.type == PST_LISTING_DIRECTORY ? PST_KIND_DIRECTORY : PST_KIND_FILE;
  out->page = head->page;
  return PST_LISTED_YES;
}

/* A page of the directory with its header, if it is there and of `listing_id` (0: any). */
static inline int pst_listing_load(const struct pst_view* view, const struct pst_listed_name* wanted,
                                   uint32_t page, uint64_t listing_id, struct pst_entry* entry,
                                   struct pst_listing_page* head) {
  struct pst_key key;
  const unsigned char* bytes;
  key.id = wanted->dir_id;
  key.version = 0;
  key.ns = wanted->ns;
  key.range = PST_RANGE_LISTING + page;
  if (!pst_find(view, &key, entry)) return 0;
  bytes = pst_entry_bytes(view, entry);
  if (!pst_listing_header(bytes, entry->length, head)) return 0;
  if (head->page != page || (listing_id != 0 && head->listing_id != listing_id)) return 0;
  if (head->path_len != wanted->dir_len) return 0;
  return wanted->dir_len == 0 || __builtin_memcmp(bytes + head->path_at, wanted->dir, wanted->dir_len) == 0;
}

/* How many pages a listing has that began with `first`, and whether those are all. */
static inline int pst_listing_extent(const struct pst_view* view, const struct pst_listed_name* wanted,
                                     const struct pst_listing_page* first, uint32_t* pages, int* all) {
  struct pst_key key;
  struct pst_entry entry;
  struct pst_listing_head head;
  *pages = first->pages;
  *all = (first->flags & PST_LISTING_WHOLE) != 0;
  if (first->pages != 0) return first->pages <= PST_LISTING_PAGES_MAX;
  key.id = wanted->dir_id;
  key.version = 0;
  key.ns = wanted->ns;
  key.range = PST_RANGE_LISTING + PST_LISTING_PAGES_MAX;
  if (!pst_find(view, &key, &entry) || entry.length < sizeof head) return 0;
  __builtin_memcpy(&head, pst_entry_bytes(view, &entry), sizeof head);
  if (!pst_entry_current(view, &entry)) return 0;
  if (head.magic != PST_LISTING_HEAD_MAGIC || head.listing_id != first->listing_id ||
      head.pages == 0 || head.pages > PST_LISTING_PAGES_MAX) return 0;
  *pages = head.pages;
  *all = head.complete == 1 && (head.flags & PST_LISTING_WHOLE) != 0;
  return 1;
}

static inline void pst_listing_sooner(uint32_t* earliest, uint32_t expires_ds) {
  if (expires_ds != 0 && (*earliest == 0 || expires_ds < *earliest)) *earliest = expires_ds;
}

/* One page in hand: the last one whose first entry is not after the name, `dir` 1 as a directory's.
 * Pages before `low` are known not to be it; `entry` and `head` are of page `low`. */
static inline int pst_listing_page_for(const struct pst_view* view, const struct pst_listed_name* wanted,
                                       int dir, uint32_t low, uint32_t pages, uint32_t* earliest,
                                       struct pst_entry* entry, struct pst_listing_page* head) {
  const uint64_t listing_id = head->listing_id;
  const uint32_t name_at = (uint32_t)offsetof(struct pst_listing_entry, name);
  uint32_t high = pages;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    struct pst_entry there;
    struct pst_listing_page page;
    struct pst_listing_entry first;
    const unsigned char* bytes;
    const char* name;
    const char* end;
    uint32_t len;
    int order;
    if (!pst_listing_load(view, wanted, middle, listing_id, &there, &page)) return 0;
    bytes = pst_entry_bytes(view, &there);
    len = pst_listing_entry_at(bytes, page.bytes, sizeof page, &first);
    if (len == 0) return 0;
    name = (const char*)bytes + sizeof page + name_at;
    end = (const char*)__builtin_memchr(name, 0, len - name_at);
    len = end != 0 ? (uint32_t)(end - name) : len - name_at;
    order = pst_listing_compare(wanted->name, wanted->name_len, dir, name, len,
                                first.type == PST_LISTING_DIRECTORY);
    if (!pst_entry_current(view, &there)) return 0;
    pst_listing_sooner(earliest, there.expires_ds);
    if (order < 0) {
      high = middle;
    } else {
      low = middle;
      *entry = there;
      *head = page;
    }
  }
  return 1;
}

/* Looks a name up in its directory's listing. Expiry is the caller's business. PST_LISTED_*; `out` is
 * filled for YES, and but for the attributes for NO. */
static inline int pst_listing_lookup(const struct pst_view* view, const struct pst_listed_name* wanted,
                                     struct pst_listed* out) {
  struct pst_entry entry;
  struct pst_listing_page head;
  uint32_t pages = 0;
  int all = 0, found = PST_LISTED_NO;
  if (!pst_listing_load(view, wanted, 0, 0, &entry, &head)) return PST_LISTED_UNKNOWN;
  if (!pst_entry_current(view, &entry)) return PST_LISTED_UNKNOWN;
  out->listing_id = head.listing_id;
  out->expires_ds = entry.expires_ds;
  if (!pst_listing_extent(view, wanted, &head, &pages, &all)) return PST_LISTED_UNKNOWN;
  out->pages = pages;
  for (int dir = 0; dir < 2 && found == PST_LISTED_NO; dir++) {
    const uint32_t before = head.page;
    if (!pst_listing_page_for(view, wanted, dir, before, pages, &out->expires_ds, &entry, &head))
      return PST_LISTED_UNKNOWN;
    if (dir == 1 && head.page == before) break;
    found = pst_listing_find_in(pst_entry_bytes(view, &entry), &head, wanted, out);
    if (!pst_entry_current(view, &entry)) return PST_LISTED_UNKNOWN;
  }
  return found == PST_LISTED_NO && !all ? PST_LISTED_UNKNOWN : found;
}

/* The mode of a name: the origin's own (PST_MODE_GIVEN), else one for everybody. */
static inline uint32_t pst_shown_mode(uint32_t kind, uint32_t mode, uint32_t mount_flags) {
  if ((mode & PST_MODE_GIVEN) != 0) return mode;
  return (kind == PST_KIND_DIRECTORY ? 0555u : 0444u) | ((mount_flags & PST_MOUNT_RW) != 0 ? 0200u : 0u);
}

/* What stat shows of a name that is listed; PST_LISTED_UNKNOWN if the listing does not say it any more. */
static inline int pst_listed_attr(const struct pst_listed_name* wanted, const struct pst_listed* listed,
                                  uint32_t mount_flags, struct pst_attr* out) {
  const int directory = listed->kind == PST_KIND_DIRECTORY;
  if (!directory && listed->attr.version == 0) return PST_LISTED_UNKNOWN;
  __builtin_memset(out, 0, sizeof *out);
  out->size = directory ? 0 : pst_listing_size(&listed->attr);
  out->version = directory ? 0 : listed->attr.version;
  out->mtime_ns = listed->attr.mtime_ns;
  out->ino = pst_inode(wanted->ns, wanted->id);
  out->kind = listed->kind;
  out->mode = pst_shown_mode(listed->kind, pst_listing_mode(&listed->attr), mount_flags);
  out->nlink = directory ? 2 : 1;
  return PST_LISTED_YES;
}
