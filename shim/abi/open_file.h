/* The open-file table: what POSIX calls an open file description, one 64-byte line each, in memory that
 * all clients of a job map for writing. An offset shared by dup, fork and exec lives here; in the usual
 * case only one process ever touches the line.
 *
 * Ownership: the sidecar leases slots to sessions. A session opens a file in a leased slot
 * (pst_slot_open) and may reuse it after close as long as the process has not forked or exec'ed since
 * the open; otherwise the sidecar frees it when the last process that can hold it is gone.
 *
 * `word` is (generation << 48) | offset. A process that still believes in an older generation fails its
 * compare-and-swap and gets EBADF; it never moves somebody else's offset.
 *
 * Generations are even; materialising sets the low bit. All sharers must end up on one open file, so:
 *   1. a client asks MATERIALIZE with the slot and its even generation. The sidecar keeps ONE open file
 *      for (slot, generation) and gives every asker a duplicate of it; it does not touch the slot.
 *   2. the client freezes the slot: compare-and-swap of the word from (g, offset) to (g | 1, offset).
 *      From then on every claim at g fails. Whoever wins sets the open file's offset with lseek and then
 *      stores state PST_SLOT_MATERIALIZED; the others wait for that, and stand in for a winner that died.
 *
 * Reservation: each slot has a socket inode named by its decimal number in the job's folder
 * PST_OPEN_FILE_DIR. A covered fd is an O_PATH descriptor of that inode, so an fd describes itself after
 * exec (readlink of /proc/self/fd/N ends in "/" PST_OPEN_FILE_DIR "/<slot>") and every native use of it
 * that was missed fails loudly.
 */
#pragma once

#include "shim/abi/abi.h"
#include "shim/abi/key.h"

#define PST_OPEN_FILE_MAGIC 0x464f4950u /* "PIOF" */
#define PST_OPEN_FILE_SLOTS 65536u
#define PST_JOB_FOLDER_SUFFIX ".d"     /* the job's folder: the socket's path and this */
#define PST_OPEN_FILE_DIR ".penstock-fd"
/* Mode of the files that covered fds become when they are made real: by it and by its name (docs/object-format.md)
 * a program knows one that it inherits. */
#define PST_OBJECT_MODE 0444u
#define PST_SHADOW_DIR ".penstock-dir"  /* shadow directories: PST_SHADOW_DIR/<mount index>/<path> */
#define PST_SHADOW_ABOVE '^'            /* PST_SHADOW_DIR/<mount index>^<n>: the folder n levels above the mount */

#define PST_OFFSET_BITS 48u
#define PST_OFFSET_MASK ((1ull << PST_OFFSET_BITS) - 1)

/* slot states */
#define PST_SLOT_FREE 0u
#define PST_SLOT_OPEN 1u
#define PST_SLOT_MATERIALIZED 2u  /* all sharers use the file that the sidecar keeps for this slot */

struct pst_slot {
  uint64_t word;
  uint32_t state;
  uint32_t ns;
  struct pst_key128 id;
  uint64_t version;
  uint64_t size;
  uint32_t open_flags;     /* O_* status flags */
  uint32_t shared;         /* 1 once the opener has forked or exec'ed with it open */
  uint64_t session;        /* the session that opened it */
};
PST_CHECK_SIZE(struct pst_slot, 64);
PST_CHECK_OFFSET(struct pst_slot, id, 16);
PST_CHECK_OFFSET(struct pst_slot, session, 56);

struct pst_open_file_table {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint64_t job;            /* random, of the job's folder: a table is adopted only by its own job */
  uint64_t slot_count;
  uint64_t reserved[5];
  /* slot_count slots follow at PST_SLOTS_OFFSET */
};
PST_CHECK_SIZE(struct pst_open_file_table, 64);
#define PST_SLOTS_OFFSET 4096u
#define PST_OPEN_FILE_BYTES (PST_SLOTS_OFFSET + (uint64_t)PST_OPEN_FILE_SLOTS * sizeof(struct pst_slot))

static inline uint64_t pst_word_offset(uint64_t word) { return word & PST_OFFSET_MASK; }
static inline uint32_t pst_word_generation(uint64_t word) { return (uint32_t)(word >> PST_OFFSET_BITS); }

/* Claims [offset, offset + n) for a read of at most `count` bytes of a file of `size` bytes.
 * Returns the claimed byte count (0 at end of file) and its start in *offset, or -1 if the slot is not
 * at `generation` any more. */
static inline int64_t pst_slot_claim(struct pst_slot* slot, uint32_t generation, uint64_t size,
                                     uint64_t count, uint64_t* offset) {
  uint64_t word = PST_LOAD_RELAXED(&slot->word);
  for (;;) {
    uint64_t at = pst_word_offset(word), n;
    if (pst_word_generation(word) != generation) return -1;
    n = at >= size ? 0 : size - at;
    if (n > count) n = count;
    *offset = at;
    if (n == 0) return 0;
    if (PST_CAS(&slot->word, &word, word + n)) return (int64_t)n;
  }
}

/* Gives back the part of a claim that could not be read, if nobody moved the offset meanwhile. */
static inline void pst_slot_unclaim(struct pst_slot* slot, uint32_t generation, uint64_t from,
                                    uint64_t to) {
  uint64_t word = ((uint64_t)generation << PST_OFFSET_BITS) | from;
  (void)PST_CAS(&slot->word, &word, ((uint64_t)generation << PST_OFFSET_BITS) | to);
}

/* lseek: the offset becomes `by`, or, if `relative`, `by` more than it is. The new offset; PST_SEEK_STALE if the
 * generation moved, PST_SEEK_RANGE if it would be negative or beyond PST_OFFSET_MASK. */
#define PST_SEEK_STALE (-1)
#define PST_SEEK_RANGE (-2)
static inline int64_t pst_slot_seek(struct pst_slot* slot, uint32_t generation, int64_t by, int relative) {
  uint64_t word = PST_LOAD_RELAXED(&slot->word);
  for (;;) {
    int64_t target = by;
    uint64_t moved;
    if (pst_word_generation(word) != generation) return PST_SEEK_STALE;
    if (relative && __builtin_add_overflow((int64_t)pst_word_offset(word), by, &target)) return PST_SEEK_RANGE;
    if (target < 0 || target > (int64_t)PST_OFFSET_MASK) return PST_SEEK_RANGE;
    moved = ((uint64_t)generation << PST_OFFSET_BITS) | (uint64_t)target;
    if (moved == word || PST_CAS(&slot->word, &word, moved)) return target;
  }
}
