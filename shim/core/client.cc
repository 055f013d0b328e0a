#include "shim/core/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/abi/handshake.h"
#include "shim/core/decimal.h"
#include "shim/core/fd_table.h"
#include "shim/core/join.h"
#include "shim/core/own_fd.h"
#include "shim/core/own_place.h"
#include "shim/core/path.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"
#include "shim/core/time.h"

namespace penstock {

__thread uint32_t t_line;

void PstChooseLine() {
  // A thread ends without telling us: its line is free when its id is no thread of ours any more. A few are
  // looked at; where all are alive, lines are shared.
  constexpr uint32_t kLooks = 16;
  auto self = (int32_t)Raw(SYS_gettid);
  auto process = Raw(SYS_getpid);
  uint32_t looks = 0;
  for (uint32_t i = 0; i < PST_COUNTER_LINES; ++i) {
    uint32_t line = ((uint32_t)self + i) % PST_COUNTER_LINES;
    int32_t* place = &g_client.line_owner[line];
    int32_t owner = __atomic_load_n(place, __ATOMIC_RELAXED);
    if (owner != 0 && owner != self) {
      if (looks == kLooks) continue;
      ++looks;
      if (Raw(SYS_tgkill, process, owner, 0) != -ESRCH) continue;
    }
    if (!__atomic_compare_exchange_n(place, &owner, self, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
    t_line = 1 + line;
    return;
  }
  t_line = 1 + (uint32_t)self % PST_COUNTER_LINES;
}

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSliceNs = 100 * kMs;          // between looks at the socket
constexpr int64_t kAnswerNs = 30'000 * kMs;      // the origin's own deadline ...
constexpr int64_t kGraceNs = 5'000 * kMs;        // ... and time to report it
constexpr int64_t kFillNs = 86'400'000 * kMs;    // a large file: as long as the sidecar lives

constexpr int64_t kForgottenNs = 60'000 * kMs;   // past its deadline, an answer's owner is gone

constexpr int kMaxLost = 5;

enum class Outcome { kAnswered, kLost, kTimedOut, kBusy };

int64_t AnswerBudgetNs(const Ask& ask) { return ask.op == PST_OP_MATERIALIZE ? kFillNs : kAnswerNs; }

// Answers that nobody fetched (a siglongjmp out of the wait) long after their deadline are free again.
int ClaimForgotten(pst_session* session) {
  for (uint32_t at = 0; at < PST_REQUEST_SLOTS; ++at) {
    pst_request* request = &session->requests[at];
    uint32_t expected = PST_REQUEST_DONE;
    if (PST_LOAD_ACQUIRE(&request->state) == PST_REQUEST_DONE &&
        PstMonotonicNs() - PST_LOAD_RELAXED(&request->deadline_ns) > kForgottenNs &&
        PST_CAS(&request->state, &expected, PST_REQUEST_CLAIMED))
      return (int)at;
  }
  return -1;
}

// Nobody answers in the memory of a dead sidecar, also when another thread has joined its successor, whose
// socket is alive.
bool StillJoined(const pst_session* session) {
  return __atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE) == session && SidecarAlive();
}

// Claims a request slot; its number, or -1 if all stay busy until the deadline or as long as the session lasts.
int Claim(pst_session* session, int64_t deadline_ns) {
  for (;;) {
    uint32_t start = t_line;
    for (uint32_t i = 0; i < PST_REQUEST_SLOTS; ++i) {
      uint32_t at = (start + i) % PST_REQUEST_SLOTS;
      uint32_t* state = &session->requests[at].state;
      uint32_t expected = PST_REQUEST_FREE;
      if (PST_LOAD_RELAXED(state) == PST_REQUEST_FREE && PST_CAS(state, &expected, PST_REQUEST_CLAIMED))
        return (int)at;
    }
    int forgotten = ClaimForgotten(session);
    if (forgotten >= 0) return forgotten;
    if (PstMonotonicNs() >= deadline_ns || !StillJoined(session)) return -1;
    PstSleepNs(kMs);
  }
}

void Fill(pst_session* session, int at, const Ask& ask, int64_t deadline_ns) {
  pst_request* request = &session->requests[at];
  request->op = ask.op;
  request->ns = ask.ns;
  request->flags = ask.flags;
  request->id = ask.id;
  request->version = ask.version;
  request->offset = ask.offset;
  request->length = ask.length;
  request->deadline_ns = deadline_ns;
  request->slot = ask.slot;
  request->slot_generation = ask.slot_generation;
  request->err = 0;
  request->ticket = 0;
  uint32_t len = ask.path != nullptr && ask.path_len < PST_PATH_MAX ? ask.path_len : 0;
  if (len > 0) memcpy(session->buffers[at], ask.path, len);
  session->buffers[at][len] = 0;
  request->path_len = len;
}

void Submit(pst_session* session, int at, int doorbell) {
  PST_STORE_RELEASE(&session->requests[at].state, PST_REQUEST_SUBMITTED);
  __atomic_fetch_or(&session->submitted, 1ull << at, __ATOMIC_RELEASE);
  uint64_t one = 1;
  Raw(SYS_write, doorbell, &one, sizeof one);
}

// Waits for DONE. Signals only wake us up early.
Outcome Wait(pst_session* session, int at, int64_t deadline_ns) {
  uint32_t* state = &session->requests[at].state;
  int64_t looked_ns = PstMonotonicNs();  // at the sidecar; a profiler's timer may cut every wait short
  for (;;) {
    uint32_t now = PST_LOAD_ACQUIRE(state);
    if (now == PST_REQUEST_DONE) return Outcome::kAnswered;
    if (now != PST_REQUEST_SUBMITTED) return Outcome::kLost;
    int64_t left = deadline_ns - PstMonotonicNs();
    if (left <= 0) {
      uint32_t expected = PST_REQUEST_SUBMITTED;
      if (PST_CAS(state, &expected, PST_REQUEST_ABANDONED)) return Outcome::kTimedOut;
      continue;
    }
    int64_t slice = left < kSliceNs ? left : kSliceNs;
    PstFutexWait(state, PST_REQUEST_SUBMITTED, slice, true);
    if (PST_LOAD_ACQUIRE(state) == PST_REQUEST_DONE) return Outcome::kAnswered;
    if (PstMonotonicNs() - looked_ns < kSliceNs / 2) continue;
    if (!StillJoined(session)) return Outcome::kLost;
    looked_ns = PstMonotonicNs();
  }
}

// Copies the answer out, every number bounded; frees the request.
void TakeAnswer(pst_session* session, int at, const Ask& ask, Answer* answer) {
  pst_request* request = &session->requests[at];
  int32_t err = PST_LOAD_RELAXED(&request->err);
  answer->err = err < 0 || err > 4095 ? EIO : err;
  answer->version = PST_LOAD_RELAXED(&request->version);
  answer->length = PST_LOAD_RELAXED(&request->length);
  answer->ticket = PST_LOAD_RELAXED(&request->ticket);
  answer->path_len = PST_LOAD_RELAXED(&request->path_len);
  answer->attr = request->attr;
  uint64_t bytes = 0;
  if (answer->err == 0 && ask.reply != nullptr) {
    if (ask.op == PST_OP_NAME) {
      if (answer->path_len >= PST_PATH_MAX || answer->path_len >= ask.reply_capacity) answer->err = EIO;
      bytes = answer->path_len;
    } else if (ask.op == PST_OP_LEASE) {
      if (answer->length > ask.reply_capacity / 4) answer->length = ask.reply_capacity / 4;
      bytes = answer->length * 4;
    } else {
      if (answer->length > ask.reply_capacity) answer->length = ask.reply_capacity;
      if (answer->length > PST_PATH_MAX) answer->length = PST_PATH_MAX;
      bytes = answer->length;
    }
    if (answer->err == 0) memcpy(ask.reply, session->buffers[at], bytes);
  }
  PST_STORE_RELEASE(&request->state, PST_REQUEST_FREE);
}

Outcome AskOnce(pst_session* session, const Ask& ask, int64_t deadline_ns, Answer* answer) {
  int doorbell = OwnFdChecked(Own::kDoorbell);
  if (doorbell < 0) return Outcome::kLost;
  int at = Claim(session, deadline_ns);
  if (at < 0) return StillJoined(session) ? Outcome::kBusy : Outcome::kLost;
  Fill(session, at, ask, deadline_ns);
  Submit(session, at, doorbell);
  Outcome outcome = Wait(session, at, deadline_ns + kGraceNs);
  if (outcome == Outcome::kAnswered) TakeAnswer(session, at, ask, answer);
  return outcome;
}

}  // namespace

int PstAsk(const Ask& ask, Answer* answer) {
  memset(answer, 0, sizeof *answer);
  int64_t join_deadline = JoinDeadlineNs();
  // A question that costs us the session each time is not asked for ever.
  for (int lost = 0; lost < kMaxLost; ++lost) {
    int err = EIO;
    pst_session* session = EnsureSession(join_deadline, &err);
    if (session == nullptr) return answer->err = err;
    switch (AskOnce(session, ask, PstMonotonicNs() + AnswerBudgetNs(ask), answer)) {
      case Outcome::kAnswered:
        return answer->err;
      case Outcome::kLost:
        SessionLost(session);
        continue;  // another sidecar may come until the join deadline
      case Outcome::kTimedOut:
      case Outcome::kBusy:
        return answer->err = EIO;
    }
  }
  return answer->err = EIO;
}

void PstHint(const Ask& ask) {
  pst_session* session = __atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE);
  if (session == nullptr || g_client.dead != 0) return;
  int doorbell = OwnFdChecked(Own::kDoorbell);
  if (doorbell < 0) return;
  int at = Claim(session, 0);
  if (at < 0) return;
  Ask hint = ask;
  hint.flags |= PST_REQUEST_NOWAIT;
  Fill(session, at, hint, PstMonotonicNs() + kAnswerNs);
  Submit(session, at, doorbell);
}

