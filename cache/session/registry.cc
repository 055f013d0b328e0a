#include "cache/session/registry.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cache/session/handshake.h"
#include "transport/base/clock.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kTickNs = 100 * kNsPerMs;  // access logs
constexpr int kIdleTicks = 20;                    // without anything: sleep until a request comes
constexpr std::int64_t kAnnounceNs = 60 * kNsPerSecond;
// Most programs open few files, and a slot's first lease makes an inode; who needs more asks.
constexpr std::uint32_t kJoinSlots = 16;
static_assert(kJoinSlots <= PST_WELCOME_SLOTS);

}  // namespace

struct Registry::Handshake {
  Fd socket;
  Peer peer;
  Loop::TimerId timer = 0;
  int refuse = 0;  // what it will be told, whatever it says
  std::uint64_t refusal = 0;
};

struct Registry::Announced {
  Fd pidfd;
  std::uint32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t listed = ProgramList::kNowhere;
  Loop::TimerId timer = 0;
};

Registry::Registry(SessionContext* context, Arena* arena, const RegistryConfig& config,
                   AdminHandler admin)
    : context_(context),
      arena_(arena),
      config_(config),
      admin_(std::move(admin)),
      last_session_(context->job->starts() << 32) {
  context_->on_activity = [this] { StartTicking(); };
}

Registry::~Registry() {
  *alive_ = false;
  context_->on_activity = nullptr;
  for (auto& [fd, handshake] : handshakes_) {
    context_->loop->Unwatch(fd);
    context_->loop->CancelTimer(handshake->timer);
  }
  for (auto& [id, one] : announced_) {
    if (one->pidfd.valid()) context_->loop->Unwatch(one->pidfd.get());
    if (one->timer != 0) context_->loop->CancelTimer(one->timer);
  }
  if (tick_ != 0) context_->loop->CancelTimer(tick_);
}

// ---- handshakes ----

bool Registry::OwnOrRoot(std::uint32_t uid) const { return uid == 0 || uid == geteuid(); }

bool Registry::MayAdminister(std::uint32_t uid) const {
  return OwnOrRoot(uid) || std::find(config_.admin_uids.begin(), config_.admin_uids.end(), uid) !=
                               config_.admin_uids.end();
}

bool Registry::MayJoin(std::uint32_t uid) const {
  return config_.allow_any_uid ||
         std::find(config_.allow_uids.begin(), config_.allow_uids.end(), uid) !=
             config_.allow_uids.end();
}

// Once a second: whoever tries in a loop must not fill the log.
void Registry::SayMayNotJoin(const Peer& peer) {
  const std::int64_t now_ns = MonotonicNs();
  if (said_ns_ != 0 && now_ns - said_ns_ < kNsPerSecond) return;
  said_ns_ = now_ns;
  log::Warning("user {} (process {}) may not join; sidecar.allow_uids says who may", peer.uid,
               peer.pid);
}

// Who may not join at all gets no place: silent strangers must not keep the others out.
void Registry::Accepted(Fd socket) {
  const auto peer = PeerOf(socket.get());
  if (!peer) return;
  if (!MayJoin(peer->uid) && !MayAdminister(peer->uid)) {
    SayMayNotJoin(*peer);
    return RefuseLater(std::move(socket), EACCES);
  }
  std::size_t& of_user = handshakes_of_[peer->uid];
  if (handshakes_.size() - refusals_.size() >= config_.max_handshakes ||
      !HasShare(peer->uid, of_user, config_.max_handshakes)) {
    if (of_user == 0) handshakes_of_.erase(peer->uid);
    return RefuseLater(std::move(socket), EBUSY);
  }
  const int fd = socket.get();
  auto handshake = std::make_unique<Handshake>();
  handshake->socket = std::move(socket);
  handshake->peer = *peer;
  if (!context_->loop->Watch(fd, POLLIN, [this, fd](std::uint32_t) { OnHello(fd); })) {
    if (of_user == 0) handshakes_of_.erase(peer->uid);
    return;
  }
  handshake->timer = context_->loop->After(kHandshakeNs, [this, fd] {
    (void)TakeHandshake(fd);  // said nothing
    ++handshakes_refused_;
  });
  ++of_user;
  handshakes_.emplace(fd, std::move(handshake));
}

