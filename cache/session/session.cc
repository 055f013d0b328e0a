#include "cache/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "cache/session/handshake.h"
#include "shim/abi/index.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kMaxHints = 64;  // of one session, in flight
constexpr int kMessagesAtOnce = 16;    // before others get their turn

void WakeAll(std::uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

EngineOpKind KindOf(std::uint32_t op) {
  switch (op) {
    case PST_OP_FETCH:
      return EngineOpKind::kFetch;
    case PST_OP_LIST:
      return EngineOpKind::kList;
    case PST_OP_MATERIALIZE:
      return EngineOpKind::kMaterialize;
    case PST_OP_READ:
      return EngineOpKind::kRead;
    case PST_OP_NAME:
      return EngineOpKind::kName;
    case PST_OP_LISTING_READ:
      return EngineOpKind::kListingRead;
    default:
      return EngineOpKind::kLookup;  // DIRECTORY looks whether it is one
  }
}

bool AnswersWithBytes(std::uint32_t op) {
  return op == PST_OP_READ || op == PST_OP_NAME || op == PST_OP_LISTING_READ;
}

}  // namespace

// An operation that the engine works on. Owns itself; `session` is null once that is gone.
struct Session::Pending {
  EngineOp op;
  SessionRequest request;
  Session* session = nullptr;
  SessionContext* context = nullptr;
  std::uint32_t index = 0;
  bool hint = false;  // its slot was freed at once
  std::array<std::byte, PST_PATH_MAX> bytes;
};

void SessionCounters::Add(const SessionCounters& other) {
  hits_memory += other.hits_memory;
  bytes_memory += other.bytes_memory;
  hits_nvme += other.hits_nvme;
  misses += other.misses;
  passthrough += other.passthrough;
  hits_name += other.hits_name;
  requests += other.requests;
  requests_refused += other.requests_refused;
}

Session::Session(SessionContext* context, const Peer& peer, Fd socket, Fd pidfd, OnEnd on_end)
    : context_(context),
      peer_(peer),
      on_end_(std::move(on_end)),
      socket_(std::move(socket)),
      pidfd_(std::move(pidfd)) {}

Result<std::unique_ptr<Session>> Session::Open(SessionContext* context, const Peer& peer, Fd socket,
                                               Fd pidfd, OnEnd on_end) {
  std::unique_ptr<Session> session(
      new Session(context, peer, std::move(socket), std::move(pidfd), std::move(on_end)));
  if (auto made = session->MakeMemory(); !made) return std::unexpected(made.error());
  return session;
}

