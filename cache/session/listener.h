// The job's socket: made safely, one sidecar at a time, removed at the end.
//
// Thread safety: core thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cache/base/loop.h"
#include "cache/job/fd.h"
#include "cache/session/socket_files.h"
#include "transport/base/result.h"

namespace penstock::cache {

class Listener {
 public:
  // Takes <socket>.lock, replaces a socket that a dead sidecar left, listens. If another sidecar
  // holds the lock and answers: kLimit; if it is about to end, waits up to `wait_ms` for that.
  static Result<std::unique_ptr<Listener>> Open(const std::string& socket, bool for_other_users,
                                                std::int64_t wait_ms, std::string* explanation);
  // The socket and the lock of a sidecar that hands over (cache/daemon/handover.h). Until Start() they
  // are still that one's: nothing is removed if this one comes to an end before.
  static Result<std::unique_ptr<Listener>> TakeOver(const std::string& socket, Fd listening, Fd lock,
                                                    std::string* explanation);
  ~Listener();  // closes, then gives the lock up
  // Removes the socket and listens no more: who connects finds nobody, and waits for a successor.
  void Close();

  // Accepts nobody for now: who connects waits in the socket's queue. Start() goes on.
  void Pause();
  int socket_fd() const { return socket_.get(); }
  int lock_fd() const { return lock_.fd(); }
  // This process serves (again).
  void NoteHolder() { lock_.NoteHolder(); }
  // They belong to another sidecar now: nothing is removed.
  void Release();

  // Calls `accepted` for each connection, non-blocking and close-on-exec.
  Result<void> Start(Loop* loop, std::function<void(Fd)> accepted);
  const std::string& path() const { return path_; }

 private:
  Listener(std::string path, FileLock lock, Fd socket)
      : path_(std::move(path)), lock_(std::move(lock)), socket_(std::move(socket)) {}
  void Accept();

  std::string path_;
  FileLock lock_;
  Fd socket_;
  bool borrowed_ = false;  // taken over, and not started yet
  Loop* loop_ = nullptr;
  std::function<void(Fd)> accepted_;
  Loop::TimerId pause_ = 0;  // after EMFILE: not a busy loop
};

}  // namespace penstock::cache
