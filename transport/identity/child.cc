#include "transport/identity/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "transport/base/clock.h"

namespace penstock::identity {
namespace {

constexpr std::size_t kMaxErrorBytes = 8u << 10;

// Closes when it goes.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void Set(int fd) {
    Close();
    fd_ = fd;
  }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Descriptor read;
  Descriptor write;
  bool Open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    read.Set(fds[0]);
    write.Set(fds[1]);
    return fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0;
  }
};

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& one : strings) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// An errno, 0 on success.
int Spawn(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
          int out, int err, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t usual;
  sigfillset(&usual);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  const int failure = posix_spawn(pid, argv[0].c_str(), &actions, &attributes,
                                  Pointers(argv).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failure;
}

// Takes what there is. False once `text` would exceed `max_bytes`, unless the rest may be lost.
bool Drain(int fd, std::string* text, std::size_t max_bytes, bool may_lose) {
  std::array<char, 4096> bytes;
  for (ssize_t n = 0; (n = read(fd, bytes.data(), bytes.size())) > 0;) {
    const std::size_t room = max_bytes - std::min(max_bytes, text->size());
    const std::size_t taken = std::min(room, static_cast<std::size_t>(n));
    text->append(bytes.data(), taken);
    if (taken < static_cast<std::size_t>(n) && !may_lose) return false;
  }
  return true;
}

void KillGroup(pid_t pid) { kill(-pid, SIGKILL); }

}  // namespace

ChildOutput RunChild(const std::vector<std::string>& argv,
                     const std::vector<std::string>& environment, std::size_t max_bytes,
                     std::int64_t deadline_ns, const std::atomic<bool>& cancelled, int wake_fd) {
  ChildOutput output;
  Pipe out, err;
  if (!out.Open() || !err.Open()) {
    output.status = errno;
    return output;
  }
  pid_t pid = -1;
  output.status = Spawn(argv, environment, out.write.get(), err.write.get(), &pid);
  if (output.status != 0) return output;
  out.write.Close();
  err.write.Close();
  // Readable when the child has ended, whoever of its own children still holds the pipes.
  const Descriptor ended(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const Clock& clock = SystemClock::Get();
  output.end = ended.get() < 0 ? ChildOutput::End::kNotStarted : ChildOutput::End::kExited;
  for (bool over = ended.get() < 0; !over;) {
    pollfd entries[] = {{ended.get(), POLLIN, 0},
                        {wake_fd, POLLIN, 0},
                        {out.read.get(), POLLIN, 0},
                        {err.read.get(), POLLIN, 0}};
    const std::int64_t left_ms = (deadline_ns - clock.NowNs()) / kNsPerMs;
    const int n = poll(entries, std::size(entries),
                       static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, 60'000)));
    if (n < 0 && errno != EINTR) break;
    if (!Drain(out.read.get(), &output.out, max_bytes, false)) {
      output.end = ChildOutput::End::kTooMuch;
    }
    Drain(err.read.get(), &output.err, kMaxErrorBytes, true);
    // A pipe that has ended would wake us for nothing.
    if ((entries[2].revents & POLLHUP) != 0) out.read.Close();
    if ((entries[3].revents & POLLHUP) != 0) err.read.Close();
    if (cancelled.load(std::memory_order_acquire)) output.end = ChildOutput::End::kCancelled;
    if (output.end == ChildOutput::End::kExited && n == 0 && left_ms <= 0) {
      output.end = ChildOutput::End::kDeadline;
    }
    over = (entries[0].revents & POLLIN) != 0 || output.end != ChildOutput::End::kExited;
  }
  if (output.end != ChildOutput::End::kExited) KillGroup(pid);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (output.end != ChildOutput::End::kExited) return output;
  if (WIFSIGNALED(status)) {
    output.end = ChildOutput::End::kKilled;
    output.status = WTERMSIG(status);
  } else {
    output.status = WEXITSTATUS(status);
  }
  return output;
}

}  // namespace penstock::identity