namespace {

// One exchange on the socket. The fd, or -errno; -EPIPE: the sidecar is gone.
int Exchange(int socket, uint64_t ticket) {
  pst_fd_request request = {PST_FD_REQUEST_MAGIC, 0, ticket};
  long n = Raw(SYS_sendto, socket, &request, sizeof request, MSG_NOSIGNAL, nullptr, 0);
  if (n != (long)sizeof request) return -EPIPE;
  int64_t deadline = PstMonotonicNs() + kAnswerNs;
  for (;;) {
    pollfd ready = {socket, POLLIN, 0};
    timespec slice = {0, (long)kSliceNs};
    long polled = Raw(SYS_ppoll, &ready, 1, &slice, nullptr, 8);
    if (polled > 0 && (ready.revents & POLLIN) == 0) return -EPIPE;
    if (polled <= 0) {
      if (polled < 0 && polled != -EINTR) return -EPIPE;
      if (PstMonotonicNs() > deadline) return -ETIMEDOUT;
      continue;
    }
    pst_fd_reply reply;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec iov = {&reply, sizeof reply};
    msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    n = Raw(SYS_recvmsg, socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n == -EAGAIN || n == -EINTR) continue;
    if (n <= 0) return -EPIPE;
    int fd = -1;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len >= CMSG_LEN(sizeof fd)) {
      memcpy(&fd, CMSG_DATA(header), sizeof fd);
      PstFdForget(fd);
    }
    bool ours = n == (long)sizeof reply && reply.magic == PST_FD_REQUEST_MAGIC && reply.ticket == ticket;
    if (ours && reply.err == 0 && fd >= 0) return fd;
    if (fd >= 0) Raw(SYS_close, fd);
    if (!ours) continue;  // the answer to an exchange that gave up
    if (reply.err > 0 && reply.err < 4096) return -reply.err;
    return (message.msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : -EIO;  // no number was left for the fd
  }
}

}  // namespace

