// Descriptors of every kind and what may be done with them.
#include "tests/hostile/host.h"

#include <linux/openat2.h>

static void resolve(void) {
  static const struct {
    unsigned long long flags, resolve;
  } hows[] = {{O_RDONLY, 0},
              {O_RDONLY, RESOLVE_BENEATH},
              {O_RDONLY, RESOLVE_IN_ROOT},
              {O_RDONLY, RESOLVE_NO_SYMLINKS},
              {O_RDONLY, RESOLVE_NO_MAGICLINKS},
              {O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS},
              {O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT},
              {O_RDONLY, 1ull << 40},
              {1ull << 40, 0},
              {O_PATH, RESOLVE_BENEATH},
              {O_RDONLY | O_DIRECTORY, RESOLVE_BENEATH},
              {O_WRONLY | O_CREAT, RESOLVE_BENEATH},
              {O_RDONLY | O_CREAT, 0}};
  static const char* const names[] = {
      "small",     "tree/../small", "../small", "..",        ".",
      "tree",      "/small",        "missing",  "tree/one",  "tree/deep/../../small",
      "/../small", "small/..",      "",         "missing/.."};
  int dirs[] = {open(root, O_RDONLY | O_DIRECTORY), open(root, O_PATH), open(at("tree"), O_RDONLY),
                open(at("small"), O_RDONLY), -1};
  for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
      for (size_t d = 0; d < sizeof dirs / sizeof *dirs; d++) {
        if ((hows[h].flags & O_CREAT) && strncmp(names[n], "../", 3) == 0)
          continue;  // above a mount nothing is made
        struct open_how how = {.flags = hows[h].flags, .resolve = hows[h].resolve};
        char what[100];
        snprintf(what, sizeof what, "openat2 %zu %s dir %zu", h, names[n], d);
        show_fd(what, (int)syscall(SYS_openat2, dirs[d], names[n], &how, sizeof how));
      }
    }
  }
  struct open_how how = {.flags = O_RDONLY, .mode = 0600};
  SHOW(syscall(SYS_openat2, dirs[0], "small", &how, sizeof how));
  SHOW(syscall(SYS_openat2, dirs[0], "small", &how, 8));
  struct {
    struct open_how how;
    unsigned long long more;
  } longer = {{.flags = O_RDONLY}, 0};
  SHOW(syscall(SYS_openat2, dirs[0], "small", &longer, sizeof longer) >= 0);
  longer.more = 1;
  SHOW(syscall(SYS_openat2, dirs[0], "small", &longer, sizeof longer));
}

// What an O_PATH number can do.
static void path_only(void) {
  const char* const names[] = {"small", "tree", "tree/one"};
  for (int i = 0; i < 3; i++) {
    char b[64];
    struct stat st;
    struct statx stx;
    struct statvfs vfs;
    struct iovec v = {b, 4};
    int fd = open(at(names[i]), O_PATH), ends[2];
    (void)!pipe(ends);
    SHOW(read(fd, b, 4));
    SHOW(pread(fd, b, 4, 0));
    SHOW(readv(fd, &v, 1));
    SHOW(write(fd, b, 1));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(ftruncate(fd, 0));
    SHOW(fchmod(fd, 0600));
    SHOW(fchown(fd, 0, 0));
    SHOW(futimens(fd, NULL));
    SHOW(fsync(fd));
    SHOW(flock(fd, LOCK_SH));
    SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
    SHOW(fcntl(fd, F_GETLK, &(struct flock){.l_type = F_RDLCK}));
    SHOW(ioctl(fd, FIONREAD, b));
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    SHOW(sendfile(ends[1], fd, NULL, 4));
    SHOW(splice(fd, NULL, ends[1], NULL, 4, 0));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL));
    SHOW(readahead(fd, 0, 10));
    SHOW(fgetxattr(fd, "user.x", b, 4));
    SHOW(fstat(fd, &st));
    SHOW(st.st_mode & S_IFMT);
    SHOW(fstatfs(fd, (void*)b) == 0 || 1);
    SHOW(fstatvfs(fd, &vfs));
    SHOW(fcntl(fd, F_GETFL));
    SHOW(fstatat(fd, "", &st, AT_EMPTY_PATH));
    SHOW(statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &stx));
    SHOW(faccessat(fd, "", R_OK, AT_EMPTY_PATH));
    SHOW(openat(fd, "one", O_RDONLY) >= 0 ? 0 : -1);
    SHOW(openat(fd, "", O_RDONLY));
    SHOW(fchdir(fd));
    SHOW(fdopen(fd, "r") == NULL ? -1 : 0);
    int copy = dup(fd);
    SHOW(fcntl(copy, F_GETFL));
    snprintf(b, sizeof b, "/proc/self/fd/%d", fd);
    int real = open(b, O_RDONLY);
    SHOW(real >= 0);
    SHOW(read(real, b, 4));
    SHOW(read(copy, b, 4));
    close(real), close(copy), close(ends[0]), close(ends[1]);
    SHOW(close(fd));
  }
}

