// Two sidecars of one job change places: `penstock upgrade`.
//
//   the one that serves                          its successor (penstockd --take-over FD)
//   starts it ---------------------------------> reads the configuration, looks at origins and
//   snapshots
//             <------------------------- ready, the socket's path
//   ends its sessions, lets go of cache folder and memory
//   take, with the listening socket and the lock -> adopts the memory, opens the cache folder,
//   accepts
//             <------------------------- serving
//   ends
//
// Programs see their session end and connect again: to the same socket, which is open all the time,
// so that they wait in its queue instead of failing. Until "ready" nothing has happened to anybody.
// Until "serving" the old one begins again by itself when its successor ends or takes too long. A
// successor whose predecessor dies before "take" ends; after it, it serves.
//
// Messages go over a socket pair (SOCK_SEQPACKET): magic, version, kind, and a text. Both ends are
// of one user and one machine, but not of one build: another version is refused.
//
// Thread safety: one thread each.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cache/job/fd.h"
#include "transport/base/result.h"

namespace penstock::cache {

inline constexpr std::int64_t kReadyMs = 60'000;  // configuration, origins, snapshots
inline constexpr std::int64_t kServingMs =
    30'000;                            // memory and cache folder; programs wait so long
inline constexpr int kHandoverFd = 3;  // where the successor finds its end

enum class HandoverKind : std::uint32_t { kReady = 1, kTake = 2, kServing = 3, kFailed = 4 };

struct HandoverMessage {
  HandoverKind kind = HandoverKind::kFailed;
  std::string text;
  std::vector<Fd> fds;
};

// The old one's view.
class Successor {
 public:
  // Starts `program` with `arguments`, in the background, with our output and our credentials.
  static Result<Successor> Start(const std::string& program,
                                 const std::vector<std::string>& arguments);
  Successor(Successor&&) noexcept;
  Successor& operator=(Successor&&) = delete;
  ~Successor();  // ends it, unless it was let go

  int fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }
  // The next message, waited for up to `timeout_ms`: kFailed with a text when it has ended, speaks
  // another version or says nothing in time.
  HandoverMessage Await(std::int64_t timeout_ms);
  bool Give(int listening_socket, int lock);
  void LetGo() { pid_ = 0; }

 private:
  Successor(pid_t pid, Fd socket) : pid_(pid), socket_(std::move(socket)) {}
  pid_t pid_ = 0;
  Fd socket_;
};

// The new one's view.
class Predecessor {
 public:
  explicit Predecessor(Fd socket) : socket_(std::move(socket)) {}
  bool Say(HandoverKind kind, const std::string& text);
  // Waits for the listening socket and the lock, in this order. Fails when the predecessor has
  // ended.
  Result<std::vector<Fd>> Take();

 private:
  Fd socket_;
};

}  // namespace penstock::cache
