#include "cache/session/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace penstock::cache {

Result<Message> ReceiveMessage(int socket, std::span<std::byte> buffer) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxHelloFds)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return Fail(Code::kNotFound, "no message has come");
  if (n < 0) return std::unexpected(ErrnoError(errno, "receiving from a client"));
  Message message;
  message.bytes = static_cast<std::size_t>(n);
  message.truncated = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      message.fds.emplace_back(fd);
    }
  }
  return message;
}

Result<void> SendMessage(int socket, const void* data, std::size_t bytes,
                         std::span<const int> fds) {
  iovec part{const_cast<void*>(data), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * PST_WELCOME_FDS)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    if (fds.size() > PST_WELCOME_FDS) return Fail(Code::kInvalid, "too many descriptors to send");
    memset(control, 0, sizeof control);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  ssize_t n = 0;
  do {
    n = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(bytes)) return {};
  if (n < 0 && errno == EAGAIN) return Fail(Code::kLimit, "a client does not read its answers");
  return std::unexpected(ErrnoError(errno, "sending to a client"));
}

int CheckHello(std::span<const std::byte> bytes, std::size_t fd_count, Hello* hello) {
  pst_hello raw{};
  if (bytes.size() < sizeof raw) return EINVAL;
  memcpy(&raw, bytes.data(), sizeof raw);
  if (raw.magic != PST_HELLO_MAGIC) return EINVAL;
  if (raw.major != PST_ABI_MAJOR) return EPROTO;
  if (bytes.size() != sizeof raw) return EINVAL;
  if (raw.role != PST_ROLE_CLIENT && raw.role != PST_ROLE_ADMIN) return EINVAL;
  if ((raw.flags & ~(PST_HELLO_PIDFD | PST_HELLO_OPEN_FILES)) != 0) return EINVAL;
  std::size_t wanted = 0;
  if ((raw.flags & PST_HELLO_PIDFD) != 0) hello->pidfd_index = static_cast<int>(wanted++);
  if ((raw.flags & PST_HELLO_OPEN_FILES) != 0) hello->open_files_index = static_cast<int>(wanted++);
  if (wanted != fd_count) return EINVAL;
  hello->role = raw.role;
  hello->pid = raw.pid;
  hello->parent_session = raw.parent_session;
  return 0;
}

bool IsPidfd(int fd) {
  // Signal 0 does nothing. Whatever else stands against it (another user, another namespace,
  // already dead), only a descriptor that is no pidfd gives EBADF.
  return syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0) == 0 || errno != EBADF;
}

namespace {

// The process behind a pidfd as /proc knows it; 0 where that is not told, -1 when it has ended.
long PidBehind(int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  const Fd info(open(path, O_RDONLY | O_CLOEXEC));
  char text[1024] = {};
  if (!info.valid() || read(info.get(), text, sizeof text - 1) <= 0) return 0;
  const char* line = strstr(text, "\nPid:");
  return line == nullptr ? 0 : strtol(line + 5, nullptr, 10);
}

// Whether /proc counts processes as the socket does; it may belong to another pid namespace.
bool ProcIsOurs() {
  static const bool ours = [] {
    const Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    return self.valid() && PidBehind(self.get()) == getpid();
  }();
  return ours;
}

}  // namespace

bool IsPidfdOf(int fd, std::uint32_t pid) {
  if (!IsPidfd(fd)) return false;
  if (pid == 0 || !ProcIsOurs()) return true;
  const long behind = PidBehind(fd);
  return behind <= 0 || behind == static_cast<long>(pid);
}

Result<Peer> PeerOf(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
      size != sizeof credentials)
    return std::unexpected(ErrnoError(errno, "asking who a client is"));
  return Peer{credentials.uid, static_cast<std::uint32_t>(credentials.pid)};
}

}  // namespace penstock::cache
