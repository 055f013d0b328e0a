#include "cache/daemon/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cache/session/handshake.h"
#include "transport/base/clock.h"
#include "transport/base/environment.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kMagic = 0x4f485350;  // "PSHO"
constexpr std::uint32_t kWireVersion = 1;
constexpr std::size_t kTextMax = 4096;

struct Wire {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t kind;
  std::uint32_t text_bytes;
  char text[kTextMax];
};

bool Send(int socket, HandoverKind kind, const std::string& text, std::span<const int> fds) {
  Wire wire{};
  wire.magic = kMagic;
  wire.version = kWireVersion;
  wire.kind = static_cast<std::uint32_t>(kind);
  wire.text_bytes = static_cast<std::uint32_t>(std::min(text.size(), kTextMax));
  memcpy(wire.text, text.data(), wire.text_bytes);
  return SendMessage(socket, &wire, offsetof(Wire, text) + wire.text_bytes, fds).has_value();
}

HandoverMessage Failed(std::string why) { return {HandoverKind::kFailed, std::move(why), {}}; }

HandoverMessage Receive(int socket, std::int64_t timeout_ms) {
  const std::int64_t deadline_ns = SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  for (;;) {
    const std::int64_t left_ms = (deadline_ns - SystemClock::Get().NowNs()) / kNsPerMs;
    pollfd entry{socket, POLLIN, 0};
    const int n = poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left_ms, 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed(fmt::format("it said nothing within {} s", timeout_ms / 1000));
    Wire wire{};
    auto message = ReceiveMessage(socket, std::as_writable_bytes(std::span(&wire, 1)));
    if (!message && message.error().code == Code::kNotFound) continue;
    if (!message || message->bytes == 0) return Failed("it has ended");
    if (message->truncated || message->bytes < offsetof(Wire, text) || wire.magic != kMagic ||
        wire.version != kWireVersion || wire.text_bytes > kTextMax ||
        message->bytes != offsetof(Wire, text) + wire.text_bytes)
      return Failed("it speaks another version of the hand-over");
    return {static_cast<HandoverKind>(wire.kind), std::string(wire.text, wire.text_bytes),
            std::move(message->fds)};
  }
}

}  // namespace

Result<Successor> Successor::Start(const std::string& program,
                                   const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return std::unexpected(ErrnoError(errno, "socketpair"));
  Fd ours(ends[0]), theirs(ends[1]);
  std::vector<std::string> words{program}, environment = EnvironmentWithSecrets();
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv, env;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (std::string& variable : environment) env.push_back(variable.data());
  env.push_back(nullptr);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t pid = fork();
  if (pid == 0) {  // only calls that are safe where other threads may have held locks
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (null >= 0) dup2(null, 0);
    if (theirs.get() != kHandoverFd) dup2(theirs.get(), kHandoverFd);
    fcntl(kHandoverFd, F_SETFD, 0);
    close_range(kHandoverFd + 1, ~0u, 0);
    execve(program.c_str(), argv.data(), env.data());
    _exit(127);
  }
  if (null >= 0) close(null);
  if (pid < 0) return std::unexpected(ErrnoError(errno, "fork"));
  return Successor(pid, std::move(ours));
}

Successor::Successor(Successor&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), socket_(std::move(other.socket_)) {}

Successor::~Successor() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {  // what it held is free only then
  }
}

HandoverMessage Successor::Await(std::int64_t timeout_ms) {
  return Receive(socket_.get(), timeout_ms);
}

bool Successor::Give(int listening_socket, int lock) {
  const std::array<int, 2> fds = {listening_socket, lock};
  return Send(socket_.get(), HandoverKind::kTake, "", fds);
}

bool Predecessor::Say(HandoverKind kind, const std::string& text) {
  return Send(socket_.get(), kind, text, {});
}

Result<std::vector<Fd>> Predecessor::Take() {
  HandoverMessage message = Receive(socket_.get(), kReadyMs);
  if (message.kind != HandoverKind::kTake || message.fds.size() != 2)
    return Fail(Code::kUnavailable, "the sidecar that was to be replaced has ended");
  return std::move(message.fds);
}

}  // namespace penstock::cache
