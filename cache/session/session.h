// One joined process: its socket, its pidfd, its doorbell and the memory that it shares with us.
//
// Life: Open() makes the memory and Start() watches. The session ends when its process dies (pidfd;
// the socket's end where no pidfd was given) or when what it sends is rubbish; `on_end` is then
// called once, and the owner destroys the session at its convenience, not from within the call. A
// socket that ends while the pidfd says that the process lives (closefrom) leaves the session
// working through memory and doorbell.
//
// Nothing here waits for a client: a process that is stopped costs its memory and three
// descriptors. Requests are copied out of shared memory before they are looked at. Operations in
// flight own themselves and outlive the session: their answers then go nowhere.
//
// Thread safety: core thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"
#include "cache/job/fd.h"
#include "cache/job/job_folder.h"
#include "cache/session/request.h"
#include "cache/session/tickets.h"
#include "shim/abi/session.h"
#include "transport/base/result.h"

namespace penstock::cache {

// Counters of a session, or of all that ever were.
struct SessionCounters {
  std::uint64_t hits_memory = 0;  // written by the client
  std::uint64_t bytes_memory = 0;
  std::uint64_t hits_nvme = 0;
  std::uint64_t misses = 0;
  std::uint64_t passthrough = 0;
  std::uint64_t hits_name = 0;
  std::uint64_t requests = 0;  // taken from the ring
  std::uint64_t requests_refused = 0;
  void Add(const SessionCounters& other);
};

// What all sessions share. Everything outlives them.
struct SessionContext {
  Loop* loop = nullptr;
  Engine* engine = nullptr;
  JobFolder* job = nullptr;
  Tickets* tickets = nullptr;
  std::uint32_t mount_count = 0;
  std::uint32_t max_requests = 65'536;  // in flight, all sessions together
  std::uint32_t requests_in_flight = 0;
  std::function<void()> on_activity;  // a request has come
};

class Session {
 public:
  struct Peer {
    std::uint64_t id = 0;
    std::uint64_t incarnation = 0;
    std::uint32_t uid = 0;
    std::uint32_t pid = 0;  // as the kernel tells, or as the client says; for messages
  };
  using OnEnd = std::function<void(Session*, const char* why, bool rubbish)>;

  static Result<std::unique_ptr<Session>> Open(SessionContext* context, const Peer& peer, Fd socket,
                                               Fd pidfd, OnEnd on_end);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // After the welcome has been sent.
  Result<void> Start();

  const Peer& peer() const { return peer_; }
  int socket() const { return socket_.get(); }
  int memory_fd() const { return memory_fd_.get(); }  // until Start()
  int doorbell_fd() const { return doorbell_.get(); }
  static constexpr std::uint64_t memory_bytes() { return sizeof(pst_session); }
  bool ended() const { return ended_; }
  std::size_t waiting() const { return pending_.size(); }
  SessionCounters Counters() const;

  // Hands what the access log gained to the engine; false if nothing came.
  bool DrainAccessLog();
  // Looks at the pidfd without waiting: true if the process is dead (and the session then ended).
  bool CheckAlive();

 private:
  struct Pending;

  Session(SessionContext* context, const Peer& peer, Fd socket, Fd pidfd, OnEnd on_end);
  Result<void> MakeMemory();
  void End(const char* why, bool rubbish);
  void OnSocket(std::uint32_t events);
  void OnDoorbell();
  void AnswerTicket(std::uint64_t ticket);
  void TakeRequest(std::uint32_t index);
  void Dispatch(std::uint32_t index, SessionRequest request);
  void AnswerLease(std::uint32_t index, const SessionRequest& request);
  static void Done(EngineOp* op);
  void Complete(Pending* pending);
  void CompleteMaterialize(Pending* pending, pst_request* slot);
  void CompleteDirectory(Pending* pending, pst_request* slot);
  void Finish(std::uint32_t index, int err, bool hint = false);
  void Remove(Pending* pending);

  SessionContext* context_;
  Peer peer_;
  OnEnd on_end_;
  Fd socket_;
  Fd pidfd_;
  Fd doorbell_;
  Fd memory_fd_;
  pst_session* memory_ = nullptr;  // shared: a client may change any byte at any time
  std::vector<Pending*> pending_;
  std::uint64_t busy_ = 0;  // bit i: request slot i is ours until Finish
  std::uint64_t log_seen_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t requests_refused_ = 0;
  bool started_ = false;
  bool ended_ = false;
};

}  // namespace penstock::cache
