// syscall(): the calls that name covered files or numbers go through the hooks; the rest is the
// kernel's.

#include <dirent.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdarg.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/calls/sandbox.h"
#include "shim/calls/support.h"
#include "shim/calls/uring.h"
#include "shim/core/fork_gate.h"
#include "shim/core/process.h"

extern "C" int open_tree(int dirfd, const char* path, unsigned flags);
extern "C" int openat2(int dirfd, const char* path, struct open_how* how, size_t size);
extern "C" int io_submit(struct io_context* context, long count, struct iocb** list);
extern "C" ssize_t getdents64(int fd, void* buffer, size_t bytes) noexcept;

namespace penstock {
namespace {

struct Arguments {
  long a, b, c, d, e, f;
};

template <class T>
T* P(long value) {
  return reinterpret_cast<T*>(value);
}
int I(long value) { return static_cast<int>(value); }
auto U(long value) { return static_cast<unsigned>(value); }
auto Z(long value) { return static_cast<size_t>(value); }

// The kernel's getcwd gives the length with its NUL.
long RawGetcwd(char* buffer, size_t bytes) {
  if (getcwd(buffer, bytes) == nullptr) return -1;
  long len = 0;
  while (buffer[len] != '\0') ++len;
  return len + 1;
}

// clone and clone3, by their flags.
long RawClone(long number, uint64_t flags, const Arguments& x) {
  bool shares = (flags & CLONE_VM) != 0;
  if (!shares) {
    if ((flags & CLONE_FILES) != 0) OpenRealFromNow();
    PstForkGateClose();
    PstBeforeFork();
  }
  long pid = real.syscall(number, x.a, x.b, x.c, x.d, x.e, 0);
  if (pid == 0 && !shares) PstAfterForkChild();
  if (pid != 0 && !shares) PstForkGateOpen();
  return pid;
}

// Runs the call through its hook. False: not one of them.
bool Routed(long number, const Arguments& x, long* result) {
  switch (number) {
#ifdef SYS_open
    case SYS_open:
      *result = open(P<char>(x.a), I(x.b), U(x.c));
      return true;
    case SYS_creat:
      *result = creat(P<char>(x.a), U(x.b));
      return true;
    case SYS_stat:
      *result = stat(P<char>(x.a), P<struct stat>(x.b));
      return true;
    case SYS_lstat:
      *result = lstat(P<char>(x.a), P<struct stat>(x.b));
      return true;
    case SYS_access:
      *result = access(P<char>(x.a), I(x.b));
      return true;
    case SYS_readlink:
      *result = readlink(P<char>(x.a), P<char>(x.b), Z(x.c));
      return true;
    case SYS_dup2:
      *result = dup2(I(x.a), I(x.b));
      return true;
    case SYS_pipe:
      *result = pipe(P<int>(x.a));
      return true;
    case SYS_mkdir:
      *result = mkdir(P<char>(x.a), U(x.b));
      return true;
    case SYS_rmdir:
      *result = rmdir(P<char>(x.a));
      return true;
    case SYS_unlink:
      *result = unlink(P<char>(x.a));
      return true;
    case SYS_rename:
      *result = rename(P<char>(x.a), P<char>(x.b));
      return true;
    case SYS_link:
      *result = link(P<char>(x.a), P<char>(x.b));
      return true;
    case SYS_symlink:
      *result = symlink(P<char>(x.a), P<char>(x.b));
      return true;
    case SYS_chmod:
      *result = chmod(P<char>(x.a), U(x.b));
      return true;
    case SYS_fork:
      *result = fork();
      return true;
    case SYS_select:
      *result = select(I(x.a), P<fd_set>(x.b), P<fd_set>(x.c), P<fd_set>(x.d), P<struct timeval>(x.e));
      return true;
    case SYS_getdents:  // entries of another form than the one we keep
      if (PstFdKindOf(I(x.a)) != kFdDirectory) return false;
      *result = PstFail(ENOSYS);
      return true;
    case SYS_poll:
      *result = poll(P<struct pollfd>(x.a), Z(x.b), I(x.c));
      return true;
    case SYS_epoll_create:
    case SYS_eventfd:
    case SYS_signalfd:
    case SYS_inotify_init:
#endif
    case SYS_socket:
    case SYS_accept:
    case SYS_accept4:
    case SYS_eventfd2:
    case SYS_signalfd4:
    case SYS_epoll_create1:
    case SYS_timerfd_create:
    case SYS_inotify_init1:
    case SYS_memfd_create:
    case SYS_userfaultfd:
    case SYS_perf_event_open:
    case SYS_bpf:
    case SYS_pidfd_open:
    case SYS_pidfd_getfd:
    case SYS_open_by_handle_at:
    case SYS_fanotify_init:
    case SYS_mq_open:
#ifdef SYS_open_tree
    case SYS_fsopen:
    case SYS_fspick:
    case SYS_fsmount:
#endif
#ifdef SYS_landlock_create_ruleset
    case SYS_landlock_create_ruleset:
#endif
#ifdef SYS_memfd_secret
    case SYS_memfd_secret:
#endif
      *result = Fresh(I(real.syscall(number, x.a, x.b, x.c, x.d, x.e, x.f)));
      return true;
    case SYS_seccomp:
      if (x.a == SECCOMP_SET_MODE_STRICT || (x.a == SECCOMP_SET_MODE_FILTER && x.c != 0)) PstBeforeSandbox();
      return false;
    case SYS_prctl:
      *result = prctl(I(x.a), x.b, x.c, x.d, x.e);
      return true;
    case SYS_io_uring_setup: {
      long made = UringSetup(U(x.a), P<io_uring_params>(x.b));
      *result = made >= 0 ? made : PstFail(I(-made));
      return true;
    }
    case SYS_io_uring_enter:
      if (g_rings) UringEnter(I(x.a), (x.d & IORING_ENTER_REGISTERED_RING) != 0);
      return false;
    case SYS_io_uring_register:
      *result = real.syscall(number, x.a, x.b, x.c, x.d, 0, 0);
      if (g_rings) UringRegistered(U(x.b), P<void>(x.c), *result);
      return true;
    case SYS_io_submit: {
      long done = io_submit(P<io_context>(x.a), x.b, P<iocb*>(x.c));
      *result = done >= 0 ? done : PstFail(I(-done));
      return true;
    }
    case SYS_openat:
      *result = openat(I(x.a), P<char>(x.b), I(x.c), U(x.d));
      return true;
#ifdef SYS_open_tree
    case SYS_open_tree:
      *result = open_tree(I(x.a), P<char>(x.b), U(x.c));
      return true;
#endif
    case SYS_openat2:
      *result = openat2(I(x.a), P<char>(x.b), P<struct open_how>(x.c), Z(x.d));
      return true;
    case SYS_read:
      *result = read(I(x.a), P<void>(x.b), Z(x.c));
      return true;
    case SYS_pread64:
      *result = pread(I(x.a), P<void>(x.b), Z(x.c), x.d);
      return true;
    case SYS_readv:
      *result = readv(I(x.a), P<struct iovec>(x.b), I(x.c));
      return true;
    case SYS_preadv:
      *result = preadv(I(x.a), P<struct iovec>(x.b), I(x.c), x.d);
      return true;
    case SYS_preadv2:
      *result = preadv2(I(x.a), P<struct iovec>(x.b), I(x.c), x.d, I(x.f));
      return true;
    case SYS_lseek:
      *result = lseek(I(x.a), x.b, I(x.c));
      return true;
    case SYS_close:
      *result = close(I(x.a));
      return true;
    case SYS_close_range:
      *result = close_range(U(x.a), U(x.b), I(x.c));
      return true;
    case SYS_fstat:
      *result = fstat(I(x.a), P<struct stat>(x.b));
      return true;
    case SYS_newfstatat:
      *result = fstatat(I(x.a), P<char>(x.b), P<struct stat>(x.c), I(x.d));
      return true;
    case SYS_statx:
      *result = statx(I(x.a), P<char>(x.b), I(x.c), U(x.d), P<struct statx>(x.e));
      return true;
    case SYS_faccessat:
      *result = faccessat(I(x.a), P<char>(x.b), I(x.c), 0);
      return true;
    case SYS_faccessat2:
      *result = faccessat(I(x.a), P<char>(x.b), I(x.c), I(x.d));
      return true;
    case SYS_readlinkat:
      *result = readlinkat(I(x.a), P<char>(x.b), P<char>(x.c), Z(x.d));
      return true;
    case SYS_getdents64:
      *result = getdents64(I(x.a), P<void>(x.b), Z(x.c));
      return true;
    case SYS_dup:
      *result = dup(I(x.a));
      return true;
    case SYS_dup3:
      *result = dup3(I(x.a), I(x.b), I(x.c));
      return true;
    case SYS_fcntl:
      *result = fcntl(I(x.a), I(x.b), x.c);
      return true;
    case SYS_ioctl:
      *result = ioctl(I(x.a), Z(x.b), x.c);
      return true;
    case SYS_flock:
      *result = flock(I(x.a), I(x.b));
      return true;
    case SYS_pipe2:
      *result = pipe2(P<int>(x.a), I(x.b));
      return true;
    case SYS_socketpair:
      *result = socketpair(I(x.a), I(x.b), I(x.c), P<int>(x.d));
      return true;
    case SYS_sendmsg:
      *result = sendmsg(I(x.a), P<struct msghdr>(x.b), I(x.c));
      return true;
    case SYS_recvmsg:
      *result = recvmsg(I(x.a), P<struct msghdr>(x.b), I(x.c));
      return true;
    case SYS_ppoll:
      *result = ppoll(P<struct pollfd>(x.a), Z(x.b), P<struct timespec>(x.c), P<sigset_t>(x.d));
      return true;
    case SYS_inotify_add_watch:
      *result = inotify_add_watch(I(x.a), P<char>(x.b), U(x.c));
      return true;
    case SYS_fanotify_mark:
      *result = fanotify_mark(I(x.a), U(x.b), static_cast<uint64_t>(x.c), I(x.d), P<char>(x.e));
      return true;
    case SYS_name_to_handle_at:
      *result = name_to_handle_at(I(x.a), P<char>(x.b), P<struct file_handle>(x.c), P<int>(x.d), I(x.e));
      return true;
    case SYS_fadvise64: {
      int err = posix_fadvise(I(x.a), x.b, x.c, I(x.d));
      *result = err == 0 ? 0 : PstFail(err);
      return true;
    }
    case SYS_readahead:
      *result = readahead(I(x.a), x.b, Z(x.c));
      return true;
    case SYS_getxattr:
      *result = getxattr(P<char>(x.a), P<char>(x.b), P<void>(x.c), Z(x.d));
      return true;
    case SYS_lgetxattr:
      *result = lgetxattr(P<char>(x.a), P<char>(x.b), P<void>(x.c), Z(x.d));
      return true;
    case SYS_fgetxattr:
      *result = fgetxattr(I(x.a), P<char>(x.b), P<void>(x.c), Z(x.d));
      return true;
    case SYS_listxattr:
      *result = listxattr(P<char>(x.a), P<char>(x.b), Z(x.c));
      return true;
    case SYS_llistxattr:
      *result = llistxattr(P<char>(x.a), P<char>(x.b), Z(x.c));
      return true;
    case SYS_flistxattr:
      *result = flistxattr(I(x.a), P<char>(x.b), Z(x.c));
      return true;
    case SYS_setxattr:
      *result = setxattr(P<char>(x.a), P<char>(x.b), P<void>(x.c), Z(x.d), I(x.e));
      return true;
    case SYS_truncate:
      *result = truncate(P<char>(x.a), x.b);
      return true;
    case SYS_ftruncate:
      *result = ftruncate(I(x.a), x.b);
      return true;
    case SYS_fsync:
      *result = fsync(I(x.a));
      return true;
    case SYS_fdatasync:
      *result = fdatasync(I(x.a));
      return true;
    case SYS_syncfs:
      *result = syncfs(I(x.a));
      return true;
    case SYS_fchmod:
      *result = fchmod(I(x.a), U(x.b));
      return true;
    case SYS_fchmodat:
      *result = fchmodat(I(x.a), P<char>(x.b), U(x.c), 0);
      return true;
    case SYS_fchown:
      *result = fchown(I(x.a), U(x.b), U(x.c));
      return true;
    case SYS_fchownat:
      *result = fchownat(I(x.a), P<char>(x.b), U(x.c), U(x.d), I(x.e));
      return true;
    case SYS_utimensat:
      // Without a name it is the number's, which libc calls futimens.
      *result = x.b == 0 ? futimens(I(x.a), P<struct timespec>(x.c))
                         : utimensat(I(x.a), P<char>(x.b), P<struct timespec>(x.c), I(x.d));
      return true;
    case SYS_epoll_ctl:
      *result = epoll_ctl(I(x.a), I(x.b), I(x.c), P<struct epoll_event>(x.d));
      return true;
    case SYS_mmap:
      *result = reinterpret_cast<long>(mmap(P<void>(x.a), Z(x.b), I(x.c), I(x.d), I(x.e), x.f));
      return true;
    case SYS_mremap:
      *result = reinterpret_cast<long>(mremap(P<void>(x.a), Z(x.b), Z(x.c), I(x.d), P<void>(x.e)));
      return true;
    case SYS_remap_file_pages:
      *result = remap_file_pages(P<void>(x.a), Z(x.b), I(x.c), Z(x.d), I(x.e));
      return true;
    case SYS_sendfile:
      *result = sendfile(I(x.a), I(x.b), P<off_t>(x.c), Z(x.d));
      return true;
    case SYS_copy_file_range:
      *result = copy_file_range(I(x.a), P<off_t>(x.b), I(x.c), P<off_t>(x.d), Z(x.e), U(x.f));
      return true;
    case SYS_splice:
      *result = splice(I(x.a), P<off_t>(x.b), I(x.c), P<off_t>(x.d), Z(x.e), U(x.f));
      return true;
    case SYS_chdir:
      *result = chdir(P<char>(x.a));
      return true;
    case SYS_fchdir:
      *result = fchdir(I(x.a));
      return true;
    case SYS_getcwd:
      *result = RawGetcwd(P<char>(x.a), Z(x.b));
      return true;
    case SYS_statfs:
      *result = statfs(P<char>(x.a), P<struct statfs>(x.b));
      return true;
    case SYS_fstatfs:
      *result = fstatfs(I(x.a), P<struct statfs>(x.b));
      return true;
    case SYS_mkdirat:
      *result = mkdirat(I(x.a), P<char>(x.b), U(x.c));
      return true;
    case SYS_unlinkat:
      *result = unlinkat(I(x.a), P<char>(x.b), I(x.c));
      return true;
    case SYS_renameat2:
      *result = renameat2(I(x.a), P<char>(x.b), I(x.c), P<char>(x.d), U(x.e));
      return true;
    case SYS_linkat:
      *result = linkat(I(x.a), P<char>(x.b), I(x.c), P<char>(x.d), I(x.e));
      return true;
    case SYS_symlinkat:
      *result = symlinkat(P<char>(x.a), I(x.b), P<char>(x.c));
      return true;
    case SYS_execve:
      *result = execve(P<char>(x.a), P<char* const>(x.b), P<char* const>(x.c));
      return true;
    case SYS_execveat:
      *result = execveat(I(x.a), P<char>(x.b), P<char* const>(x.c), P<char* const>(x.d), I(x.e));
      return true;
    case SYS_clone:
      *result = RawClone(number, (uint64_t)x.a, x);
      return true;
#ifdef SYS_clone3
    case SYS_clone3:  // the flags are the first word of what a points to
      *result = RawClone(number,
                         x.a != 0 && Z(x.b) >= sizeof(uint64_t) ? *P<uint64_t>(x.a) : CLONE_VM, x);
      return true;
#endif
    case SYS_unshare:
      *result = unshare(I(x.a));
      return true;
    // Raw ones change the calling thread alone; programs that use them have one, or mean all.
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setns:
      *result = real.syscall(number, x.a, x.b, x.c, 0, 0, 0);
      PstForgetIds();
      return true;
    default:
      return false;
  }
}

// The call that this thread has given to its hook. A library behind us (tcmalloc's mmap) may do by
// syscall() what the hook asks of it: that must not come back to the hook for ever. It is known by
// being the same call further down the stack. A handler that interrupted the hook makes calls of
// its own, and one that jumps out of it leaves the mark behind.
struct Given {
  long number, a, b, c;
  uintptr_t frame;  // 0: none
};
__thread Given t_given;

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
  long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
  va_end(list);
  if (PST_LIKELY(!g_config.active)) return real.syscall(number, a, b, c, d, e, f);
  const auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const Given before = frame < t_given.frame ? t_given : Given{};  // else that call is over
  const bool again = before.frame != 0 && before.number == number && before.a == a &&
                     before.b == b && before.c == c;
  if (PST_LIKELY(!again)) {
    long result;
    t_given = {number, a, b, c, frame};
    const bool routed = Routed(number, {a, b, c, d, e, f}, &result);
    t_given = before;
    if (routed) return result;
  }
  return real.syscall(number, a, b, c, d, e, f);
}