Result<void> Session::MakeMemory() {
  doorbell_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!doorbell_.valid()) return std::unexpected(ErrnoError(errno, "making a doorbell"));
  memory_fd_ = Fd(memfd_create("penstock-session", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory_fd_.valid()) return std::unexpected(ErrnoError(errno, "making session memory"));
  // Sealed: a client that could shrink it would end us with a SIGBUS.
  if (ftruncate(memory_fd_.get(), sizeof(pst_session)) != 0 ||
      fcntl(memory_fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return std::unexpected(ErrnoError(errno, "sizing session memory"));
  void* map =
      mmap(nullptr, sizeof(pst_session), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_.get(), 0);
  if (map == MAP_FAILED) return std::unexpected(ErrnoError(errno, "mapping session memory"));
  memory_ = static_cast<pst_session*>(map);
  memory_->magic = PST_SESSION_MAGIC;
  memory_->major = PST_ABI_MAJOR;
  memory_->minor = PST_ABI_MINOR;
  memory_->session_id = peer_.id;
  memory_->incarnation = peer_.incarnation;
  return {};
}

Result<void> Session::Start() {
  memory_fd_.Reset();  // the mapping is enough
  started_ = true;
  auto watched = context_->loop->Watch(socket_.get(), POLLIN,
                                       [this](std::uint32_t events) { OnSocket(events); });
  if (!watched) return watched;
  watched = context_->loop->Watch(doorbell_.get(), POLLIN, [this](std::uint32_t) { OnDoorbell(); });
  if (!watched || !pidfd_.valid()) return watched;
  return context_->loop->Watch(pidfd_.get(), POLLIN,
                               [this](std::uint32_t) { End("its process has ended", false); });
}

Session::~Session() {
  if (started_)
    for (const Fd* fd : {&socket_, &doorbell_, &pidfd_})
      if (fd->valid()) context_->loop->Unwatch(fd->get());
  // Detached before any is cancelled: Cancel may call back at once.
  const std::vector<Pending*> left = std::exchange(pending_, {});
  for (Pending* pending : left) pending->session = nullptr;
  for (Pending* pending : left) context_->engine->Cancel(&pending->op);
  context_->tickets->Drop(peer_.id);
  if (memory_ != nullptr) munmap(memory_, sizeof(pst_session));
}

void Session::End(const char* why, bool rubbish) {
  if (std::exchange(ended_, true)) return;
  for (const Fd* fd : {&socket_, &doorbell_, &pidfd_})
    if (fd->valid()) context_->loop->Unwatch(fd->get());
  started_ = false;
  on_end_(this, why, rubbish);
}

bool Session::CheckAlive() {
  if (ended_) return false;
  pollfd entry{pidfd_.valid() ? pidfd_.get() : socket_.get(), POLLIN, 0};
  if (poll(&entry, 1, 0) <= 0) return true;
  if (!pidfd_.valid() && (entry.revents & (POLLHUP | POLLERR)) == 0) return true;
  End("its process has ended", false);
  return false;
}

SessionCounters Session::Counters() const {
  SessionCounters sum;
  for (const pst_counters& line : memory_->counters) {
    sum.hits_memory += PST_LOAD_RELAXED(&line.hits_memory);
    sum.bytes_memory += PST_LOAD_RELAXED(&line.bytes_memory);
    sum.hits_nvme += PST_LOAD_RELAXED(&line.hits_nvme);
    sum.misses += PST_LOAD_RELAXED(&line.misses);
    sum.passthrough += PST_LOAD_RELAXED(&line.passthrough);
    sum.hits_name += PST_LOAD_RELAXED(&line.hits_name);
  }
  sum.requests = requests_;
  sum.requests_refused = requests_refused_;
  return sum;
}

bool Session::DrainAccessLog() {
  const std::uint64_t head = PST_LOAD_ACQUIRE(&memory_->log_head);
  if (head == log_seen_) return false;
  std::uint64_t from = head > log_seen_ ? log_seen_ : head;
  if (head - from > PST_ACCESS_LOG_ENTRIES) from = head - PST_ACCESS_LOG_ENTRIES;
  log_seen_ = head;
  for (; from != head; ++from)
    context_->engine->Touched(PST_LOAD_RELAXED(&memory_->log[from % PST_ACCESS_LOG_ENTRIES]));
  return true;
}

// ---- the socket: tickets, and its end ----

void Session::OnSocket(std::uint32_t) {
  for (int i = 0; i < kMessagesAtOnce && !ended_; ++i) {
    std::array<std::byte, sizeof(pst_fd_request) + 1> buffer;
    const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      if (!pidfd_.valid()) return End("its connection has ended", false);
      context_->loop->Unwatch(socket_.get());
      socket_.Reset();  // the pidfd tells when the process is gone
      return;
    }
    pst_fd_request request{};
    if (n != sizeof request) return End("sent a message of a wrong size", true);
    memcpy(&request, buffer.data(), sizeof request);
    if (request.magic != PST_FD_REQUEST_MAGIC) return End("sent a message of no known kind", true);
    AnswerTicket(request.ticket);
  }
}

void Session::AnswerTicket(std::uint64_t ticket) {
  const Fd fd = context_->tickets->Take(peer_.id, ticket);
  pst_fd_reply reply{};
  reply.magic = PST_FD_REQUEST_MAGIC;
  reply.err = fd.valid() ? 0 : ENOENT;
  reply.ticket = ticket;
  const int raw = fd.get();
  const auto fds = fd.valid() ? std::span<const int>(&raw, 1) : std::span<const int>();
  if (const auto sent = SendMessage(socket_.get(), &reply, sizeof reply, fds);
      !sent && sent.error().code == Code::kLimit)
    End("does not read the answers to its messages", true);
}

// ---- the ring ----

void Session::OnDoorbell() {
  // The client shares the eventfd's file status flags and could make it blocking: RWF_NOWAIT does
  // not care.
  std::uint64_t count = 0;
  iovec part{&count, sizeof count};
  if (preadv2(doorbell_.get(), &part, 1, -1, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP)
    (void)!read(doorbell_.get(), &count, sizeof count);
  if (context_->on_activity) context_->on_activity();
  std::uint64_t bits = __atomic_exchange_n(&memory_->submitted, 0, __ATOMIC_ACQ_REL);
  while (bits != 0 && !ended_) {
    const auto index = static_cast<std::uint32_t>(std::countr_zero(bits));
    bits &= bits - 1;
    TakeRequest(index);
  }
}

void Session::TakeRequest(std::uint32_t index) {
  pst_request* slot = &memory_->requests[index];
  if ((busy_ & (1ull << index)) != 0) return End("submitted a request twice", true);
  const std::uint32_t state = PST_LOAD_ACQUIRE(&slot->state);
  if (state != PST_REQUEST_SUBMITTED && state != PST_REQUEST_ABANDONED)
    return End("announced a request that is not submitted", true);
  ++requests_;
  busy_ |= 1ull << index;
  pst_request copy;
  memcpy(&copy, slot, sizeof copy);
  SessionRequest request;
  const RequestCheck check =
      CheckRequest(copy, memory_->buffers[index], context_->mount_count, MonotonicNs(), &request);
  if (check.verdict == RequestVerdict::kRubbish) return End(check.why, true);
  const bool hint = (request.flags & PST_REQUEST_NOWAIT) != 0;
  if (check.verdict == RequestVerdict::kRefused) {
    ++requests_refused_;
    return Finish(index, check.err, hint);
  }
  if (state == PST_REQUEST_ABANDONED) return Finish(index, ECANCELED, hint);
  // Nobody waits for it any more: started all the same it would be work that no limit counts.
  if (request.late) {
    ++requests_refused_;
    return Finish(index, EIO, hint);
  }
  const bool full = context_->requests_in_flight >= context_->max_requests ||
                    pending_.size() >= PST_REQUEST_SLOTS + kMaxHints;
  if (full) {
    ++requests_refused_;
    return Finish(index, EIO, hint);
  }
  if (request.op == PST_OP_LEASE) return AnswerLease(index, request);
  if (request.op == PST_OP_UNLOCK) {
    context_->job->Unlock(peer_.id, request.slot, request.slot_generation);
    return Finish(index, 0, hint);
  }
  Dispatch(index, std::move(request));
}

void Session::Dispatch(std::uint32_t index, SessionRequest request) {
  auto* pending = new Pending;
  pending->request = std::move(request);
  const SessionRequest& asked = pending->request;
  pending->session = this;
  pending->context = context_;
  pending->index = index;
  pending->hint = (asked.flags & PST_REQUEST_NOWAIT) != 0;
  EngineOp& op = pending->op;
  op.kind = KindOf(asked.op);
  op.mount = asked.mount;
  op.id = asked.id;
  op.path = asked.path;
  op.version = asked.version;
  op.offset = asked.offset;
  op.length = asked.length;
  op.cursor = (peer_.id << 16) ^ asked.slot;
  op.hint = pending->hint;
  op.opens = (asked.flags & PST_REQUEST_OPENS) != 0;
  op.deadline_ns = asked.deadline_ns;
  if (AnswersWithBytes(asked.op)) {
    op.buffer = pending->bytes;
    op.length = std::min<std::uint64_t>(asked.length, pending->bytes.size());
  }
  op.done = &Session::Done;
  op.user = pending;
  pending_.push_back(pending);
  ++context_->requests_in_flight;
  if (pending->hint) Finish(index, 0, true);
  context_->engine->Start(&op);
}

void Session::AnswerLease(std::uint32_t index, const SessionRequest& request) {
  pst_request* slot = &memory_->requests[index];
  const auto wanted =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(request.length, kMaxLeaseSlots));
  auto slots = context_->job->Lease(peer_.id, wanted);
  if (!slots) return Finish(index, ErrnoOf(slots.error()));
  const std::size_t count = std::min<std::size_t>(slots->size(), kMaxLeaseSlots);
  memcpy(memory_->buffers[index], slots->data(), count * sizeof(std::uint32_t));
  PST_STORE_RELAXED(&slot->length, static_cast<std::uint64_t>(count));
  Finish(index, count == 0 && wanted > 0 ? ENFILE : 0);
}

void Session::Done(EngineOp* op) {
  auto* pending = static_cast<Pending*>(op->user);
  --pending->context->requests_in_flight;
  if (pending->session != nullptr) {
    pending->session->Remove(pending);
    if (!pending->hint) pending->session->Complete(pending);
  }
  if (op->fd >= 0) close(op->fd);  // nobody has taken it
  delete pending;
}

void Session::Remove(Pending* pending) {
  const auto found = std::find(pending_.begin(), pending_.end(), pending);
  if (found == pending_.end()) return;
  *found = pending_.back();
  pending_.pop_back();
}

void Session::Complete(Pending* pending) {
  const EngineOp& op = pending->op;
  const std::uint32_t index = pending->index;
  pst_request* slot = &memory_->requests[index];
  memcpy(&slot->attr, &op.attr, sizeof slot->attr);
  if (pending->request.op == PST_OP_MATERIALIZE) return CompleteMaterialize(pending, slot);
  if (pending->request.op == PST_OP_DIRECTORY) return CompleteDirectory(pending, slot);
  if (op.err == 0 && AnswersWithBytes(pending->request.op)) {
    const std::size_t n = std::min<std::size_t>(op.result_length, pending->bytes.size());
    memcpy(memory_->buffers[index], pending->bytes.data(), n);
    PST_STORE_RELAXED(&slot->length, static_cast<std::uint64_t>(n));
    PST_STORE_RELAXED(&slot->path_len, static_cast<std::uint32_t>(n));
  } else if (pending->request.op == PST_OP_LIST || pending->request.op == PST_OP_FETCH) {
    PST_STORE_RELAXED(&slot->length, op.result_length);
  }
  if (op.kind == EngineOpKind::kList || op.kind == EngineOpKind::kListingRead)
    PST_STORE_RELAXED(&slot->version, op.result_version);
  Finish(index, op.err);
}

// All sharers of a slot get the one open file that is kept for it (shim/abi/open_file.h).
void Session::CompleteMaterialize(Pending* pending, pst_request* slot) {
  EngineOp& op = pending->op;
  const std::uint32_t index = pending->index;
  if (op.err != 0) return Finish(index, op.err);
  Fd fd(std::exchange(op.fd, -1));
  if (!fd.valid()) return Finish(index, EIO);
  if (pending->request.slot != PST_NO_SLOT) {
    const FileIdentity file{PST_NS_FILES | op.mount, op.id, op.version};
    const auto kept = context_->job->KeepFile(peer_.id, pending->request.slot,
                                              pending->request.slot_generation, file, fd.Take());
    if (!kept) {
      const Error& error = kept.error();
      return Finish(index, error.code == Code::kInvalid ? EBADF : ErrnoOf(error));
    }
    fd.Reset(fcntl(*kept, F_DUPFD_CLOEXEC, 0));
    if (!fd.valid()) return Finish(index, ENFILE);
  }
  const std::uint64_t ticket = context_->tickets->Add(peer_.id, std::move(fd));
  PST_STORE_RELAXED(&slot->ticket, ticket);
  Finish(index, ticket == 0 ? ENFILE : 0);
}

void Session::CompleteDirectory(Pending* pending, pst_request* slot) {
  const EngineOp& op = pending->op;
  const std::uint32_t index = pending->index;
  if (op.err != 0) return Finish(index, op.err);
  if (op.attr.kind == PST_KIND_ABSENT)
    return Finish(index, op.attr.err != 0 ? op.attr.err : ENOENT);
  if (op.attr.kind != PST_KIND_DIRECTORY) return Finish(index, ENOTDIR);
  auto fd = context_->job->Directory(op.mount, op.path, pending->request.offset);
  if (!fd) return Finish(index, ErrnoOf(fd.error()));
  const std::uint64_t ticket = context_->tickets->Add(peer_.id, Fd(*fd));
  PST_STORE_RELAXED(&slot->ticket, ticket);
  Finish(index, ticket == 0 ? ENFILE : 0);
}

// Gives the slot back: DONE for one that waits, FREE for one that has given up or never waited.
void Session::Finish(std::uint32_t index, int err, bool hint) {
  pst_request* slot = &memory_->requests[index];
  busy_ &= ~(1ull << index);
  PST_STORE_RELAXED(&slot->err, err);
  std::uint32_t state = PST_REQUEST_SUBMITTED;
  if (!hint && PST_CAS(&slot->state, &state, PST_REQUEST_DONE)) {
    WakeAll(&slot->state);
    return;
  }
  PST_STORE_RELEASE(&slot->state, PST_REQUEST_FREE);
}

}  // namespace penstock::cache
