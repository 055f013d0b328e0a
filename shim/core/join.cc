#include "shim/core/join.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "shim/abi/handshake.h"
#include "shim/abi/open_file.h"
#include "shim/core/client.h"
#include "shim/core/config.h"
#include "shim/core/mapping.h"
#include "shim/core/own_fd.h"
#include "shim/core/own_place.h"
#include "shim/core/raw.h"
#include "shim/core/signals.h"
#include "shim/core/slots.h"
#include "shim/core/time.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace penstock {

ClientPage g_client;

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kHandshakeNs = 5'000 * kMs;   // an accepted client is answered within this
constexpr int64_t kQuickHandshakeNs = 2'000 * kMs;
constexpr int64_t kQuietNs = 1'000 * kMs;       // after a wait in vain: EIO at once for so long
constexpr int64_t kFirstBackoffNs = 5 * kMs;
constexpr int64_t kLastBackoffNs = 250 * kMs;

// Outlives fork (a child tells whose it is) and the session.
uint64_t g_last_session_id;
uint32_t g_last_epoch;

struct Received {
  pst_welcome welcome;
  int fds[8];
  int fd_count;
};

void CloseAll(Received* received) {
  for (int i = 0; i < received->fd_count; ++i) Raw(SYS_close, received->fds[i]);
  received->fd_count = 0;
}

