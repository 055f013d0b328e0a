#include "shim/supervise/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/core/raw.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

struct Message {
  char byte = 0;
  iovec part;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header;

  Message() : part{&byte, 1}, control{}, header{} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
};

// Waits until something can be read, or the other end is gone. 0 or -errno.
int Await(int channel) {
  int64_t deadline_ns = PstMonotonicNs() + int64_t{kChannelWaitMs} * 1'000'000;
  for (;;) {
    int64_t left_ns = deadline_ns - PstMonotonicNs();
    if (left_ns <= 0) return -ETIMEDOUT;
    timespec slice = {static_cast<time_t>(left_ns / 1'000'000'000),
                      static_cast<long>(left_ns % 1'000'000'000)};
    pollfd state = {channel, POLLIN, 0};
    long n = Raw(SYS_ppoll, &state, 1, &slice, nullptr, 8);
    if (n > 0) return 0;
    if (n < 0 && n != -EINTR) return static_cast<int>(n);
  }
}

}  // namespace

int PstOpenChannel(int* program_end, int* guard_end) {
  int ends[2];
  long err = Raw(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
  *program_end = ends[0];
  *guard_end = ends[1];
  return static_cast<int>(err);
}

int PstSendListener(int channel, int listener) {
  Message message;
  cmsghdr* head = CMSG_FIRSTHDR(&message.header);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof listener);
  memcpy(CMSG_DATA(head), &listener, sizeof listener);
  long n = Raw(SYS_sendmsg, channel, &message.header, MSG_NOSIGNAL);
  return n < 0 ? static_cast<int>(n) : 0;
}

int PstReceiveListener(int channel) {
  int err = Await(channel);
  if (err != 0) return err;
  Message message;
  long n = Raw(SYS_recvmsg, channel, &message.header, MSG_CMSG_CLOEXEC);
  if (n < 0) return static_cast<int>(n);
  const cmsghdr* head = CMSG_FIRSTHDR(&message.header);
  if (n == 0 || head == nullptr || head->cmsg_type != SCM_RIGHTS ||
      head->cmsg_len != CMSG_LEN(sizeof(int)))
    return -EPIPE;
  int listener;
  memcpy(&listener, CMSG_DATA(head), sizeof listener);
  return listener;
}

}  // namespace penstock
