#include "cache/admin/client.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "cache/session/handshake.h"
#include "cache/session/socket_files.h"

namespace penstock::cache {
namespace {

using Kind = AdminProblem::Kind;

std::int64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

// Waits for `events`; false at the deadline.
bool WaitFor(int fd, short events, std::int64_t deadline_ms) {
  for (;;) {
    const std::int64_t left_ms = std::clamp<std::int64_t>(deadline_ms - NowMs(), 0, 1 << 30);
    pollfd entry{fd, events, 0};
    const int n = poll(&entry, 1, static_cast<int>(left_ms));
    if (n > 0) return true;
    if (n == 0 && left_ms == 0) return false;
    if (n < 0 && errno != EINTR) return false;
  }
}

AdminProblem Problem(Kind kind, int errno_value, std::string text) {
  return {kind, errno_value, std::move(text)};
}

std::string WhyRefused(const std::string& socket, int err) {
  switch (err) {
    case EACCES:
      return fmt::format(
          "the sidecar at {} belongs to another user and does not let "
          "this one in (sidecar.allow_uids)",
          socket);
    case EPROTO:
      return fmt::format(
          "the sidecar at {} is of another version; stop it and start it "
          "again",
          socket);
    case EBUSY:
      return fmt::format("the sidecar at {} is ending or full", socket);
    default:
      return fmt::format("the sidecar at {} refused: {}", socket, strerror(err));
  }
}

bool SendHello(int fd, bool announce) {
  pst_hello hello{};
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR;
  hello.minor = PST_ABI_MINOR;
  hello.role = PST_ROLE_ADMIN;
  hello.pid = static_cast<std::uint32_t>(getpid());
  const Fd pidfd(announce ? static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)) : -1);
  const int raw = pidfd.get();
  if (!pidfd.valid()) return SendMessage(fd, &hello, sizeof hello, {}).has_value();
  hello.flags = PST_HELLO_PIDFD;
  return SendMessage(fd, &hello, sizeof hello, std::span(&raw, 1)).has_value();
}

}  // namespace

std::expected<AdminClient, AdminProblem> AdminClient::Connect(const std::string& socket,
                                                              std::int64_t timeout_ms,
                                                              bool announce) {
  const std::int64_t deadline_ms = NowMs() + timeout_ms;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path)
    return std::unexpected(Problem(Kind::kNobody, ENAMETOOLONG, "the socket's path is too long"));
  memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return std::unexpected(Problem(Kind::kBroken, errno, strerror(errno)));
  AdminClient client(fd, socket);
  while (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int err = errno;
    if (err == EINTR) continue;
    if (err == EAGAIN && NowMs() < deadline_ms) {  // its backlog is full
      poll(nullptr, 0, 5);
      continue;
    }
    const Kind kind = err == EACCES || err == EPERM ? Kind::kRefused
                      : err == EAGAIN               ? Kind::kSilent
                                                    : Kind::kNobody;
    return std::unexpected(
        Problem(kind, err, fmt::format("no sidecar answers at {}: {}", socket, strerror(err))));
  }
  const auto peer = PeerOf(fd);
  if (!peer || !IsTrustedServer(peer->uid, socket))
    return std::unexpected(Problem(
        Kind::kRefused, EACCES,
        fmt::format("what answers at {} runs as user {}, who is neither this one nor the owner of "
                    "the socket's folder; it is not trusted",
                    socket, peer ? peer->uid : UINT32_MAX)));
  if (!SendHello(fd, announce))
    return std::unexpected(
        Problem(Kind::kBroken, errno, fmt::format("the sidecar at {} hung up", socket)));
  pst_welcome welcome{};
  if (!WaitFor(fd, POLLIN, deadline_ms))
    return std::unexpected(
        Problem(Kind::kSilent, ETIMEDOUT,
                fmt::format("the sidecar at {} did not answer within {} ms", socket, timeout_ms)));
  const ssize_t n = recv(fd, &welcome, sizeof welcome, 0);
  if (n != sizeof welcome || welcome.magic != PST_HELLO_MAGIC)
    return std::unexpected(
        Problem(Kind::kBroken, EPROTO, fmt::format("what answers at {} is no sidecar", socket)));
  if (welcome.err != PST_WELCOME_OK)
    return std::unexpected(Problem(Kind::kRefused, welcome.err, WhyRefused(socket, welcome.err)));
  return client;
}

AdminClient::AdminClient(AdminClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), socket_(std::move(other.socket_)) {}

AdminClient& AdminClient::operator=(AdminClient&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(socket_, other.socket_);
  return *this;
}

AdminClient::~AdminClient() {
  if (fd_ >= 0) close(fd_);
}

std::expected<Json, AdminProblem> AdminClient::Ask(const Json& request, std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = NowMs() + timeout_ms;
  const std::string text = JsonText(request);
  if (text.size() > PST_ADMIN_MAX)
    return std::unexpected(Problem(Kind::kBroken, E2BIG, "the request is too long: name fewer"));
  if (send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return std::unexpected(
        Problem(Kind::kBroken, errno, fmt::format("the sidecar at {} is gone", socket_)));
  if (!WaitFor(fd_, POLLIN, deadline_ms))
    return std::unexpected(
        Problem(Kind::kSilent, ETIMEDOUT,
                fmt::format("the sidecar at {} did not answer within {} ms", socket_, timeout_ms)));
  std::string reply(PST_ADMIN_MAX, '\0');
  const ssize_t n = recv(fd_, reply.data(), reply.size(), 0);
  if (n <= 0)
    return std::unexpected(
        Problem(Kind::kBroken, ECONNRESET, fmt::format("the sidecar at {} is gone", socket_)));
  reply.resize(static_cast<std::size_t>(n));
  auto json = ParseJson(reply);
  if (!json || !json->is_object())
    return std::unexpected(
        Problem(Kind::kBroken, EPROTO, fmt::format("the sidecar at {} sent no answer", socket_)));
  return *std::move(json);
}

bool AdminClient::WaitForEnd(std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = NowMs() + timeout_ms;
  while (WaitFor(fd_, POLLIN, deadline_ms)) {
    char byte;
    const ssize_t n = recv(fd_, &byte, 1, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return true;
  }
  return false;
}

}  // namespace penstock::cache
