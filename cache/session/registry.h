// Everybody who is connected: handshakes in progress, sessions of programs, admin connections, and
// programs that `penstock run` announced before they joined.
//
// Thread safety: core thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/job/program_list.h"
#include "cache/memory/arena.h"
#include "cache/session/admin_connection.h"
#include "cache/session/session.h"

namespace penstock::cache {

inline constexpr std::size_t kMaxHandshakes = 1024;
inline constexpr std::size_t kMaxAdmins = 64;
inline constexpr std::size_t kMaxAnnounced = 16'384;
// One user that is neither ours nor root gets at most a quarter of any of these.
inline constexpr std::size_t kUserShare = 4;
inline constexpr std::int64_t kHandshakeNs = 5'000'000'000;
inline constexpr std::int64_t kRefusalNs = 1'000'000'000;

struct RegistryConfig {
  bool allow_any_uid = false;
  std::vector<std::uint32_t> allow_uids;
  std::vector<std::uint32_t> admin_uids;  // beside our own user and root, who always are
  std::uint32_t max_sessions = 10'000;
  std::size_t max_handshakes = kMaxHandshakes;
  ProgramList* programs = nullptr;  // outlives the registry; null: nobody has to know after our death
};

struct RegistryStats {
  std::uint64_t sessions = 0;  // now
  std::uint64_t programs = 0;  // now: processes that must not lose the sidecar
  std::uint64_t sessions_total = 0;
  std::uint64_t sessions_rubbish = 0;  // ended because of what they sent
  std::uint64_t handshakes_refused = 0;
  std::uint64_t requests_in_flight = 0;  // now
  std::uint64_t tickets = 0;             // now
  SessionCounters counters;              // of all sessions, ended ones too
};

struct SessionInfo {
  std::uint64_t id = 0;
  std::uint32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t waiting = 0;
  SessionCounters counters;
};

class Registry {
 public:
  // `context` and what it names, `arena` and `admin` outlive the registry.
  Registry(SessionContext* context, Arena* arena, const RegistryConfig& config, AdminHandler admin);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A connection that the listener accepted.
  void Accepted(Fd socket);
  // From now on nobody joins (EBUSY); who is there stays.
  void Drain() { draining_ = true; }
  bool draining() const { return draining_; }
  // Ends all sessions; their operations are cancelled.
  void EndAll();

  // A program that will join: counts until its process ends, or, without a pidfd, for a minute. False:
  // there are too many, of this user or in all.
  bool Announce(Fd pidfd, const Peer& peer);
  // Whether a user may stop the sidecar and change what it keeps.
  bool MayAdminister(std::uint32_t uid) const;
  // Processes that are joined or announced, dead ones looked for first.
  std::uint64_t Programs();
  // Up to `count` of them with id > after, in order.
  std::vector<SessionInfo> Sessions(std::uint64_t after, std::size_t count) const;
  RegistryStats Stats() const;

  // Called whenever a program comes or goes.
  void OnProgramsChanged(std::function<void()> changed) { changed_ = std::move(changed); }

 private:
  struct Handshake;
  struct Announced;

  void OnHello(int fd);
  std::unique_ptr<Handshake> TakeHandshake(int fd);
  void RefuseLater(Fd socket, int err);
  bool OwnOrRoot(std::uint32_t uid) const;
  bool MayJoin(std::uint32_t uid) const;
  // Whether a user that holds `held` of `all` places may have one more.
  bool HasShare(std::uint32_t uid, std::size_t held, std::size_t all) const {
    return OwnOrRoot(uid) ? held < all : held < std::max<std::size_t>(all / kUserShare, 1);
  }
  int Admit(const Peer& peer, std::uint32_t role);
  void SayMayNotJoin(const Peer& peer);
  void Refuse(int socket, int err);
  void JoinClient(Fd socket, const Peer& peer, const struct Hello& hello, std::vector<Fd> fds);
  void JoinAdmin(Fd socket, const Peer& peer, Fd pidfd);
  bool Welcome(Session* session, std::uint64_t parent, int table_fd);
  void Ended(Session* session, const char* why, bool rubbish);
  std::uint32_t ListProgram(std::uint32_t pid) {
    return config_.programs != nullptr ? config_.programs->Add(pid) : ProgramList::kNowhere;
  }
  void UnlistProgram(std::uint32_t place) {
    if (config_.programs != nullptr) config_.programs->Remove(place);
  }
  void Sweep();
  void Changed();
  void Tick();
  void StartTicking();

  SessionContext* context_;
  Arena* arena_;
  RegistryConfig config_;
  AdminHandler admin_;
  std::function<void()> changed_;
  std::unordered_map<int, std::unique_ptr<Handshake>> handshakes_;  // by socket, refused ones too
  std::unordered_map<std::uint32_t, std::size_t> handshakes_of_;     // by user, refused ones not
  std::map<std::uint64_t, int> refusals_;  // sockets of those who will be refused, the oldest first
  std::uint64_t last_refusal_ = 0;
  std::int64_t said_ns_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<std::uint64_t, std::uint32_t> listed_;  // session -> place in config_.programs
  std::vector<std::unique_ptr<Session>> ended_;  // to be destroyed soon
  std::unordered_map<AdminConnection*, std::shared_ptr<AdminConnection>> admins_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Announced>> announced_;
  std::uint64_t last_announced_ = 0;
  std::uint64_t last_session_ = 0;
  SessionCounters totals_;  // of ended sessions
  std::uint64_t sessions_total_ = 0;
  std::uint64_t sessions_rubbish_ = 0;
  std::uint64_t handshakes_refused_ = 0;
  Loop::TimerId tick_ = 0;
  int idle_ticks_ = 0;
  bool draining_ = false;
  bool sweep_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for posted tasks
};

}  // namespace penstock::cache
