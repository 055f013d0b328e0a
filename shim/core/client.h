// The client: one session with the sidecar, questions and answers.
//
// Joining is lazy, at the first covered call that needs it. A forked child goes on reading through its
// parent's mappings; at its first question it finds that the session is not its own (a page that the
// kernel wipes at fork) and joins by itself. When the sidecar dies, hits go on and a question reconnects
// for PENSTOCK_WAIT; then EIO, fast for a second, then another try.
//
// Thread safety: all functions from any thread and from signal handlers: no allocation, and signals are
// blocked while the one lock (joining) is held. Errors are positive errno values, 0 is success.
#pragma once

#include <stdint.h>

#include "shim/abi/session.h"
#include "shim/core/hook.h"
#include "shim/core/view.h"

namespace penstock {

// A question. Lifetime of pointers: the call.
struct Ask {
  uint32_t op = 0;                  // PST_OP_*
  uint32_t ns = 0;
  uint32_t flags = 0;               // PST_REQUEST_NOWAIT
  pst_key128 id = {0, 0};
  uint64_t version = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint32_t slot = PST_NO_SLOT;
  uint32_t slot_generation = 0;
  const char* path = nullptr;       // relative to the mount
  uint32_t path_len = 0;
  void* reply = nullptr;            // receives up to reply_capacity bytes of the answer's buffer
  uint32_t reply_capacity = 0;
};

struct Answer {
  int err;                          // 0 or a positive errno
  uint32_t path_len;                // PST_OP_NAME
  uint64_t version;
  uint64_t length;                  // clamped to what was copied into reply for ops with bytes
  uint64_t ticket;
  pst_attr attr;
};

// Asks and waits (30 s and 5 s of grace for each of at most five sessions that end meanwhile; a large file's
// fill as long as the sidecar lives). Returns answer->err. EIO: no sidecar, or the deadline.
PST_COLD int PstAsk(const Ask& ask, Answer* answer);

// Sends a hint that nobody waits for (Ask::flags gets PST_REQUEST_NOWAIT); dropped when not joined or
// when no request slot is free. Never blocks.
PST_COLD void PstHint(const Ask& ask);

// Exchanges a ticket for its fd (CLOEXEC, any number). -errno on failure.
PST_COLD int PstTicketFd(uint64_t ticket);

// Materialize/Directory in one step: asks, fetches the fd. -errno on failure.
PST_COLD int PstAskFd(const Ask& ask, Answer* answer);

// The fd of the job's PST_OPEN_FILE_DIR folder, revalidated; -errno if it can't be had.
PST_COLD int PstSlotFolderFd();

// Is `fd` one of the library's own descriptors (programs close everything)?
bool PstFdIsOwn(int fd);

// The program or the kernel took number `fd` away from us: forget it, rejoin when needed.
PST_COLD void PstOwnFdGone(int fd);

// Moves a new fd of ours to a high number, CLOEXEC. Closes `fd`. The new number, or -errno.
PST_COLD int PstMoveHigh(int fd);

// ---- counters: this thread's line in session memory; before joining nothing ----

// What belongs to this process alone: one page that the kernel wipes in a forked child, however the fork
// was made. All zero: not joined, nothing leased.
struct alignas(4096) ClientPage {
  pst_session* session;      // null in a forked child until it joined
  uint32_t joining;          // futex: 0 free, 1 held
  uint32_t epoch;            // see fd_table.h; 0 in a child until it joined or PstAfterForkChild ran
  uint64_t session_id;
  int64_t quiet_until_ns;    // no sidecar answered: fail fast until then
  uint32_t failed;           // the last try to join failed after the full wait
  uint32_t dead;             // the sidecar behind `session` is gone
  uint64_t pool_head;        // slots.cc: (tag << 32) | slot + 1, the stack of leased free slots
  struct Warm {
    uint32_t state;          // slots.cc
    uint32_t slot;
    int32_t fd;
    uint32_t reserved;
  } warm[8];
  int32_t line_owner[PST_COUNTER_LINES];  // thread ids: whose counter line it is, 0 nobody's yet
};
static_assert(sizeof(ClientPage) == 4096 && PST_COUNTER_LINES == 64);
extern ClientPage g_client;
extern __thread uint32_t t_line;       // 1 + line, 0 not chosen yet

// Chooses a line that no living thread has, as long as there is one.
PST_COLD void PstChooseLine();

// This thread's line.
PST_INLINE uint32_t PstCounterLine() {
  if (PST_UNLIKELY(t_line == 0)) PstChooseLine();
  return (t_line - 1) % PST_COUNTER_LINES;
}

PST_INLINE pst_counters* PstCounters() {
  pst_session* session = __atomic_load_n(&g_client.session, __ATOMIC_RELAXED);
  if (PST_UNLIKELY(session == nullptr)) return nullptr;
  return &session->counters[PstCounterLine()];
}

// Adds to one counter. Plain stores: where more than 64 threads live some share a line, and a count may be
// lost, which is cheaper than a locked addition at every hit.
PST_INLINE void PstCount(uint64_t pst_counters::*field, uint64_t n = 1) {
  pst_counters* line = PstCounters();
  if (PST_UNLIKELY(line == nullptr)) return;
  uint64_t* count = &(line->*field);
  __atomic_store_n(count, __atomic_load_n(count, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

// Where the bytes of a read call came from: the slowest of its parts.
enum class ReadFrom : uint8_t { kMemory, kNvme, kOrigin };

// One read call: counted in one go, since the fields share the line.
PST_INLINE void PstCountRead(pst_counters* line, ReadFrom from, uint64_t bytes) {
  uint64_t* calls = &line->hits_memory;
  if (PST_UNLIKELY(from != ReadFrom::kMemory))
    calls = from == ReadFrom::kNvme ? &line->hits_nvme : &line->misses;
  __atomic_store_n(calls, __atomic_load_n(calls, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
  uint64_t before = __atomic_load_n(&line->bytes_memory, __ATOMIC_RELAXED);
  __atomic_store_n(&line->bytes_memory, before + bytes, __ATOMIC_RELAXED);
}

}  // namespace penstock
