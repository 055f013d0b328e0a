#include "cache/session/listener.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr int kBacklog = 1024;
constexpr int kAcceptAtOnce = 64;
constexpr std::int64_t kPauseNs = 100 * kNsPerMs;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

// True if somebody accepts connections there.
bool Answers(const std::string& path) {
  const Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un address = AddressOf(path);
  return fd.valid() &&
         (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
          errno == EAGAIN);
}

Result<FileLock> LockSocket(const std::string& path, std::int64_t wait_ms,
                            std::string* explanation) {
  const std::string lock_path = path + ".lock";
  const std::int64_t deadline_ns = SystemClock::Get().NowNs() + wait_ms * kNsPerMs;
  for (;;) {
    std::uint32_t holder = 0;
    auto lock = FileLock::Acquire(lock_path, 0, &holder);
    if (lock) return lock;
    if (lock.error().code != Code::kLimit) {
      *explanation =
          fmt::format("{} cannot be locked: {}", lock_path, strerror(lock.error().errno_value));
      return lock;
    }
    // A sidecar that is ending answers too; whoever started us has seen to it that it does not.
    if (Answers(path) || SystemClock::Get().NowNs() >= deadline_ns) {
      *explanation = fmt::format(
          "another sidecar (process {}) serves {}; stop it with `penstock "
          "stop`, or choose another sidecar.socket",
          holder, path);
      return lock;
    }
    poll(nullptr, 0, 10);
  }
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::Open(const std::string& path, bool for_other_users,
                                                 std::int64_t wait_ms, std::string* explanation) {
  if (auto folder = PrepareSocketFolder(path, for_other_users, explanation); !folder)
    return std::unexpected(folder.error());
  auto lock = LockSocket(path, wait_ms, explanation);
  if (!lock) return std::unexpected(lock.error());
  const auto fail = [&](const char* what) {
    const int err = errno;
    *explanation = fmt::format("{}: {} failed: {}", path, what, strerror(err));
    return std::unexpected(ErrnoError(err, "making the job's socket"));
  };
  struct stat status{};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      *explanation = fmt::format("{} is there and is no socket; it is left alone", path);
      return Fail(Code::kInvalid, "making the job's socket");
    }
    if (unlink(path.c_str()) != 0) return fail("removing the socket of a dead sidecar");
  }
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail("socket");
  const sockaddr_un address = AddressOf(path);
  // Nobody can connect before listen(), so the mode may be set between.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail("bind");
  if (chmod(path.c_str(), for_other_users ? 0666 : 0600) != 0) return fail("chmod");
  if (listen(fd.get(), kBacklog) != 0) return fail("listen");
  return std::unique_ptr<Listener>(new Listener(path, *std::move(lock), std::move(fd)));
}

Result<std::unique_ptr<Listener>> Listener::TakeOver(const std::string& path, Fd listening, Fd lock_fd,
                                                     std::string* explanation) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  const sockaddr_un wanted = AddressOf(path);
  int listens = 0;
  socklen_t listens_size = sizeof listens;
  if (getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      strncmp(address.sun_path, wanted.sun_path, sizeof wanted.sun_path) != 0 ||
      getsockopt(listening.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || listens != 1) {
    *explanation = "what was handed over is not the job's socket";
    return Fail(Code::kInvalid, "taking the job's socket over");
  }
  auto lock = FileLock::TakeOver(std::move(lock_fd), path + ".lock");
  if (!lock) {
    *explanation = lock.error().context;
    return std::unexpected(lock.error());
  }
  std::unique_ptr<Listener> listener(new Listener(path, *std::move(lock), std::move(listening)));
  listener->borrowed_ = true;
  return listener;
}

void Listener::Pause() {
  if (loop_ == nullptr || !socket_.valid()) return;
  loop_->Unwatch(socket_.get());
  if (pause_ != 0) loop_->CancelTimer(std::exchange(pause_, 0));
  loop_ = nullptr;
}

void Listener::Release() {
  Pause();
  socket_.Reset();
  lock_.Release();
}

Listener::~Listener() { Close(); }

void Listener::Close() {
  if (borrowed_) return Release();
  if (!socket_.valid()) return;
  if (loop_ != nullptr) {
    loop_->Unwatch(socket_.get());
    if (pause_ != 0) loop_->CancelTimer(std::exchange(pause_, 0));
  }
  unlink(path_.c_str());
  socket_.Reset();
}

Result<void> Listener::Start(Loop* loop, std::function<void(Fd)> accepted) {
  borrowed_ = false;
  loop_ = loop;
  accepted_ = std::move(accepted);
  return loop_->Watch(socket_.get(), POLLIN, [this](std::uint32_t) { Accept(); });
}

void Listener::Accept() {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    const int fd = accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      accepted_(Fd(fd));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      log::Warning("no descriptor left for another program: {}", strerror(errno));
      loop_->Unwatch(socket_.get());
      pause_ = loop_->After(kPauseNs, [this] {
        pause_ = 0;
        if (!loop_->Watch(socket_.get(), POLLIN, [this](std::uint32_t) { Accept(); }))
          log::Error("the job's socket cannot be watched any more");
      });
    }
    return;
  }
}

}  // namespace penstock::cache
