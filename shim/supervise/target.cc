#include "shim/supervise/target.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "shim/core/decimal.h"
#include "shim/core/raw.h"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_ADDFD
struct seccomp_notif_addfd {
  __u64 id;
  __u32 flags;
  __u32 srcfd;
  __u32 newfd;
  __u32 newfd_flags;
};
#define SECCOMP_IOCTL_NOTIF_ADDFD SECCOMP_IOW(3, struct seccomp_notif_addfd)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE (1UL << 0)
#endif

namespace penstock {
namespace {

constexpr uint64_t kPage = 4096;

void ProcName(const Call& call, const char* what, char* to) {
  to = PutDecimal(static_cast<uint64_t>(call.thread), stpcpy(to, "/proc/"));
  *to++ = '/';
  strcpy(to, what);
}

// Some containers forbid process_vm_readv; the file shows the same memory.
long Transfer(const Call& call, uint64_t there, void* here, size_t bytes, bool write) {
  iovec local = {here, bytes};
  iovec remote = {reinterpret_cast<void*>(there), bytes};
  long n = Raw(write ? SYS_process_vm_writev : SYS_process_vm_readv, call.thread, &local, 1,
               &remote, 1, 0);
  if (n != -ENOSYS && n != -EPERM) return n;
  int memory = PstOpenCallerFile(call, "mem", write ? O_RDWR : O_RDONLY);
  if (memory < 0) return -EPERM;
  n = Raw(write ? SYS_pwrite64 : SYS_pread64, memory, here, bytes, there);
  Raw(SYS_close, memory);
  return n == -EIO ? -EFAULT : n;
}

void Send(const Call& call, long value, int error, unsigned flags) {
  seccomp_notif_resp reply;
  memset(&reply, 0, sizeof reply);
  reply.id = call.id;
  reply.val = value;
  reply.error = error;
  reply.flags = flags;
  // ENOENT: the program was killed, or a signal took the call back.
  while (Raw(SYS_ioctl, call.listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) == -EINTR) {
  }
}

}  // namespace

bool PstCallWaits(const Call& call) {
  return Raw(SYS_ioctl, call.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) == 0;
}

int PstReadMemory(const Call& call, uint64_t from, void* to, size_t bytes) {
  long n = Transfer(call, from, to, bytes, false);
  if (n == static_cast<long>(bytes)) return 0;
  return n == -EPERM ? -EPERM : -EFAULT;
}

int PstReadPath(const Call& call, uint64_t from, char* to) {
  size_t have = 0;
  while (have < PST_PATH_MAX) {
    // Never beyond a page at a time: what follows may not be mapped.
    size_t part = kPage - (from + have) % kPage;
    if (have == 0 && part > 256) part = 256;  // most end here
    if (part > PST_PATH_MAX - have) part = PST_PATH_MAX - have;
    long n = Transfer(call, from + have, to + have, part, false);
    if (n <= 0) return n == -EPERM ? -EPERM : -EFAULT;
    const void* end = memchr(to + have, 0, static_cast<size_t>(n));
    if (end != nullptr) return static_cast<int>(static_cast<const char*>(end) - to);
    have += static_cast<size_t>(n);
  }
  return -ENAMETOOLONG;
}

int PstWriteMemory(const Call& call, uint64_t to, const void* from, size_t bytes) {
  long n = Transfer(call, to, const_cast<void*>(from), bytes, true);
  if (n == static_cast<long>(bytes)) return 0;
  return n == -EPERM ? -EPERM : -EFAULT;
}

int PstCallerLink(const Call& call, const char* what, char* to) {
  char name[64];
  ProcName(call, what, name);
  long n = Raw(SYS_readlinkat, AT_FDCWD, name, to, PST_PATH_MAX - 1);
  if (n < 0) return static_cast<int>(n);
  if (n >= static_cast<long>(PST_PATH_MAX) - 1) return -ENAMETOOLONG;
  to[n] = '\0';
  return static_cast<int>(n);
}

void PstFdName(int fd, char* to) {
  *PutDecimal(static_cast<unsigned>(fd), stpcpy(to, "fd/")) = '\0';
}

int PstOpenCallerFile(const Call& call, const char* what, int flags) {
  char name[64];
  ProcName(call, what, name);
  return static_cast<int>(Raw(SYS_openat, AT_FDCWD, name, flags | O_CLOEXEC, 0));
}

int PstGiveFd(const Call& call, int fd, bool cloexec, bool answers) {
  seccomp_notif_addfd give;
  memset(&give, 0, sizeof give);
  give.id = call.id;
  give.srcfd = static_cast<unsigned>(fd);
  give.newfd_flags = cloexec ? O_CLOEXEC : 0;
  give.flags = answers ? SECCOMP_ADDFD_FLAG_SEND : 0;
  long number;
  do {
    number = Raw(SYS_ioctl, call.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
    // Before Linux 5.14: in two steps.
    if (number == -EINVAL && answers) {
      give.flags = 0;
      number = Raw(SYS_ioctl, call.listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
      if (number >= 0) Send(call, number, 0, 0);
    }
  } while (number == -EINTR);
  return static_cast<int>(number);
}

void PstAnswer(const Call& call, long value) {
  Send(call, value < 0 ? 0 : value, value < 0 ? static_cast<int>(value) : 0, 0);
}

void PstLetPass(const Call& call) { Send(call, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE); }

void PstPreferSameProcessor(int listener) {
  constexpr uint64_t kSyncWakeUp = 1;  // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
  Raw(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, kSyncWakeUp);
}

}  // namespace penstock
