// A connection to a sidecar for administration: one JSON document a message, request and reply in
// turn (shim/abi/handshake.h, role admin).
//
// Thread safety: one thread at a time. Every call ends at its deadline at the latest.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "cache/admin/json.h"
#include "shim/abi/handshake.h"

namespace penstock::cache {

// Why there is no connection or no answer.
struct AdminProblem {
  enum class Kind : std::uint8_t {
    kNobody,   // no socket, or nobody listens on it
    kRefused,  // another user, another version, or it is about to end
    kSilent,   // no answer before the deadline
    kBroken,   // the connection ended, or what came is no answer
  };
  Kind kind = Kind::kBroken;
  int errno_value = 0;  // kRefused: welcome.err
  std::string text;     // for a person; names the socket
};

class AdminClient {
 public:
  // With `announce` the sidecar gets a pidfd of this process, for "hold": it then counts as a
  // program until it ends, whatever it becomes by exec.
  static std::expected<AdminClient, AdminProblem> Connect(const std::string& socket,
                                                          std::int64_t timeout_ms,
                                                          bool announce = false);
  AdminClient(AdminClient&& other) noexcept;
  AdminClient& operator=(AdminClient&& other) noexcept;
  AdminClient(const AdminClient&) = delete;
  AdminClient& operator=(const AdminClient&) = delete;
  ~AdminClient();

  std::expected<Json, AdminProblem> Ask(const Json& request, std::int64_t timeout_ms);
  // Waits until the sidecar closes the connection; false at the deadline.
  bool WaitForEnd(std::int64_t timeout_ms);

 private:
  AdminClient(int fd, std::string socket) : fd_(fd), socket_(std::move(socket)) {}
  int fd_ = -1;
  std::string socket_;
};

}  // namespace penstock::cache
