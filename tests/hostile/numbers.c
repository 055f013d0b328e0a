// Descriptor numbers: given out, used up, closed behind our back, replaced by every call that makes
// one.
#include "tests/hostile/host.h"

#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void limit_to(rlim_t most) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = most;
  SHOW(setrlimit(RLIMIT_NOFILE, &limit));
}

// EMFILE exactly where the kernel gives it: the same numbers, by every call that makes one.
static void emfile(void) {
  int fd[200], n = 0, ends[2];
  limit_to(24);
  while (n < 200 && (fd[n] = open(at(n % 2 ? "small" : "numbers"), O_RDONLY)) >= 0)
    printf("%d ", fd[n++]);
  printf("then %s\n", strerrorname_np(errno));
  char b[8];
  for (int i = 0; i < n; i++) printf("%zd ", read(fd[i], b, 8));
  printf("\n");
  SHOW(open(at("tree"), O_RDONLY | O_DIRECTORY));
  SHOW(open(at("small"), O_PATH));
  SHOW(dup(fd[0]));
  SHOW(fcntl(fd[0], F_DUPFD, 0));
  SHOW(fcntl(fd[0], F_DUPFD, 24));
  SHOW(fcntl(fd[0], F_DUPFD_CLOEXEC, 5));
  SHOW(dup2(fd[0], 24));
  SHOW(dup2(fd[0], fd[1]) == fd[1]);
  SHOW(pipe(ends));
  SHOW(socket(AF_UNIX, SOCK_STREAM, 0));
  SHOW(fopen(at("small"), "r") == NULL ? -1 : 0);
  SHOW(memfd_create("m", 0));
  SHOW(eventfd(0, 0));
  close(fd[n - 1]);
  SHOW(pipe(ends));
  FILE* f = fopen(at("small"), "r");
  SHOW(f != NULL && fileno(f) == fd[n - 1]);
  SHOW(fopen(at("small"), "r") == NULL ? -1 : 0);
  SHOW(fclose(f));
  SHOW(open(at("tree"), O_RDONLY | O_DIRECTORY) == fd[n - 1]);
  // A lower limit than the numbers in use: those go on.
  limit_to(5);
  SHOW(read(fd[n - 2], b, 1));
  SHOW(open(at("small"), O_RDONLY));
  SHOW(dup2(fd[0], 4) == 4);
  SHOW(dup2(fd[0], 5));
  limit_to(64);
  for (n = 0; n < 200 && (fd[n] = dup(fd[0])) >= 0;) printf("%d ", fd[n++]);
  printf("then %s\n", strerrorname_np(errno));
  SHOW(close_range(3, ~0u, 0));
  for (n = 0; n < 200 && (fd[n] = open(at("small"), O_RDONLY)) >= 0;) printf("%d ", fd[n++]);
  printf("then %s\n", strerrorname_np(errno));
}

// Reads that have to be fetched while no number is left for anything.
static void reads_at_the_limit(void) {
  static char b[80000];
  int fd[200], n = 0;
  limit_to(16);
  fd[n++] = open(at("cold/a"), O_RDONLY);
  fd[n++] = open(at("cold/b"), O_RDONLY);
  while (n < 200 && (fd[n] = open("/dev/null", O_RDONLY)) >= 0) n++;
  show_bytes("a", b, read(fd[0], b, sizeof b));
  show_bytes("b", b, pread(fd[1], b, 1000, 4000));
  struct stat st;
  SHOW(stat(at("cold/c"), &st));
  SHOW(access(at("cold/none"), F_OK));
  SHOW(fstat(fd[0], &st));
  SHOW(st.st_size);
  SHOW(open(at("cold/c"), O_RDONLY));
  close(fd[5]);
  fd[5] = open(at("cold/c"), O_RDONLY);
  show_bytes("c", b, read(fd[5], b, sizeof b));
}

