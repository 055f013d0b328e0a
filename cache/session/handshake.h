// The first message of a connection, and messages with descriptors.
//
// Thread safety: pure functions over the descriptors they are given; nothing blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/job/fd.h"
#include "shim/abi/handshake.h"
#include "transport/base/result.h"

namespace penstock::cache {

// A message as it came. Descriptors beyond kMaxHelloFds are refused and closed.
inline constexpr std::size_t kMaxHelloFds = 2;

struct Message {
  std::size_t bytes = 0;  // 0: the other side has closed
  std::vector<Fd> fds;
  bool truncated = false;  // too long, or too many descriptors
};

// kNotFound if there is nothing to read now; any other error ends the connection.
Result<Message> ReceiveMessage(int socket, std::span<std::byte> buffer);

// Sends without blocking; a peer that does not read loses its connection (kLimit).
Result<void> SendMessage(int socket, const void* data, std::size_t bytes, std::span<const int> fds);

// What a hello asks for, once it is sound.
struct Hello {
  std::uint32_t role = PST_ROLE_CLIENT;
  std::uint32_t pid = 0;
  std::uint64_t parent_session = 0;
  int pidfd_index = -1;  // into the message's descriptors
  int open_files_index = -1;
};

// 0 and `hello`, or the welcome's err: EINVAL, EPROTO.
int CheckHello(std::span<const std::byte> bytes, std::size_t fd_count, Hello* hello);

// True if `fd` is a pidfd, so that its end can be waited for.
bool IsPidfd(int fd);
// True if `fd` is a pidfd of this process, as far as that can be told: not of one that lives in
// another pid namespace (`pid` is 0), and not without /proc.
bool IsPidfdOf(int fd, std::uint32_t pid);

// Uid and pid of the other side. The pid is 0 if it lives in another pid namespace.
struct Peer {
  std::uint32_t uid = UINT32_MAX;
  std::uint32_t pid = 0;
};
Result<Peer> PeerOf(int socket);

}  // namespace penstock::cache
