#include "tests/session/raw_client.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kWaitNs = 10'000'000'000;

}  // namespace

RawClient::~RawClient() {
  CloseSocket();
  for (const int fd : fds_) close(fd);
  if (session_ != nullptr) munmap(session_, sizeof *session_);
}

void RawClient::CloseSocket() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

int RawClient::Join(const std::string& path, bool with_pidfd) {
  pst_hello hello{};
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR;
  hello.minor = PST_ABI_MINOR;
  hello.role = PST_ROLE_CLIENT;
  hello.pid = static_cast<std::uint32_t>(getpid());
  if (with_pidfd) hello.flags = PST_HELLO_PIDFD;
  const int err = SayHello(path, &hello, sizeof hello);
  if (err == 0 && !Map()) return -1;
  return err;
}

int RawClient::SayHello(const std::string& path, const void* bytes, std::size_t size) {
  socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return -1;
  iovec part{const_cast<void*>(bytes), size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
  pst_hello hello{};
  memcpy(&hello, bytes, size < sizeof hello ? size : sizeof hello);
  int pidfd = -1;
  if (size == sizeof hello && (hello.flags & PST_HELLO_PIDFD) != 0) {
    pidfd = static_cast<int>(syscall(SYS_pidfd_open, pidfd_of != 0 ? pidfd_of : getpid(), 0));
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof pidfd);
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof pidfd);
    memcpy(CMSG_DATA(c), &pidfd, sizeof pidfd);
  }
  const bool sent = sendmsg(socket_, &header, MSG_NOSIGNAL) >= 0;
  if (pidfd >= 0) close(pidfd);
  if (!sent) return -1;
  pollfd entry{socket_, POLLIN, 0};
  if (poll(&entry, 1, 10'000) != 1) return -1;
  part = {&welcome_, sizeof welcome_};
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = recvmsg(socket_, &header, MSG_CMSG_CLOEXEC);
  if (n != sizeof welcome_) return -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds_.push_back(fd);
    }
  }
  return welcome_.err;
}

bool RawClient::Map() {
  if (fds_.size() != PST_WELCOME_FDS || welcome_.session_bytes != sizeof(pst_session)) return false;
  void* index = mmap(nullptr, welcome_.index_bytes, PROT_READ, MAP_SHARED, fds_[0], 0);
  void* arena = mmap(nullptr, welcome_.arena_bytes, PROT_READ, MAP_SHARED, fds_[1], 0);
  void* session =
      mmap(nullptr, sizeof(pst_session), PROT_READ | PROT_WRITE, MAP_SHARED, fds_[2], 0);
  if (index == MAP_FAILED || arena == MAP_FAILED || session == MAP_FAILED) return false;
  session_ = static_cast<pst_session*>(session);
  return pst_view_init(&view_, index, welcome_.index_bytes, arena, welcome_.arena_bytes) == 0;
}

void RawClient::Submit(std::uint32_t index, const Ask& ask) {
  pst_request& r = request(index);
  r.op = ask.op;
  r.ns = ask.ns;
  r.flags = ask.flags;
  r.id = KeyOf(ask.path);
  r.version = ask.version;
  r.offset = ask.offset;
  r.length = ask.length;
  r.deadline_ns = ask.deadline_ns != 0 ? ask.deadline_ns : MonotonicNs() + kWaitNs;
  r.path_len = static_cast<std::uint32_t>(ask.path.size());
  r.slot = ask.slot;
  r.slot_generation = ask.slot_generation;
  memcpy(session_->buffers[index], ask.path.data(), ask.path.size());
  PST_STORE_RELEASE(&r.state, PST_REQUEST_SUBMITTED);
  __atomic_fetch_or(&session_->submitted, 1ull << index, __ATOMIC_RELEASE);
  Ring();
}

void RawClient::Ring() {
  const std::uint64_t one = 1;
  (void)!write(fds_[3], &one, sizeof one);
}

bool RawClient::WaitState(std::uint32_t index, std::uint32_t state) {
  const std::int64_t deadline_ns = MonotonicNs() + kWaitNs;
  for (;;) {
    const std::uint32_t now = PST_LOAD_ACQUIRE(&request(index).state);
    if (now == state) return true;
    if (MonotonicNs() > deadline_ns) return false;
    const timespec slice{0, 20'000'000};
    syscall(SYS_futex, &request(index).state, FUTEX_WAIT, now, &slice, nullptr, 0);
  }
}

bool RawClient::Wait(std::uint32_t index) {
  if (!WaitState(index, PST_REQUEST_DONE)) return false;
  PST_STORE_RELEASE(&request(index).state, PST_REQUEST_FREE);
  return true;
}

int RawClient::Call(const Ask& ask) {
  Submit(0, ask);
  return Wait(0) ? request(0).err : -1;
}

int RawClient::Exchange(std::uint64_t ticket) {
  const pst_fd_request ask{PST_FD_REQUEST_MAGIC, 0, ticket};
  if (send(socket_, &ask, sizeof ask, MSG_NOSIGNAL) != sizeof ask) return -EPIPE;
  pst_fd_reply reply{};
  iovec part{&reply, sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  pollfd entry{socket_, POLLIN, 0};
  if (poll(&entry, 1, 10'000) != 1) return -ETIMEDOUT;
  if (recvmsg(socket_, &header, MSG_CMSG_CLOEXEC) != sizeof reply) return -EPIPE;
  if (reply.err != 0) return -reply.err;
  int fd = -EIO;
  if (const cmsghdr* c = CMSG_FIRSTHDR(&header)) memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}

bool RawClient::WaitHangup() {
  pollfd entry{socket_, POLLIN, 0};
  if (poll(&entry, 1, 10'000) != 1) return false;
  char byte;
  return recv(socket_, &byte, 1, MSG_DONTWAIT) <= 0;
}

bool RawClient::Read(const std::string& path, std::uint64_t version, std::uint32_t range,
                     std::string* bytes) {
  const pst_key key{KeyOf(path), version, PST_NS_FILES, range};
  pst_entry entry;
  if (pst_find(&view_, &key, &entry) == 0) return false;
  bytes->assign(reinterpret_cast<const char*>(pst_entry_bytes(&view_, &entry)), entry.length);
  return pst_entry_current(&view_, &entry) != 0;
}

}  // namespace penstock::cache