// Who answers must be this user, root, or the owner of the socket's folder; the owner of the socket itself where
// nobody can put a socket into a folder of others' (/tmp). Else another user's process could serve its bytes.
bool TrustedServer(long socket) {
  ucred peer;
  socklen_t size = sizeof peer;
  if (Raw(SYS_getsockopt, socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  if (peer.uid == 0 || peer.uid == (uid_t)Raw(SYS_geteuid)) return true;
  char folder[sizeof(sockaddr_un::sun_path)];
  uint32_t len = g_config.socket_len;
  memcpy(folder, g_config.socket_path, len);
  while (len > 0 && folder[len - 1] != '/') --len;
  memcpy(folder + len, ".", 2);
  struct stat info;
  if (Raw(SYS_newfstatat, AT_FDCWD, folder, &info, 0) != 0) return false;
  if (info.st_uid == peer.uid) return true;
  if ((info.st_mode & S_ISVTX) != 0) return false;
  return Raw(SYS_newfstatat, AT_FDCWD, g_config.socket_path, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         info.st_uid == peer.uid;
}

// A connected socket, or -errno.
long Connect() {
  sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (g_config.socket_len >= sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path, g_config.socket_path, g_config.socket_len + 1);
  long fd = Raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fd;
  long done = Raw(SYS_connect, fd, &address, offsetof(sockaddr_un, sun_path) + g_config.socket_len + 1);
  if (done >= 0 && !TrustedServer(fd)) done = -EACCES;
  if (done < 0) {
    Raw(SYS_close, fd);
    return done;
  }
  return fd;
}

long SendHello(int socket) {
  pst_hello hello;
  memset(&hello, 0, sizeof hello);
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR;
  hello.minor = PST_ABI_MINOR;
  hello.role = PST_ROLE_CLIENT;
  hello.pid = (uint32_t)Raw(SYS_getpid);
  hello.parent_session = g_last_session_id;
  int fds[2], count = 0;
  long pidfd = Raw(SYS_pidfd_open, hello.pid, 0);
  if (pidfd >= 0) {
    hello.flags |= PST_HELLO_PIDFD;
    fds[count++] = (int)pidfd;
  }
  int table = OwnFdChecked(Own::kOpenFiles);
  if (table >= 0) {
    hello.flags |= PST_HELLO_OPEN_FILES;
    fds[count++] = table;
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)];
  memset(control, 0, sizeof control);
  iovec iov = {&hello, sizeof hello};
  msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE((unsigned)count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((unsigned)count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, (unsigned)count * sizeof(int));
  }
  long sent = Raw(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
  if (pidfd >= 0) Raw(SYS_close, pidfd);
  return sent;
}

// 0, or -errno.
long ReceiveWelcome(int socket, int64_t deadline_ns, Received* out) {
  out->fd_count = 0;
  for (;;) {
    int64_t left = deadline_ns - PstMonotonicNs();
    if (left <= 0) return -ETIMEDOUT;
    timespec wait = {(time_t)(left / 1'000'000'000), (long)(left % 1'000'000'000)};
    pollfd ready = {socket, POLLIN, 0};
    long n = Raw(SYS_ppoll, &ready, 1, &wait, nullptr, 8);
    if (n > 0) break;
    if (n < 0 && n != -EINTR) return n;
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof out->fds)];
  iovec iov = {&out->welcome, sizeof out->welcome};
  msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  long n = Raw(SYS_recvmsg, socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return n;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      if (out->fd_count < 8) {
        out->fds[out->fd_count++] = fd;
      } else {
        Raw(SYS_close, fd);
      }
    }
  }
  const pst_welcome& w = out->welcome;
  if (n < (long)offsetof(pst_welcome, session_id) || w.magic != PST_HELLO_MAGIC) return -EPROTO;
  if (w.err != 0) return w.err > 0 && w.err < 4096 ? -(long)w.err : -EPROTO;
  if (n != (long)sizeof w || w.major != PST_ABI_MAJOR || w.fd_count != PST_WELCOME_FDS ||
      out->fd_count != (int)PST_WELCOME_FDS || w.slot_count > PST_WELCOME_SLOTS) {
    return -EPROTO;
  }
  // Numbers that came from the kernel: nothing of ours may stand on them (a raw close of the program).
  for (int i = 0; i < out->fd_count; ++i) PstFdForget(out->fds[i]);
  return 0;
}

// The parts of a forked parent's (or a dead sidecar's) session that must not be used any more.
void LetGo() {
  __atomic_store_n(&g_client.session, (pst_session*)nullptr, __ATOMIC_RELEASE);
  PstDropWarm();
  g_client.pool_head = 0;
  if (g_client.epoch == 0) OwnFdCloseInherited();  // a child that has just been forked
  g_client.epoch = __atomic_add_fetch(&g_last_epoch, 1, __ATOMIC_RELAXED) * 0x10000u + 1;
}

// Takes over what the welcome brought. 0, or a positive errno.
int Install(int socket, Received* received) {
  const WelcomeFds fds = {received->fds[0], received->fds[1], received->fds[2],
                          received->fds[3], received->fds[4], received->fds[5]};
  LetGo();
  int err = MapView(received->welcome, fds);
  if (err != 0) return err;
  pst_session* session = MapSession(received->welcome, fds.session);
  if (session == nullptr) return EPROTO;
  received->fd_count = 0;
  Raw(SYS_close, fds.index);
  Raw(SYS_close, fds.arena);
  Raw(SYS_close, fds.session);
  long moved = OwnFdSet(Own::kDoorbell, fds.doorbell);
  if (moved >= 0) {
    moved = OwnFdSet(Own::kOpenFiles, fds.open_files);
  } else {
    Raw(SYS_close, fds.open_files);
  }
  if (moved >= 0) {
    moved = OwnFdSet(Own::kFolder, PstByOwnPlace(fds.folder, PST_OPEN_FILE_DIR, O_PATH));
  } else {
    Raw(SYS_close, fds.folder);
  }
  // On the socket's failure the caller must not close it again: MoveHigh has.
  if (moved >= 0) {
    moved = OwnFdSet(Own::kSocket, socket);
  } else {
    Raw(SYS_close, socket);
  }
  if (moved < 0) return (int)-moved;
  g_client.session_id = received->welcome.session_id;
  g_last_session_id = received->welcome.session_id;
  g_client.dead = 0;
  PstSlotsLeased(PstView(), received->welcome.slots, received->welcome.slot_count);
  __atomic_store_n(&g_client.session, session, __ATOMIC_RELEASE);
  return 0;
}

// A program that was stopped (SIGSTOP, a frozen cgroup) has not waited in that time: it gets one try all the same.
int64_t NotPast(int64_t deadline_ns) {
  int64_t now = PstMonotonicNs();
  return deadline_ns > now ? deadline_ns : now;
}

// One try. 0, or a positive errno.
int TryJoin(int64_t deadline_ns) {
  static Received received;  // under the lock; too large for a signal handler's stack
  // The kernel gives a forked child a zeroed page: the mark that everything here is its parent's.
  Raw(SYS_madvise, &g_client, sizeof g_client, MADV_WIPEONFORK);
  long socket = Connect();
  if (socket < 0) return (int)-socket;
  PstFdForget((int)socket);
  int64_t until = PstMonotonicNs() + kHandshakeNs;
  // Somebody accepted: even a quick look waits for his answer.
  int64_t quick = NotPast(deadline_ns) + kQuickHandshakeNs;
  if (until > quick) until = quick;
  long err = SendHello((int)socket);
  if (err >= 0) err = ReceiveWelcome((int)socket, until, &received);
  if (err < 0) {
    CloseAll(&received);
    Raw(SYS_close, socket);
    return (int)-err;
  }
  int failed = Install((int)socket, &received);
  if (failed != 0) {
    if (received.fd_count != 0) Raw(SYS_close, socket);  // Install had not got to it
    CloseAll(&received);
  }
  return failed;
}

pst_session* Usable() {
  pst_session* session = __atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE);
  if (session == nullptr || __atomic_load_n(&g_client.dead, __ATOMIC_RELAXED) != 0) return nullptr;
  if (OwnFdChecked(Own::kDoorbell) < 0 || OwnFdChecked(Own::kSocket) < 0) return nullptr;
  return session;
}

}  // namespace

