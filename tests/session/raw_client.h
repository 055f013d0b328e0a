// A client that speaks shim/abi by itself: joins, asks, reads bytes from the arena. Nothing of the
// shim.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shim/abi/handshake.h"
#include "shim/abi/index.h"
#include "shim/abi/open_file.h"
#include "shim/abi/session.h"

namespace penstock::cache {

class RawClient {
 public:
  RawClient() = default;
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // Connects and says hello; gives welcome.err, or -1 if there was no welcome.
  int Join(const std::string& socket, bool with_pidfd = true);
  // Sends these bytes as the hello; gives welcome.err, or -1.
  int SayHello(const std::string& socket, const void* bytes, std::size_t size);
  void CloseSocket();
  int pidfd_of = 0;  // whose pidfd Join sends; 0: the caller's

  struct Ask {
    std::uint32_t op = 0;
    std::uint32_t ns = PST_NS_FILES;
    std::string path = {};
    std::uint64_t version = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint32_t flags = 0;
    std::uint32_t slot = PST_NO_SLOT;
    std::uint32_t slot_generation = 0;
    std::int64_t deadline_ns = 0;  // 0: in 10 s
  };
  // Fills request slot `index` and rings. Does not wait.
  void Submit(std::uint32_t index, const Ask& ask);
  void Ring();
  // Waits for an answer (10 s); false if none came.
  bool Wait(std::uint32_t index);
  // Both, in slot 0; the answer is then in request(0). -1 or its err.
  int Call(const Ask& ask);
  // The state of a slot becomes `state` within 10 s.
  bool WaitState(std::uint32_t index, std::uint32_t state);
  // The fd of a ticket, or -errno.
  int Exchange(std::uint64_t ticket);
  // True once the sidecar has closed the connection (within 10 s).
  bool WaitHangup();

  // Bytes of a range from the arena, by the reader's protocol; false on a miss.
  bool Read(const std::string& path, std::uint64_t version, std::uint32_t range,
            std::string* bytes);

  pst_session* session() { return session_; }
  pst_request& request(std::uint32_t index) { return session_->requests[index]; }
  const pst_welcome& welcome() const { return welcome_; }
  const std::vector<int>& fds() const { return fds_; }
  const pst_view& view() const { return view_; }
  int socket() const { return socket_; }

 private:
  bool Map();
  int socket_ = -1;
  pst_welcome welcome_{};
  std::vector<int> fds_;
  pst_session* session_ = nullptr;
  pst_view view_{};
};

}  // namespace penstock::cache