static int fresh_by(int how) {
  int ends[2];
  switch (how) {
    case 0:
      return open("/dev/null", O_RDONLY);
    case 1:
      return pipe(ends) == 0 ? ends[0] : -1;
    case 2:
      return socket(AF_UNIX, SOCK_STREAM, 0);
    case 3:
      return socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? ends[0] : -1;
    case 4:
      return eventfd(5, 0);
    case 5:
      return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    case 6:
      return signalfd(-1, &(sigset_t){0}, SFD_NONBLOCK);
    case 7:
      return memfd_create("m", 0);
    case 8:
      return epoll_create(1);
    case 9:
      return epoll_create1(0);
    case 10:
      return inotify_init();
    case 11:
      return inotify_init1(0);
    case 12:
      return fileno(tmpfile());
    case 13: {
      char name[] = "/tmp/penstock-fresh-XXXXXX";
      int fd = mkstemp(name);
      unlink(name);
      return fd;
    }
    case 14:
      return posix_openpt(O_RDWR);
    case 15:
      return dup(0);
    case 16:
      return fcntl(0, F_DUPFD_CLOEXEC, 3);
    case 17:
      return (int)syscall(SYS_pidfd_open, getpid(), 0);
    case 18:
      return fileno(fopen("/dev/null", "r"));
    case 19:
      return dirfd(opendir("/"));
    case 20:
      return fileno(popen("true", "r"));
    case 21:
      return openat(AT_FDCWD, "/", O_PATH);
    case 22:
      return (int)syscall(SYS_userfaultfd, O_CLOEXEC) >= 0 ? 3 : open("/dev/null", O_RDONLY);
    case 23:
      return fileno(fmemopen(NULL, 10, "r") != NULL ? fopen("/dev/null", "r") : stdin);
    case 24:
      return (int)syscall(SYS_dup, 0);
    case 25:
      return (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    case 26:
      return creat("/tmp/penstock-fresh", 0600);
    case 27:
      return shm_open("/penstock-fresh", O_CREAT | O_RDWR, 0600);
    case 28:
      return openat(AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600);
    case 29:
      return (int)syscall(SYS_open_tree, AT_FDCWD, "/", 0);
    default:
      return -2;
  }
}

// A number of a covered file is closed in a way nobody sees, then given out by the kernel through
// each call.
static long kernel_close(int fd) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(SYS_close), "D"((long)fd)
                   : "rcx", "r11", "memory");
  return result;
#else
  return close(fd);
#endif
}

static void stale_numbers(void) {
  for (int how = 0;; how++) {
    struct stat st;
    char b[64];
    int fd = open_or_die(at("numbers"));
    kernel_close(fd);
    int fresh = fresh_by(how);
    if (fresh == -2) break;
    st.st_mode = 0;
    int result = fstat(fd, &st);
    printf("%d: %d, %d, type %o, size %d, ", how, fresh == fd, result, st.st_mode & S_IFMT,
           st.st_size == 108894);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    memset(b, 0, sizeof b);
    ssize_t n = how == 15 || how == 16 || how == 20 || how == 24 ? 0 : read(fd, b, 8);
    printf("read %zd %s\n", n, n > 0 && b[0] == '1' && b[1] == '\n' ? "STALE" : "");
    close(fresh);
    close_range(3, ~0u, 0);
  }
  shm_unlink("/penstock-fresh");
  unlink("/tmp/penstock-fresh");
}

// Numbers that come by a socket, and by accept.
static void received_numbers(void) {
  int pair[2], null = open("/dev/null", O_RDONLY);
  char control[CMSG_SPACE(sizeof(int))], b[16];
  (void)!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  for (int how = 0; how < 2; how++) {
    struct iovec io = {"x", 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr* part = CMSG_FIRSTHDR(&m);
    part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS,
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &null, sizeof null);
    SHOW(sendmsg(pair[0], &m, 0));
    int fd = open_or_die(at("numbers"));
    kernel_close(fd);
    io.iov_base = b;
    struct mmsghdr mm = {.msg_hdr = m};
    SHOW(how == 0 ? recvmsg(pair[1], &m, 0) : recvmmsg(pair[1], &mm, 1, 0, NULL));
    int got = -1;
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(how == 0 ? &m : &mm.msg_hdr)), sizeof got);
    SHOW(got == fd);
    SHOW(read(got, b, 4));
    close(got);
  }
}