JoinLock::JoinLock(int64_t deadline_ns) {
  mask_ = PstBlockSignals();
  for (;;) {
    uint32_t expected = 0;
    if (__atomic_compare_exchange_n(&g_client.joining, &expected, 1, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
      held_ = true;
      return;
    }
    int64_t left = deadline_ns - PstMonotonicNs();
    if (left <= 0) return;
    PstFutexWait(&g_client.joining, expected, left < 50 * kMs ? left : 50 * kMs, false);
  }
}

JoinLock::~JoinLock() {
  if (held_) {
    __atomic_store_n(&g_client.joining, 0u, __ATOMIC_RELEASE);
    PstFutexWake(&g_client.joining, 1, false);
  }
  PstRestoreSignals(mask_);
}

int64_t JoinDeadlineNs() {
  int64_t now = PstMonotonicNs();
  return now + (g_client.failed != 0 ? 0 : g_config.wait_ns);
}

pst_session* EnsureSession(int64_t deadline_ns, int* err) {
  pst_session* session = Usable();
  if (PST_LIKELY(session != nullptr)) return session;
  *err = EIO;
  if (!g_config.active) return nullptr;
  if (g_client.failed != 0 && PstMonotonicNs() < g_client.quiet_until_ns) return nullptr;
  // The lock, and with it the block on signals, is held for a try only: a program that waits for its sidecar
  // can be interrupted.
  for (int64_t backoff = kFirstBackoffNs;; backoff = backoff * 2 < kLastBackoffNs ? backoff * 2 : kLastBackoffNs) {
    int failed = EIO;
    {
      // Behind another thread's try, which may take so long.
      JoinLock lock(NotPast(deadline_ns) + kQuickHandshakeNs + 1000 * kMs);
      if (!lock.held()) return nullptr;
      session = Usable();
      if (session != nullptr) return session;
      failed = TryJoin(deadline_ns);
      if (failed == 0) {
        g_client.failed = 0;
        return __atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE);
      }
    }
    if (failed == EMFILE || failed == ENFILE) {
      *err = failed;
      return nullptr;
    }
    // Only a sandbox forbids a socket: no sidecar that comes later changes that.
    if (failed == EPERM || failed == ENOSYS) break;
    int64_t left = deadline_ns - PstMonotonicNs();
    if (left <= 0) break;
    PstSleepNs(backoff < left ? backoff : left);
  }
  g_client.failed = 1;
  g_client.quiet_until_ns = PstMonotonicNs() + kQuietNs;
  return nullptr;
}

void SessionLost(pst_session* session) {
  if (__atomic_load_n(&g_client.session, __ATOMIC_ACQUIRE) == session)
    __atomic_store_n(&g_client.dead, 1u, __ATOMIC_RELEASE);
}

bool SidecarAlive() {
  int fd = OwnFdChecked(Own::kSocket);
  if (fd < 0) return false;
  pollfd state = {fd, POLLIN | POLLRDHUP, 0};
  timespec none = {0, 0};
  long n = Raw(SYS_ppoll, &state, 1, &none, nullptr, 8);
  return n <= 0 || (state.revents & (POLLHUP | POLLERR | POLLNVAL | POLLRDHUP)) == 0;
}

const View* PstJoinedView(int* err) {
  const View* view = PstView();
  if (view != nullptr) return view;
  if (EnsureSession(JoinDeadlineNs(), err) == nullptr) return nullptr;
  return PstView();
}


int PstSlotFolderFd() {
  int fd = OwnFdChecked(Own::kFolder);
  if (fd >= 0) return fd;
  int err = EIO;
  if (g_client.session != nullptr) __atomic_store_n(&g_client.dead, 1u, __ATOMIC_RELEASE);
  if (EnsureSession(JoinDeadlineNs(), &err) == nullptr) return -err;
  fd = OwnFdChecked(Own::kFolder);
  return fd >= 0 ? fd : -EIO;
}

}  // namespace penstock