// What a number that reads can do, in the order in which the kernel looks.
static void file_calls(void) {
  const char* const names[] = {"small", "tree"};
  for (int i = 0; i < 2; i++) {
    static char b[8192];
    struct iovec v[3] = {{b, 3}, {NULL, 0}, {b + 10, 4}};
    int fd = open(at(names[i]), O_RDONLY);
    SHOW(read(fd, b, 0));
    if (i == 0) SHOW(read(fd, b, -1));
    SHOW(pread(fd, b, 3, -1));
    SHOW(pread(fd, b, 3, 1ll << 62));
    SHOW(readv(fd, v, 3));
    SHOW(readv(fd, v, 0));
    SHOW(readv(fd, v, -1));
    SHOW(readv(fd, v, 1025));
    v[1].iov_len = -1;
    SHOW(readv(fd, v, 3));
    v[1].iov_len = 0;
    SHOW(preadv(fd, v, 3, 2));
    SHOW(preadv(fd, v, 3, -2));
    SHOW(preadv2(fd, v, 3, -1, 0));
    SHOW(preadv2(fd, v, 3, -2, 0));
    SHOW(preadv2(fd, v, 3, 1, 1 << 20));
    SHOW(preadv2(fd, v, 3, 1, RWF_HIPRI));
    SHOW(write(fd, b, 1));
    SHOW(write(fd, b, 0));
    SHOW(pwrite(fd, b, 1, 0));
    SHOW(writev(fd, v, 1));
    SHOW(pwritev(fd, v, 1, 0));
    if (i == 0) {
      SHOW(lseek(fd, 0, SEEK_DATA));
      SHOW(lseek(fd, 0, SEEK_HOLE));
      SHOW(lseek(fd, 1000, SEEK_DATA));
      SHOW(lseek(fd, -1, SEEK_HOLE));
      SHOW(lseek(fd, 1ll << 62, SEEK_SET));
      SHOW(lseek(fd, 1ll << 43, SEEK_SET));
      SHOW(read(fd, b, 5));
      SHOW(lseek(fd, 1ll << 62, SEEK_CUR));
      SHOW(lseek(fd, 9, 77));
      SHOW(lseek(fd, -1, SEEK_SET));
      SHOW(lseek(fd, 0, SEEK_SET));
      SHOW(lseek(fd, -1, SEEK_CUR));
    }
    SHOW(ftruncate(fd, 1));
    SHOW(ftruncate(fd, -1));
    SHOW(fallocate(fd, 0, 0, 10));
    SHOW(posix_fallocate(fd, 0, 10));
    SHOW(fchmod(fd, 0600));
    SHOW(fchown(fd, 0, 0));
    SHOW(futimens(fd, NULL));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    SHOW(syncfs(fd));
    SHOW(sync_file_range(fd, 0, 10, SYNC_FILE_RANGE_WRITE));
    SHOW(flock(fd, LOCK_EX | LOCK_NB));
    SHOW(flock(fd, 77));
    SHOW(lockf(fd, F_TEST, 1));
    SHOW(lockf(fd, F_LOCK, 1));
    SHOW(fcntl(fd, F_SETOWN, getpid()));
    SHOW(fcntl(fd, F_GETOWN) == getpid());
    SHOW(fcntl(fd, F_GETSIG));
    SHOW(fcntl(fd, F_GETPIPE_SZ));
    SHOW(fcntl(fd, F_ADD_SEALS, 1));
    SHOW(fcntl(fd, F_GET_SEALS));
    SHOW(fcntl(fd, F_SETLEASE, F_RDLCK) == 0 || 1);
    SHOW(fcntl(fd, 9999));
    SHOW(fcntl(fd, F_DUPFD, -1));
    SHOW(fcntl(fd, F_DUPFD, 1 << 30));
    SHOW(ioctl(fd, FIONBIO, &(int){1}));
    SHOW(fcntl(fd, F_GETFL) & O_NONBLOCK);
    SHOW(ioctl(fd, 0x5401, b));
    SHOW(ioctl(fd, 0xdead, b));
    SHOW(readahead(fd, 0, 10));
    SHOW(posix_fadvise(fd, 0, -1, POSIX_FADV_NORMAL));
    SHOW(fchdir(fd));
    SHOW(fexecve(fd, (char*[]){"x", NULL}, (char*[]){NULL}));
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 1) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_READ, 0, fd, 0) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 1ll << 45) == MAP_FAILED ? -1 : 0);
    SHOW(accept(fd, NULL, NULL));
    SHOW(recv(fd, b, 1, 0));
    SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, b, &(socklen_t){4}));
    SHOW(shutdown(fd, 0));
    SHOW(listen(fd, 1));
    SHOW(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}));
    SHOW(epoll_wait(fd, (void*)b, 1, 0));
    SHOW(tcgetpgrp(fd));
    SHOW(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    SHOW(syscall(SYS_setns, fd, 0));
    SHOW(signalfd(fd, &(sigset_t){0}, 0));
    SHOW(vmsplice(fd, v, 1, 0));
    SHOW(tee(fd, fd, 1, 0));
    SHOW(inotify_rm_watch(fd, 1));
    close(fd);
  }
}

const struct hostile_case flag_cases[] = {
    {"resolve", resolve}, {"path_only", path_only}, {"file_calls", file_calls}, {NULL, NULL}};
