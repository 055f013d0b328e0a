// A connection of role admin: JSON documents, request and reply in turn. While a request is being
// worked on no other is read. One that asks nothing for a minute is ended, but not while the sidecar
// ends: who asked for that waits for the end of the connection.
//
// Thread safety: core thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cache/base/loop.h"
#include "cache/job/fd.h"
#include "cache/session/handshake.h"

namespace penstock::cache {

struct AdminRequest {
  std::string text;
  Peer peer;
  Fd pidfd;  // of the asking process, with the first request, if it sent one
};
using AdminReply = std::move_only_function<void(std::string text)>;
// Answers by calling `reply` once, at once or later, on the core thread.
using AdminHandler = std::function<void(AdminRequest request, AdminReply reply)>;
inline constexpr std::int64_t kAdminIdleNs = 60'000'000'000;

class AdminConnection : public std::enable_shared_from_this<AdminConnection> {
 public:
  using OnEnd = std::function<void(AdminConnection*)>;
  AdminConnection(Loop* loop, Fd socket, Fd pidfd, const Peer& peer, AdminHandler* handler,
                  OnEnd on_end, std::function<bool()> ending);
  ~AdminConnection();
  AdminConnection(const AdminConnection&) = delete;
  AdminConnection& operator=(const AdminConnection&) = delete;
  bool Start();
  const Peer& peer() const { return peer_; }

 private:
  void AwaitNext();
  void OnReadable();
  void Reply(const std::string& text);
  void End();

  Loop* loop_;
  Fd socket_;
  Fd pidfd_;
  Peer peer_;
  AdminHandler* handler_;
  OnEnd on_end_;
  std::function<bool()> ending_;
  Loop::TimerId idle_timer_ = 0;
  bool watching_ = false;
  bool ended_ = false;
};

}  // namespace penstock::cache
