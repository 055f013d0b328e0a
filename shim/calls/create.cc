// Calls that give out a number. Each clears what the table still knows of it: a close may have gone
// around us, and a stale entry is the one way to return wrong data.

#include <fcntl.h>
#include <mqueue.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/process.h"

namespace penstock {
namespace {

// Calls each(fd) for every descriptor that a control message carries, until it returns non-zero.
template <class Each>
int EachPassed(const struct msghdr* message, Each each) {
  if (message == nullptr || message->msg_control == nullptr || message->msg_controllen == 0)
    return 0;
  auto* writable = const_cast<struct msghdr*>(message);
  for (struct cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr;
       part = CMSG_NXTHDR(writable, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      if (int err = each(fd)) return err;
    }
  }
  return 0;
}

int SendReal(const struct msghdr* message) {
  return EachPassed(message, [](int fd) { return MakeReal(fd); });
}

void Received(const struct msghdr* message) {
  if (message->msg_controllen == 0) return;
  KeepErrno keep;
  EachPassed(message, [](int fd) {
    PstFdForget(fd);
    if (g_config.active) PstAdoptInherited(fd);
    return 0;
  });
}

}  // namespace
}  // namespace penstock

using namespace penstock;

// libc has a struct flock beside the function.
#pragma GCC diagnostic ignored "-Wshadow"
#define PST_MAKE_OWN(ret, name, params, args)
#define PST_MAKE_FRESH(ret, name, params, args) \
  PST_EXPORT ret name params { return Fresh(real.name args); }
#define PST_MAKE_REALFD(ret, name, params, args) \
  PST_EXPORT ret name params {                   \
    if (MakeReal(fd) != 0) return -1;            \
    return real.name args;                       \
  }
#define PST_CALL(ret, name, params, args, family, how) PST_MAKE_##how(ret, name, params, args)
#include "shim/hooks/hooks.def"

PST_EXPORT int socketpair(int domain, int type, int protocol, int* fds) {
  int result = real.socketpair(domain, type, protocol, fds);
  if (result == 0) Fresh(fds[0]), Fresh(fds[1]);
  return result;
}

PST_EXPORT int pipe(int* fds) {
  int result = real.pipe(fds);
  if (result == 0) Fresh(fds[0]), Fresh(fds[1]);
  return result;
}

PST_EXPORT int pipe2(int* fds, int flags) {
  int result = real.pipe2(fds, flags);
  if (result == 0) Fresh(fds[0]), Fresh(fds[1]);
  return result;
}

PST_EXPORT mqd_t mq_open(const char* name, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = va_arg(list, mode_t);
  struct mq_attr* attributes = va_arg(list, struct mq_attr*);
  va_end(list);
  return Fresh(real.mq_open(name, flags, mode, attributes));
}

PST_EXPORT ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  if (SendReal(message) != 0) return -1;
  return real.sendmsg(fd, message, flags);
}

PST_EXPORT int sendmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags) {
  for (unsigned i = 0; i < count; ++i) {
    if (SendReal(&messages[i].msg_hdr) != 0) return -1;
  }
  return real.sendmmsg(fd, messages, count, flags);
}

PST_EXPORT ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  ssize_t result = real.recvmsg(fd, message, flags);
  if (result >= 0) Received(message);
  return result;
}

PST_EXPORT int recvmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags,
                        struct timespec* timeout) {
  int result = real.recvmmsg(fd, messages, count, flags, timeout);
  for (int i = 0; i < result; ++i) Received(&messages[i].msg_hdr);
  return result;
}