// A program that closes everything, ours included, one by one and by ranges, and goes on.
static void close_everything(void) {
  static char b[80000];
  int fd = open_or_die(at("cold/d"));
  for (int i = 3; i < 2000; i++)
    if (i != fd) close(i);
  show_bytes("after close", b, read(fd, b, sizeof b));
  SHOW(open(at("cold/e"), O_RDONLY));
  close_range(3, ~0u, 0);
  fd = open_or_die(at("cold/f"));
  show_bytes("after close_range", b, read(fd, b, sizeof b));
  closefrom(3);
  struct stat st;
  SHOW(stat(at("cold/g"), &st));
  SHOW(open(at("cold/g"), O_RDONLY));
  SHOW(close_range(3, 10, CLOSE_RANGE_CLOEXEC));
  SHOW(fcntl(3, F_GETFD));
  SHOW(close_range(5, 4, 0));
  SHOW(close_range(3, 3, 99));
  SHOW(close_range(3, ~0u, CLOSE_RANGE_UNSHARE));
  SHOW(read(3, b, 1));
  for (int i = 3; i < 1200; i++) kernel_close(i);
  fd = open(at("cold/h"), O_RDONLY);
  show_bytes("after raw closes", b, read(fd, b, sizeof b));
  // What other libraries would have put onto our numbers.
  for (int i = 0; i < 1000; i++) dup(0);
  SHOW(open(at("missing/none"), O_RDONLY));
  fd = open(at("cold/i"), O_RDONLY);
  show_bytes("among many", b, read(fd, b, sizeof b));
  void* map = mmap(NULL, 100, PROT_READ, MAP_SHARED, fd, 0);
  show_bytes("mapped", map, 100);
}

// dup2 and dup3 in all orders between covered, real and closed numbers.
static void replaced(void) {
  char b[16] = "";
  unsigned seed = 7;
  for (int i = 0; i < 3000; i++) {
    int a = 20 + (int)(rand_r(&seed) % 12), c = 20 + (int)(rand_r(&seed) % 12), r = 0;
    unsigned what = rand_r(&seed) % 12;
    errno = 0;
    switch (what) {
      case 0: {
        int fd = open(at(rand_r(&seed) % 2 ? "small" : "numbers"), O_RDONLY);
        r = dup2(fd, a);
        close(fd);
        break;
      }
      case 1: {
        int fd = open("/etc/hostname", O_RDONLY);
        r = dup2(fd, a);
        close(fd);
        break;
      }
      case 2:
        r = dup2(a, c);
        break;
      case 3:
        r = dup3(a, c, O_CLOEXEC);
        break;
      case 4:
        r = close(a);
        break;
      case 5: {
        int fd = fcntl(a, F_DUPFD, 20);
        r = fd >= 0 && fd < 32 ? fd : fd < 0 ? fd : 99;
        if (fd >= 32) close(fd);
        break;
      }
      case 6: {
        int fd = open(at("tree"), O_RDONLY | O_DIRECTORY);
        r = dup2(fd, a);
        close(fd);
        break;
      }
      case 7:
        r = fcntl(a, F_GETFD);
        break;
      case 8: {
        struct stat st;
        r = fstat(a, &st);
        if (r == 0) r = (int)(st.st_mode & S_IFMT);
        break;
      }
      case 9:
        r = (int)lseek(a, (long)(rand_r(&seed) % 30), SEEK_SET);
        break;
      case 10: {
        struct flock lock = {.l_type = F_RDLCK};
        if (rand_r(&seed) % 4 == 0) r = fcntl(a, F_SETLK, &lock);
        break;
      }
      default:
        r = (int)read(a, b, 8);
    }
    printf("%u %d %d: %d %s %.*s\n", what, a, c, r, r < 0 ? strerrorname_np(errno) : "",
           what == 11 && r > 0 && b[0] < 'a' ? r : 0, b);
  }
}

const struct hostile_case number_cases[] = {{"emfile", emfile},
                                            {"reads_at_the_limit", reads_at_the_limit},
                                            {"stale_numbers", stale_numbers},
                                            {"received_numbers", received_numbers},
                                            {"close_everything", close_everything},
                                            {"replaced", replaced},
                                            {NULL, NULL}};