// A refusal that is sent before the hello has come is lost: the peer's own sending fails first. Of too many
// that say nothing the oldest goes.
void Registry::RefuseLater(Fd socket, int err) {
  const int fd = socket.get();
  if (refusals_.size() >= std::max<std::size_t>(config_.max_handshakes / kUserShare, 1)) {
    const auto oldest = TakeHandshake(refusals_.begin()->second);
    Refuse(oldest->socket.get(), oldest->refuse);
  }
  if (!context_->loop->Watch(fd, POLLIN, [this, fd](std::uint32_t) { OnHello(fd); }))
    return Refuse(fd, err);
  auto handshake = std::make_unique<Handshake>();
  handshake->socket = std::move(socket);
  handshake->refuse = err;
  handshake->timer = context_->loop->After(kRefusalNs, [this, fd] {
    const auto late = TakeHandshake(fd);
    Refuse(fd, late->refuse);
  });
  handshake->refusal = ++last_refusal_;
  refusals_.emplace(last_refusal_, fd);
  handshakes_.emplace(fd, std::move(handshake));
}

std::unique_ptr<Registry::Handshake> Registry::TakeHandshake(int fd) {
  context_->loop->Unwatch(fd);
  auto node = handshakes_.extract(fd);
  std::unique_ptr<Handshake> handshake = std::move(node.mapped());
  context_->loop->CancelTimer(handshake->timer);
  if (handshake->refuse != 0) {
    refusals_.erase(handshake->refusal);
  } else if (const auto of = handshakes_of_.find(handshake->peer.uid); --of->second == 0) {
    handshakes_of_.erase(of);
  }
  return handshake;
}

void Registry::OnHello(int fd) {
  if (!handshakes_.contains(fd)) return;
  std::array<std::byte, sizeof(pst_hello) + 1> buffer;
  auto message = ReceiveMessage(fd, buffer);
  if (!message && message.error().code == Code::kNotFound) return;
  const std::unique_ptr<Handshake> handshake = TakeHandshake(fd);
  if (handshake->refuse != 0) return Refuse(fd, handshake->refuse);
  if (!message || message->bytes == 0) return;
  Hello hello;
  int err = EINVAL;
  if (!message->truncated)
    err = CheckHello(std::span(buffer).first(message->bytes), message->fds.size(), &hello);
  if (err == 0) err = Admit(handshake->peer, hello.role);
  // A pidfd of another would keep the session for as long as that one lives.
  if (err == 0 && hello.pidfd_index >= 0 &&
      !IsPidfdOf(message->fds[static_cast<std::size_t>(hello.pidfd_index)].get(),
                 handshake->peer.pid))
    err = EINVAL;
  if (err != 0) return Refuse(fd, err);
  if (hello.role == PST_ROLE_CLIENT)
    return JoinClient(std::move(handshake->socket), handshake->peer, hello,
                      std::move(message->fds));
  Fd pidfd;
  if (hello.pidfd_index >= 0)
    pidfd = std::move(message->fds[static_cast<std::size_t>(hello.pidfd_index)]);
  JoinAdmin(std::move(handshake->socket), handshake->peer, std::move(pidfd));
}

int Registry::Admit(const Peer& peer, std::uint32_t role) {
  if (role == PST_ROLE_ADMIN) {
    const auto of_user =
        std::count_if(admins_.begin(), admins_.end(),
                      [&](const auto& admin) { return admin.second->peer().uid == peer.uid; });
    return admins_.size() < kMaxAdmins &&
                   HasShare(peer.uid, static_cast<std::size_t>(of_user), kMaxAdmins)
               ? 0
               : EBUSY;
  }
  if (!MayJoin(peer.uid)) {
    SayMayNotJoin(peer);
    return EACCES;
  }
  if (draining_) return EBUSY;
  if (sessions_.size() >= config_.max_sessions) {
    log::Warning("{} programs are joined, which is the limit (limits.sessions)", sessions_.size());
    return EBUSY;
  }
  return 0;
}

void Registry::Refuse(int socket, int err) {
  ++handshakes_refused_;
  pst_welcome welcome{};
  welcome.magic = PST_HELLO_MAGIC;
  welcome.major = PST_ABI_MAJOR;
  welcome.minor = PST_ABI_MINOR;
  welcome.err = err;
  if (err == EPROTO)
    log::Warning(
        "a program with another version of libpenstock.so was refused; give programs and "
        "sidecar the same one");
  (void)SendMessage(socket, &welcome, sizeof welcome, {});
}

