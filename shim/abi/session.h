/* Session memory: the small writable area between one client process and the sidecar.
 *
 * A request slot is claimed by a thread of the client (FREE -> CLAIMED by compare-and-swap), filled,
 * SUBMITTED, announced in `submitted` (one bit a slot) and by a write to the doorbell eventfd. The
 * sidecar takes the bits, copies the request out before it validates it, answers into the same slot and
 * sets DONE with a futex wake (process-shared). The client reads the answer and sets FREE. A client that
 * gives up swaps SUBMITTED -> ABANDONED; the sidecar frees the slot when it is done with it. A request
 * with PST_REQUEST_NOWAIT is freed by the sidecar.
 *
 * Whatever a client writes here can only hurt its own session.
 */
#pragma once

#include "shim/abi/abi.h"
#include "shim/abi/key.h"
#include "shim/abi/record.h"

#define PST_SESSION_MAGIC 0x53534550u /* "PESS" */
#define PST_REQUEST_SLOTS 64u
#define PST_COUNTER_LINES 64u
#define PST_ACCESS_LOG_ENTRIES 2048u

/* request states (futex word) */
#define PST_REQUEST_FREE 0u
#define PST_REQUEST_CLAIMED 1u
#define PST_REQUEST_SUBMITTED 2u
#define PST_REQUEST_DONE 3u
#define PST_REQUEST_ABANDONED 4u

/* Operations. "in:" what the client fills besides op, ns, id, path (buffer, path_len), deadline_ns.
 * err is 0 or a positive errno. */
#define PST_OP_LOOKUP 1u       /* out: attr (kind ABSENT with err); publishes the name record */
#define PST_OP_FETCH 2u        /* in: version, offset, length; publishes at least the first range of it
                                  and goes on with the rest; err ESTALE if the version is gone. out, since 4.1:
                                  length = PST_FETCHED_FROM_NVME if the first range came from there */
#define PST_OP_LIST 3u         /* in: offset = number of the page wanted, version = listing_id that is
                                  being read or 0; out: version = listing_id, length = pages, 0 while
                                  more may come; publishes the page wanted, if there is one */
#define PST_OP_MATERIALIZE 4u  /* in: version, offset, length (0: all), slot + generation or
                                  PST_NO_SLOT; waits until the range is in the object's file;
                                  out: ticket for an fd (handshake.h) */
#define PST_OP_DIRECTORY 5u    /* in: offset = levels above the mount, of a folder that is not on disk (path is
                                  then empty); out: ticket for an fd of the shadow directory */
#define PST_OP_LEASE 6u        /* in: length = slots wanted; out: length = n, buffer = n uint32_t */
#define PST_OP_READ 7u         /* in: version, offset, length <= PST_PATH_MAX (path is looked up by
                                  key); out: length, buffer = the bytes. The slow lane that makes
                                  progress when the arena is overrun */
#define PST_OP_NAME 8u         /* out: buffer = path of key, path_len, attr: for an inherited slot */
#define PST_OP_LISTING_READ 9u /* in: version = listing_id (0: any), offset, length; out: length, version,
                                  buffer = bytes of a page's header and entries: the slow lane of readdir.
                                  Page n begins at offset n * PST_RANGE_BYTES; length 0: its end */

#define PST_OP_UNLOCK 10u      /* in: slot + generation; a hint, since 4.2: the sidecar lets go of the open file
                                  that it keeps for the slot if that holds a lock, which would outlive
                                  the programs that have it open */

#define PST_REQUEST_NOWAIT 1u  /* flags: a hint (FETCH and UNLOCK only); nobody waits */
#define PST_REQUEST_OPENS 2u   /* flags (LOOKUP only): it will be read from its beginning, its first
                                  bytes may come along */
#define PST_FETCHED_FROM_NVME (1ull << 63)
#define PST_NO_SLOT 0xFFFFFFFFu

struct pst_request {
  uint32_t state;
  uint32_t op;
  uint32_t ns;
  uint32_t flags;
  struct pst_key128 id;
  uint64_t version;
  uint64_t offset;
  uint64_t length;
  int64_t deadline_ns;       /* CLOCK_MONOTONIC, absolute */
  uint32_t path_len;
  int32_t err;
  uint64_t ticket;
  uint32_t slot;             /* open-file slot, or PST_NO_SLOT; also names the cursor for read-ahead */
  uint32_t slot_generation;
  uint64_t reserved0[3];
  struct pst_attr attr;
  uint64_t reserved1[10];
};
PST_CHECK_SIZE(struct pst_request, 256);
PST_CHECK_OFFSET(struct pst_request, id, 16);
PST_CHECK_OFFSET(struct pst_request, path_len, 64);
PST_CHECK_OFFSET(struct pst_request, attr, 112);

/* Counters: one line for each thread of the client that lives (beyond 64 some share a line, and a count may
 * then be lost). The sidecar sums them for `penstock stat`. */
struct pst_counters {
  uint64_t hits_memory;      /* read calls served from the arena */
  uint64_t bytes_memory;
  uint64_t hits_nvme;        /* read calls whose bytes came from the NVMe tier */
  uint64_t misses;           /* read calls that had to ask */
  uint64_t passthrough;      /* calls on covered paths that went to a real fd (materialised) */
  uint64_t hits_name;        /* open, stat, access served from the index */
  uint64_t reserved[2];
};
PST_CHECK_SIZE(struct pst_counters, 64);

struct pst_session {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint64_t session_id;
  uint64_t incarnation;
  uint64_t reserved0[5];
  uint64_t submitted;        /* own line: bit i = slot i was submitted */
  uint64_t reserved1[7];
  uint64_t log_head;         /* own line: total entries ever written; lossy */
  uint64_t reserved2[7];
  struct pst_counters counters[PST_COUNTER_LINES];
  uint64_t log[PST_ACCESS_LOG_ENTRIES]; /* (segment << 32) | offset / PST_ALIGN of entries that were hit */
  struct pst_request requests[PST_REQUEST_SLOTS];
  unsigned char buffers[PST_REQUEST_SLOTS][PST_PATH_MAX]; /* path in; bytes out */
};
PST_CHECK_OFFSET(struct pst_session, submitted, 64);
PST_CHECK_OFFSET(struct pst_session, log_head, 128);
PST_CHECK_OFFSET(struct pst_session, counters, 192);
PST_CHECK_OFFSET(struct pst_session, log, 192 + 64 * PST_COUNTER_LINES);
PST_CHECK_SIZE(struct pst_session, 192 + 64 * PST_COUNTER_LINES + 8 * PST_ACCESS_LOG_ENTRIES +
                                       PST_REQUEST_SLOTS * (256 + PST_PATH_MAX));