int PstTicketFd(uint64_t ticket) {
  JoinLock lock(PstMonotonicNs() + kAnswerNs);  // one exchange at a time on the socket
  if (!lock.held()) return -EIO;
  int socket = OwnFdChecked(Own::kSocket);
  return socket < 0 ? -EPIPE : Exchange(socket, ticket);
}

namespace {

// The shadow directory that `fd` is, by our own path (job_path.h).
int DirectoryByOwnPlace(int fd, const Ask& ask) {
  Scratch scratch;
  char* tail = scratch.Get();
  if (tail == nullptr || ask.path_len >= PST_PATH_MAX) return fd;
  memcpy(tail, PST_SHADOW_DIR "/", sizeof PST_SHADOW_DIR);
  char* at = PutDecimal(ask.ns & PST_NS_INDEX_MASK, tail + sizeof PST_SHADOW_DIR);
  if (ask.offset > 0) {
    *at++ = PST_SHADOW_ABOVE;
    at = PutDecimal(ask.offset, at);
  } else if (ask.path_len > 0) {
    *at++ = '/';
    memcpy(at, ask.path, ask.path_len);
    at += ask.path_len;
  }
  *at = 0;
  return PstByOwnPlace(fd, tail, O_RDONLY);
}

}  // namespace

int PstAskFd(const Ask& ask, Answer* answer) {
  for (int tries = 0; tries < 3; ++tries) {
    pst_session* session = __atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE);
    int err = PstAsk(ask, answer);
    if (err != 0) return -err;
    int fd = PstTicketFd(answer->ticket);
    if (fd >= 0 && ask.op == PST_OP_DIRECTORY) return DirectoryByOwnPlace(fd, ask);
    if (fd != -EPIPE) return fd;
    // Between answer and ticket the sidecar died, or the session was renewed: ask again.
    if (session != nullptr && !SidecarAlive()) SessionLost(session);
  }
  return -EIO;
}

}  // namespace penstock