void Registry::JoinAdmin(Fd socket, const Peer& peer, Fd pidfd) {
  pst_welcome welcome{};
  welcome.magic = PST_HELLO_MAGIC;
  welcome.major = PST_ABI_MAJOR;
  welcome.minor = PST_ABI_MINOR;
  welcome.incarnation = arena_->incarnation();
  welcome.job = context_->job->job();
  if (!SendMessage(socket.get(), &welcome, sizeof welcome, {})) return;
  const auto end = [this](AdminConnection* connection) {
    const auto found = admins_.find(connection);
    if (found == admins_.end()) return;
    auto keep = std::move(found->second);  // it may be running
    admins_.erase(found);
    context_->loop->Post([keep = std::move(keep)] {});
  };
  auto connection = std::make_shared<AdminConnection>(context_->loop, std::move(socket),
                                                      std::move(pidfd), peer, &admin_, end,
                                                      [this] { return draining_; });
  if (connection->Start()) admins_.emplace(connection.get(), std::move(connection));
}

void Registry::JoinClient(Fd socket, const Peer& peer, const Hello& hello, std::vector<Fd> fds) {
  Fd pidfd;
  if (hello.pidfd_index >= 0) pidfd = std::move(fds[static_cast<std::size_t>(hello.pidfd_index)]);
  const int table = hello.open_files_index >= 0
                        ? fds[static_cast<std::size_t>(hello.open_files_index)].get()
                        : -1;
  const Session::Peer who{++last_session_, arena_->incarnation(), peer.uid,
                          peer.pid != 0 ? peer.pid : hello.pid};
  auto session =
      Session::Open(context_, who, std::move(socket), std::move(pidfd),
                    [this](Session* s, const char* why, bool rubbish) { Ended(s, why, rubbish); });
  if (!session) {
    log::Warning("process {} could not join: {}: {}", who.pid, session.error().context,
                 strerror(session.error().errno_value));
    return;
  }
  if (!Welcome(session->get(), hello.parent_session, table)) return;
  ++sessions_total_;
  Session* raw = session->get();
  sessions_.emplace(who.id, *std::move(session));
  if (const std::uint32_t place = ListProgram(peer.pid); place != ProgramList::kNowhere)
    listed_.emplace(who.id, place);
  log::Debug("session {} joined: process {} of user {}", who.id, who.pid, who.uid);
  if (const auto started = raw->Start(); !started) {
    log::Warning("process {} could not be watched: {}", who.pid, started.error().context);
    return Ended(raw, "it cannot be watched", true);
  }
  Changed();
}

bool Registry::Welcome(Session* session, std::uint64_t parent, int table_fd) {
  JobFolder* job = context_->job;
  const std::uint64_t id = session->peer().id;
  const auto table = job->Join(id, parent, table_fd);
  if (!table) {
    log::Warning("process {} could not join: {}", session->peer().pid, table.error().context);
    Refuse(session->socket(), ErrnoOf(table.error()));
    return false;
  }
  pst_welcome welcome{};
  welcome.magic = PST_HELLO_MAGIC;
  welcome.major = PST_ABI_MAJOR;
  welcome.minor = PST_ABI_MINOR;
  welcome.fd_count = PST_WELCOME_FDS;
  welcome.session_id = id;
  welcome.incarnation = arena_->incarnation();
  welcome.index_bytes = arena_->index_bytes();
  welcome.arena_bytes = arena_->arena_bytes();
  welcome.session_bytes = Session::memory_bytes();
  welcome.open_file_bytes = PST_OPEN_FILE_BYTES;
  welcome.job = job->job();
  if (const auto slots = job->Lease(id, kJoinSlots)) {
    welcome.slot_count =
        static_cast<std::uint32_t>(std::min<std::size_t>(slots->size(), PST_WELCOME_SLOTS));
    std::copy_n(slots->begin(), welcome.slot_count, welcome.slots);
  }
  const std::array<int, PST_WELCOME_FDS> fds = {
      arena_->index_fd(), arena_->arena_fd(), session->memory_fd(), session->doorbell_fd(), *table,
      job->directory_fd()};
  if (SendMessage(session->socket(), &welcome, sizeof welcome, fds)) return true;
  job->Release(id);
  return false;
}

// ---- ends ----

void Registry::Ended(Session* session, const char* why, bool rubbish) {
  const auto found = sessions_.find(session->peer().id);
  if (found == sessions_.end()) return;
  if (rubbish) {
    ++sessions_rubbish_;
    log::Warning("session {} (process {} of user {}) is ended: {}", session->peer().id,
                 session->peer().pid, session->peer().uid, why);
  } else {
    log::Debug("session {} (process {}): {}", session->peer().id, session->peer().pid, why);
  }
  totals_.Add(session->Counters());
  context_->job->Release(session->peer().id);
  ended_.push_back(std::move(found->second));
  sessions_.erase(found);
  if (auto listed = listed_.extract(session->peer().id); !listed.empty()) UnlistProgram(listed.mapped());
  if (!std::exchange(sweep_posted_, true)) {
    context_->loop->Post([this, alive = alive_] {
      if (*alive) Sweep();
    });
  }
  Changed();
}

void Registry::Sweep() {
  sweep_posted_ = false;
  std::exchange(ended_, {}).clear();
}

void Registry::EndAll() {
  for (auto& [id, session] : sessions_) {
    totals_.Add(session->Counters());
    context_->job->Release(id);
  }
  sessions_.clear();
  listed_.clear();  // the lines stay: these programs live on, and a successor is to know of them
  ended_.clear();
}

// ---- programs ----

bool Registry::Announce(Fd pidfd, const Peer& peer) {
  const auto of_user =
      std::count_if(announced_.begin(), announced_.end(),
                    [&](const auto& one) { return one.second->uid == peer.uid; });
  if (announced_.size() >= kMaxAnnounced ||
      !HasShare(peer.uid, static_cast<std::size_t>(of_user), kMaxAnnounced))
    return false;
  const std::uint64_t id = ++last_announced_;
  auto one = std::make_unique<Announced>();
  one->pid = peer.pid;
  one->uid = peer.uid;
  const auto gone = [this, id] {
    const auto found = announced_.find(id);
    if (found == announced_.end()) return;
    const std::unique_ptr<Announced> keep = std::move(found->second);
    announced_.erase(found);
    if (keep->pidfd.valid()) context_->loop->Unwatch(keep->pidfd.get());
    UnlistProgram(keep->listed);
    Changed();
  };
  if (pidfd.valid() &&
      context_->loop->Watch(pidfd.get(), POLLIN, [gone](std::uint32_t) { gone(); }))
    one->pidfd = std::move(pidfd);
  else
    one->timer = context_->loop->After(kAnnounceNs, gone);
  one->listed = ListProgram(peer.pid);
  announced_.emplace(id, std::move(one));
  Changed();
  return true;
}

std::uint64_t Registry::Programs() {
  // Their ends may wait in the kernel behind the question that we are answering.
  std::vector<Session*> all;
  for (auto& [id, session] : sessions_) all.push_back(session.get());
  std::unordered_map<std::uint32_t, bool> joined;
  for (Session* session : all)
    if (session->CheckAlive()) joined[session->peer().pid] = true;
  std::uint64_t count = sessions_.size();
  for (auto& [id, one] : announced_) {
    pollfd entry{one->pidfd.get(), POLLIN, 0};
    const bool dead = one->pidfd.valid() && poll(&entry, 1, 0) > 0;
    if (!dead && !joined.contains(one->pid)) ++count;
  }
  return count;
}

void Registry::Changed() {
  if (changed_) changed_();
}

std::vector<SessionInfo> Registry::Sessions(std::uint64_t after, std::size_t count) const {
  std::vector<SessionInfo> all;
  for (const auto& [id, session] : sessions_)
    if (id > after)
      all.push_back({id, session->peer().pid, session->peer().uid, session->waiting(), {}});
  std::sort(all.begin(), all.end(),
            [](const SessionInfo& a, const SessionInfo& b) { return a.id < b.id; });
  if (all.size() > count) all.resize(count);
  for (SessionInfo& one : all) one.counters = sessions_.at(one.id)->Counters();
  return all;
}

RegistryStats Registry::Stats() const {
  RegistryStats stats;
  stats.sessions = sessions_.size();
  stats.programs = sessions_.size() + announced_.size();
  stats.sessions_total = sessions_total_;
  stats.sessions_rubbish = sessions_rubbish_;
  stats.handshakes_refused = handshakes_refused_;
  stats.requests_in_flight = context_->requests_in_flight;
  stats.tickets = context_->tickets->size();
  stats.counters = totals_;
  for (const auto& [id, session] : sessions_) stats.counters.Add(session->Counters());
  return stats;
}

// ---- access logs: read while somebody is active, so that an idle sidecar sleeps ----

void Registry::StartTicking() {
  idle_ticks_ = 0;
  if (tick_ == 0) tick_ = context_->loop->After(kTickNs, [this] { Tick(); });
}

void Registry::Tick() {
  tick_ = 0;
  bool any = false;
  for (auto& [id, session] : sessions_) any |= session->DrainAccessLog();
  idle_ticks_ = any ? 0 : idle_ticks_ + 1;
  if (idle_ticks_ < kIdleTicks && !sessions_.empty())
    tick_ = context_->loop->After(kTickNs, [this] { Tick(); });
}

}  // namespace penstock::cache
