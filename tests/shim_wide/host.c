/* A host program: each case does what programs do to files and prints what it saw. The runner starts it
 * twice, on a plain directory and on the same data under a mount, and compares the output byte for byte.
 *   host CASE ROOT [plain|mount]
 * Nothing printed depends on the root's name, on inode numbers or on the file system's kind. */
#define _GNU_SOURCE
#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>
#include <utime.h>
#include <wchar.h>
#include <wordexp.h>

static const char* root;
static int mounted;
static const char* self;

static const char* at(const char* name) {
  static char paths[8][4096];
  static int next;
  char* path = paths[next++ % 8];
  snprintf(path, 4096, "%s/%s", root, name);
  return path;
}

/* Text with the root's name taken out. */
static const char* plain(const char* text) {
  static char out[8192];
  size_t len = strlen(root);
  if (text == NULL) return "(null)";
  if (strncmp(text, root, len) != 0) return text;
  snprintf(out, sizeof out, "ROOT%s", text + len);
  return out;
}

#define SHOW(expression)                                                     \
  do {                                                                       \
    errno = 0;                                                               \
    long long show_value = (long long)(expression);                          \
    int show_errno = errno;                                                  \
    printf("%s = %lld%s%s\n", #expression, show_value, show_value < 0 ? " " : "", \
           show_value < 0 ? strerrorname_np(show_errno) : "");               \
  } while (0)

static int open_or_die(const char* path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) printf("open %s: %s\n", plain(path), strerror(errno)), exit(3);
  return fd;
}

static void show_bytes(const char* what, const void* bytes, long n) {
  unsigned long sum = 5381;
  for (long i = 0; i < n; i++) sum = sum * 33 + ((const unsigned char*)bytes)[i];
  printf("%s: %ld bytes, sum %lx\n", what, n, n > 0 ? sum : 0);
}

static void show_rest(const char* what, int fd) {
  static char buffer[4 << 20];
  long n = 0, got;
  while ((got = read(fd, buffer + n, sizeof buffer - n)) > 0) n += got;
  show_bytes(what, buffer, n);
}

static void wait_for(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  printf("child: %s %d\n", WIFEXITED(status) ? "exit" : "signal",
         WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void dup_case(void) {
  char b[64];
  int fd = open_or_die(at("numbers")), other, third;
  SHOW(read(fd, b, 10));
  other = dup(fd);
  SHOW(read(other, b, 10));
  SHOW(lseek(fd, 0, SEEK_CUR));
  third = dup2(fd, 77);
  SHOW(third);
  SHOW(lseek(77, 100, SEEK_SET));
  SHOW(lseek(other, 0, SEEK_CUR));
  SHOW(dup3(fd, 78, O_CLOEXEC));
  SHOW(fcntl(78, F_GETFD));
  SHOW(fcntl(77, F_GETFD));
  SHOW(dup3(fd, fd, 0));
  SHOW(dup2(fd, fd) == fd);
  SHOW(dup2(fd, -1));
  SHOW(dup2(999, 77));
  SHOW(read(77, b, 5));
  SHOW(fcntl(fd, F_DUPFD, 50));
  SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 50));
  SHOW(fcntl(51, F_GETFD));
  SHOW(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH));
  SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
  SHOW(fcntl(other, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  SHOW(close(fd));
  SHOW(read(fd, b, 1));
  SHOW(read(other, b, 5));
  /* A covered number replaced by something else, and the other way round. */
  int null = open("/dev/null", O_RDONLY), data = open_or_die(at("small"));
  SHOW(dup2(null, other) == other);
  SHOW(read(other, b, 5));
  SHOW(dup2(data, null) == null);
  SHOW(read(null, b, 5));
}

static void locks_case(void) {
  int fd = open_or_die(at("numbers"));
  char b[16];
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  SHOW(read(fd, b, 7));
  SHOW(fcntl(fd, F_SETLK, &lock));
  SHOW(flock(fd, LOCK_SH | LOCK_NB));
  SHOW(flock(fd, LOCK_UN));
  lock.l_type = F_WRLCK;
  SHOW(fcntl(fd, F_SETLK, &lock));
  SHOW(lseek(fd, 0, SEEK_CUR));
  show_rest("rest", fd);
}

static void ready_case(void) {
  int fd = open_or_die(at("numbers")), ends[2], epoll = epoll_create1(0), n;
  struct epoll_event event = {.events = EPOLLIN};
  struct timeval soon = {5, 0};
  fd_set in, out, except;
  struct termios terminal;
  if (pipe(ends) != 0) return;
  struct pollfd fds[3] = {{fd, POLLIN | POLLOUT | POLLPRI, 0}, {ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
  SHOW(poll(fds, 3, 5000));
  SHOW(fds[0].revents);
  SHOW(fds[1].revents);
  SHOW(fds[2].revents);
  SHOW(fds[0].fd == fd);
  SHOW(ppoll(fds, 2, NULL, NULL));
  /* An entry that the program has switched off, as programs do, stays so. */
  int off = ~open_or_die(at("small"));
  struct pollfd with_off[2] = {{fd, POLLIN, 0}, {off, POLLIN, 9}};
  SHOW(poll(with_off, 2, 0));
  SHOW(with_off[0].fd == fd && with_off[1].fd == off);
  SHOW(with_off[0].revents);
  SHOW(with_off[1].revents);
  static struct pollfd many[600];
  for (n = 0; n < 600; n++) many[n] = (struct pollfd){n % 3 == 0 ? fd : n % 3 == 1 ? ends[1] : -1, POLLOUT, 7};
  SHOW(poll(many, 600, 1000));
  SHOW(many[597].revents);
  SHOW(many[598].revents);
  SHOW(many[599].revents);
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_ZERO(&except);
  FD_SET(fd, &in);
  FD_SET(fd, &out);
  FD_SET(fd, &except);
  FD_SET(ends[0], &in);
  SHOW(select(ends[1] + 1, &in, &out, &except, &soon));
  SHOW(FD_ISSET(fd, &in) && FD_ISSET(fd, &out) && !FD_ISSET(fd, &except) && !FD_ISSET(ends[0], &in));
  SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  SHOW(isatty(fd));
  SHOW(tcgetattr(fd, &terminal));
  SHOW(ioctl(fd, TIOCGWINSZ, &terminal));
  SHOW(ioctl(fd, FIONREAD, &n));
  SHOW(n);
  SHOW(ioctl(fd, FIOCLEX));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(ioctl(fd, FIONCLEX));
  SHOW(fcntl(fd, F_GETFD));
}

static void map_case(void) {
  int fd = open_or_die(at("big"));
  long size = lseek(fd, 0, SEEK_END);
  void* map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  show_bytes("shared", map, size);
  SHOW(munmap(map, size));
  map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 65536);
  memset(map, 1, 10);
  show_bytes("private", map, 8192);
  SHOW(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(errno);
  SHOW(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(lseek(fd, 5, SEEK_SET));
  map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  show_bytes("after close", map, size);
  pid_t pid = fork();
  if (pid == 0) show_bytes("in a child", map, size), fflush(stdout), _exit(0);
  wait_for(pid);
}

/* A mapping of the first page that grows over the file: of a small file, and of one that is not filled whole. */
static void grow_case(void) {
  static const char* const files[] = {"big", "huge"};
  for (int i = 0; i < 2; i++) {
    int fd = open_or_die(at(files[i]));
    long size = lseek(fd, 0, SEEK_END);
    void* map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    show_bytes("a page", map, 4096);
    map = mremap(map, 4096, size, MREMAP_MAYMOVE);
    SHOW(map == MAP_FAILED);
    show_bytes("grown", map, size);
    char* middle = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, size / 2 & ~4095L);
    middle = mremap(middle + 4096, 4096, 65536, MREMAP_MAYMOVE);
    show_bytes("from the middle", middle, 65536);
    map = (void*)syscall(SYS_mremap, map, size, 4096, 0);
    show_bytes("shrunk", map, 4096);
    close(fd);
    map = mremap(map, 4096, 200000, MREMAP_MAYMOVE);
    show_bytes("after close", map, 200000);
  }
}

static void copies_case(void) {
  int fd = open_or_die(at("big")), ends[2], pair[2], out = memfd_create("out", 0);
  static char buffer[1 << 20];
  off_t from = 1000;
  SHOW(sendfile(out, fd, &from, 200000));
  SHOW(from);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(sendfile(out, fd, NULL, 300000));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(sendfile(out, fd, NULL, 1 << 30) > 0);
  SHOW(sendfile(out, fd, NULL, 10));
  show_bytes("sent", buffer, pread(out, buffer, sizeof buffer, 0));
  SHOW(lseek(fd, 0, SEEK_SET));
  if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) return;
  SHOW(splice(fd, NULL, ends[1], NULL, 4096, 0));
  show_bytes("spliced", buffer, read(ends[0], buffer, 4096));
  SHOW(lseek(fd, 0, SEEK_CUR));
  /* A full socket takes less than asked: the offset moves by what it took. */
  int again = open_or_die(at("big"));
  long sent = sendfile(pair[0], again, NULL, 1 << 30);
  SHOW(sent > 0);
  SHOW(lseek(again, 0, SEEK_CUR) == sent);
  int in = open_or_die(at("small"));
  ssize_t n = copy_file_range(in, NULL, out, NULL, 100, 0);
  if (n < 0 && errno == EXDEV) n = read(in, buffer, 100);
  SHOW(n);
  SHOW(sendfile(in, fd, NULL, 10));
  SHOW(ftruncate(in, 0));
  SHOW(write(in, "x", 1));
  SHOW(fsync(in));
  SHOW(posix_fadvise(in, 0, 0, POSIX_FADV_WILLNEED));
  SHOW(posix_fadvise(in, 0, 0, 99));
  SHOW(readahead(in, 0, 100));
}

static void aio_case(void) {
  int fd = open_or_die(at("big"));
  static char buffer[20000];
  struct aiocb control = {.aio_fildes = fd, .aio_buf = buffer, .aio_nbytes = sizeof buffer, .aio_offset = 70000};
  const struct aiocb* list[1] = {&control};
  SHOW(aio_read(&control));
  SHOW(aio_suspend(list, 1, NULL));
  SHOW(aio_error(&control));
  SHOW(aio_return(&control));
  show_bytes("read", buffer, sizeof buffer);
}

static void attributes_case(void) {
  int fd = open_or_die(at("small"));
  struct statvfs st;
  SHOW(fstatvfs(fd, &st));
  SHOW(st.f_namemax);
  SHOW(statvfs(at("missing"), &st));
  SHOW(statvfs(at("small/x"), &st));
  SHOW(pathconf(at("small"), _PC_NAME_MAX));
  SHOW(fpathconf(fd, _PC_PATH_MAX));
  SHOW(pathconf(at("missing"), _PC_NAME_MAX));
  SHOW(getxattr(at("missing"), "user.x", NULL, 0));
  SHOW(listxattr(at("small"), NULL, 0));
  if (!mounted) return;
  struct timespec times[2] = {{0, 0}, {0, 0}};
  if (fchmod(fd, 0600) != -1 || errno != EROFS) printf("fchmod: %d\n", errno);
  if (futimens(fd, times) != -1 || errno != EROFS) printf("futimens: %d\n", errno);
  if (fsetxattr(fd, "user.x", "y", 1, 0) != -1 || errno != ENOTSUP) printf("fsetxattr: %d\n", errno);
  if (fgetxattr(fd, "user.x", NULL, 0) != -1 || errno != ENOTSUP) printf("fgetxattr: %d\n", errno);
  if (inotify_add_watch(inotify_init1(0), at("small"), IN_MODIFY) != -1 || errno != EOPNOTSUPP)
    printf("inotify: %d\n", errno);
  if (!(fstatvfs(fd, &st) == 0 && (st.f_flag & ST_RDONLY))) printf("statvfs is not read-only\n");
}

/* Expects a failure with this errno under a mount; says so where it is another. */
#define REFUSED(call, error)                                                               \
  do {                                                                                     \
    errno = 0;                                                                             \
    if ((call) != -1 || errno != (error))                                                  \
      printf("%s: %s, not %s\n", #call, strerrorname_np(errno), strerrorname_np(error));   \
  } while (0)

static void names_case(void) {
  char pattern[4096], local[] = "/tmp/penstock-names-XXXXXX";
  SHOW(mkdir(at("tree"), 0700));
  SHOW(mkdir(at("missing/x"), 0700));
  SHOW(mkdir(at("small/x"), 0700));
  SHOW(rmdir(at("missing")));
  SHOW(unlink(at("missing")));
  SHOW(unlink(at("small/x")));
  SHOW(chmod(at("missing"), 0600));
  SHOW(truncate(at("missing"), 1));
  SHOW(truncate(at("tree"), 1));
  SHOW(rename(at("missing"), at("other")));
  SHOW(link(at("missing"), at("other")));
  SHOW(link(at("small"), at("numbers")));
  SHOW(symlink("x", at("numbers")));
  SHOW(utime(at("missing"), NULL));
  if (!mounted) return;
  REFUSED(mkdir(at("new"), 0700), EROFS);
  REFUSED(mkdirat(AT_FDCWD, at("new"), 0700), EROFS);
  REFUSED(rmdir(at("tree")), EROFS);
  REFUSED(unlink(at("small")), EROFS);
  REFUSED(unlink(at("tree")), EISDIR);
  REFUSED(remove(at("small")), EROFS);
  REFUSED(rename(at("small"), at("new")), EROFS);
  REFUSED(rename(at("small"), at("numbers")), EROFS);
  REFUSED(rename(at("small"), "/tmp/penstock-never"), EXDEV);
  REFUSED(rename("/etc/hostname", at("new")), EXDEV);
  REFUSED(link(at("small"), at("new")), EROFS);
  REFUSED(link(at("small"), "/tmp/penstock-never"), EXDEV);
  REFUSED(symlink("x", at("new")), EROFS);
  REFUSED(truncate(at("small"), 1), EROFS);
  REFUSED(chmod(at("small"), 0600), EROFS);
  REFUSED(chown(at("small"), 0, 0), EROFS);
  REFUSED(utime(at("small"), NULL), EROFS);
  REFUSED(utimensat(AT_FDCWD, at("small"), NULL, 0), EROFS);
  REFUSED(mknod(at("new"), S_IFREG, 0), EROFS);
  REFUSED(mkfifo(at("new"), 0600), EROFS);
  REFUSED(open(at("new"), O_CREAT | O_WRONLY, 0600), EROFS);
  REFUSED(open(at("small"), O_RDWR), EROFS);
  REFUSED(setxattr(at("small"), "user.x", "y", 1, 0), ENOTSUP);
  strcpy(pattern, at("fileXXXXXX"));
  REFUSED(mkstemp(pattern), EROFS);
  if (mkdtemp(pattern) != NULL || errno != EROFS) printf("mkdtemp: %d\n", errno);
  REFUSED(creat(at("new"), 0600), EROFS);
  if (fopen(at("new"), "w") != NULL || errno != EROFS) printf("fopen w: %d\n", errno);
  int fd = mkstemp(local);
  if (fd < 0 || unlink(local) != 0) printf("mkstemp in /tmp: %d\n", errno);
}

static void stdio_case(void) {
  char line[256];
  FILE* f = fopen(at("numbers"), "r");
  SHOW(f != NULL);
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(ungetc('x', f));
  SHOW(fgetc(f));
  SHOW(ftell(f));
  SHOW(fseek(f, -4, SEEK_END));
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(fgetc(f));
  SHOW(feof(f) != 0);
  SHOW(fputc('x', f));
  rewind(f);
  int value;
  SHOW(fscanf(f, "%d", &value));
  SHOW(value);
  char* text = NULL;
  size_t room = 0;
  SHOW(getline(&text, &room, f));
  SHOW(getline(&text, &room, f));
  printf("%s", text);
  SHOW(fileno(f) >= 0);
  struct stat st;
  SHOW(fstat(fileno(f), &st));
  SHOW(st.st_size);
  f = freopen(at("small"), "r", f);
  SHOW(f != NULL);
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(freopen("/dev/null", "r", f) != NULL);
  SHOW(fgetc(f));
  SHOW(freopen(at("numbers"), "re", f) != NULL);
  SHOW(fgetc(f));
  SHOW(fcntl(fileno(f), F_GETFD));
  SHOW(fclose(f));
  SHOW(fopen(at("missing"), "r") == NULL);
  SHOW(fopen(at("small"), "q") == NULL);
  int fd = open_or_die(at("numbers"));
  SHOW(lseek(fd, 4, SEEK_SET));
  f = fdopen(fd, "r");
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(fclose(f));
  SHOW(close(fd));
  f = fopen(at("wide"), "r,ccs=UTF-8");
  SHOW(f != NULL);
  SHOW(f == NULL ? 0 : fgetwc(f));
  /* stdin by freopen and by dup2. */
  SHOW(freopen(at("small"), "r", stdin) == stdin);
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  static char big[1 << 20];
  f = fopen(at("big"), "rb");
  show_bytes("fread", big, fread(big, 1, sizeof big, f));
  fclose(f);
}

static void stdin_case(void) {
  /* The program's own stdin, by libc's functions: started with the file on number 0. */
  int fd = open_or_die(at("numbers"));
  pid_t pid = fork();
  if (pid == 0) {
    dup2(fd, 0);
    execl(self, self, "read_stdin", root, mounted ? "mount" : "plain", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR) > 0);
}

static void read_stdin(void) {
  char line[64];
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  SHOW(scanf("%63s", line));
  printf("%s\n", line);
}

static void cwd_case(void) {
  char b[4096];
  SHOW(chdir(at("tree")));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(access("one", R_OK));
  SHOW(access("../small", R_OK));
  SHOW(chdir("deep/er"));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  char* allocated = getcwd(NULL, 0);
  printf("%s\n", plain(allocated));
  SHOW(getcwd(b, 3) == NULL);
  SHOW(errno);
  printf("%s\n", plain(get_current_dir_name()));
  ssize_t n = readlink("/proc/self/cwd", b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  SHOW(chdir(".."));
  SHOW(chdir("missing"));
  SHOW(chdir("one"));
  int dir = open(".", O_RDONLY | O_DIRECTORY), file = openat(dir, "../one", O_RDONLY);
  SHOW(dir >= 0);
  SHOW(file >= 0);
  show_rest("relative", file);
  SHOW(chdir("/"));
  SHOW(fchdir(dir));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(fchdir(file));
  fflush(stdout);
  SHOW(system("pwd | sed s,.*/tree,TREE,; cat ../one | wc -c; ls"));
  struct stat st;
  SHOW(fstatat(dir, "er", &st, 0));
  SHOW(S_ISDIR(st.st_mode));
  SHOW(chdir("../.."));
  SHOW(access("small", R_OK));
  SHOW(chdir("../../../../../../.."));
  printf("%s\n", plain(getcwd(b, sizeof b)));
}

static pthread_barrier_t turns_start;

static void* turn(void* folder) {
  int dir = open(folder, O_RDONLY | O_DIRECTORY);
  pthread_barrier_wait(&turns_start);
  for (int i = 0; i < 3000; i++) fchdir(dir);
  close(dir);
  return NULL;
}

/* The working directory is right after threads have changed it at once. */
static void turns_case(void) {
  char b[4096], one[4096], two[4096];
  int wrong = 0, lost = 0;
  strcpy(one, at("tree/deep"));
  strcpy(two, at("tree/empty"));
  SHOW(chdir(root));
  pthread_barrier_init(&turns_start, NULL, 2);
  for (int i = 0; i < 60; i++) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, turn, one);
    pthread_create(&threads[1], NULL, turn, two);
    for (int k = 0; k < 200; k++) {
      char* now = getcwd(b, sizeof b);
      if (now == NULL || (strcmp(now, one) && strcmp(now, two) && strcmp(now, root))) wrong++;
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    if (chdir(root) != 0 || strcmp(getcwd(b, sizeof b), root) != 0 || access("small", R_OK) != 0) lost++;
  }
  SHOW(wrong);
  SHOW(lost);
}

/* What stands above a mount is a directory, on disk or not. */
static void above_case(void) {
  SHOW(open(at(".."), O_CREAT | O_WRONLY, 0600));
  SHOW(open(at(".."), O_CREAT | O_EXCL | O_WRONLY, 0600));
}

/* One can stand there, find the way down by relative names, and so can a program that is started there. */
static void above_cwd_case(void) {
  char folder[4096], here[4096], command[4400];
  strcpy(folder, root);
  char* slash = strrchr(folder, '/');
  *slash = 0;
  const char* name = slash + 1;
  int home = open(".", O_RDONLY | O_DIRECTORY);
  SHOW(chdir(folder));
  SHOW(getcwd(here, sizeof here) != NULL && strcmp(here, folder) == 0);
  snprintf(here, sizeof here, "%s/small", name);
  show_rest("from above", open(here, O_RDONLY));
  SHOW(open("no-such-name", O_RDONLY));
  snprintf(command, sizeof command, "cat %s/small; test \"$(pwd -P)\" = '%s'; echo same $?; cd %s/tree && cat one", name, folder, name);
  fflush(stdout);
  SHOW(system(command));
  SHOW(chdir(name));
  show_rest("from within", open("small", O_RDONLY));
  SHOW(chdir(".."));
  SHOW(getcwd(here, sizeof here) != NULL && strcmp(here, folder) == 0);
  int above = open(".", O_RDONLY | O_DIRECTORY);
  SHOW(above >= 0);
  SHOW(fchdir(home));
  snprintf(here, sizeof here, "%s/small", name);
  show_rest("through the folder above", openat(above, here, O_RDONLY));
  SHOW(fchdir(above));
  show_rest("from above again", open(here, O_RDONLY));
  SHOW(chdir("/"));
}

/* For a mount whose path is on disk: an unnamed file above it is no directory. */
static void unnamed_case(void) {
  struct stat st;
  int fd = open(at(".."), O_TMPFILE | O_RDWR, 0600);
  SHOW(fstat(fd, &st));
  SHOW(st.st_mode & 07777);
  SHOW(openat(fd, "local/small", O_RDONLY));
  int dir = open(at(".."), O_RDONLY | O_DIRECTORY);
  show_rest("through the directory", openat(dir, "local/small", O_RDONLY));
}

static void links_case(void) {
  char b[4096], link[4200];
  int fd = open_or_die(at("tree/one")), dir = open(at("tree"), O_RDONLY | O_DIRECTORY);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  snprintf(link, sizeof link, "/dev/fd/%d", dir);
  n = readlink(link, b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)getpid(), fd);
  printf("%s\n", plain(realpath(link, b)));
  SHOW(readlink(at("small"), b, sizeof b));
  SHOW(readlink(at("missing"), b, sizeof b));
  printf("%s\n", plain(realpath(at("tree/../tree/./deep//er/.."), b)));
  printf("%s\n", plain(realpath(at("."), b)));
  SHOW(realpath(at("missing"), b) == NULL);
  SHOW(errno);
  SHOW(realpath(at("small/x"), b) == NULL);
  SHOW(realpath(at("small/.."), b) == NULL);
  snprintf(link, sizeof link, "/tmp/penstock-link-%d", (int)getpid());
  SHOW(symlink(root, link));
  char through[4300];
  snprintf(through, sizeof through, "%s/tree/one", link);
  printf("%s\n", plain(realpath(through, b)));
  FILE* f = fopen(through, "r");
  SHOW(f != NULL && fgets(b, sizeof b, f) != NULL);
  SHOW(open(through, O_RDONLY) >= 0);
  struct stat st;
  SHOW(stat(through, &st));
  SHOW(st.st_size);
  SHOW(chdir(link));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(unlink(link));
  snprintf(link, sizeof link, "/dev/fd/%d", fd);
  int again = open(link, O_RDONLY);
  show_rest("reopened", again);
}

static int visit(const char* path, const struct stat* st, int type, struct FTW* info) {
  printf("%s %d %d %d %lld\n", plain(path), type, info->base - (int)strlen(root), info->level,
         type == FTW_F ? (long long)st->st_size : 0);
  return 0;
}

static int skip_deep(const char* path, const struct stat* st, int type, struct FTW* info) {
  (void)st, (void)info;
  printf("%s %d\n", plain(path), type);
  return strstr(path, "deep") != NULL ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int by_name(const FTSENT** a, const FTSENT** b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static int visit_old(const char* path, const struct stat* st, int type) {
  (void)st;
  printf("%s %d\n", plain(path), type);
  return 0;
}

/* Lines of a case come in directory order: the runner sorts them. */
/* With FTW_CHDIR the walk stands where the entry is: its bare name leads to it. */
static int visit_there(const char* path, const struct stat* st, int type, struct FTW* info) {
  char here[4096];
  struct stat by_name;
  int found = type == FTW_DP ? 0 : stat(path + info->base, &by_name);
  printf("there %s %d %d %d in %s: %d\n", plain(path), type, info->base > 0, info->level, plain(getcwd(here, sizeof here)), found);
  return 0;
}

static void walk_case(void) {
  glob_t found;
  memset(&found, 0, sizeof found);
  SHOW(glob(at("*"), GLOB_MARK, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; i++) printf("glob %s\n", plain(found.gl_pathv[i]));
  SHOW(glob(at("t*/*/e?"), GLOB_APPEND, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; i++) printf("more %s\n", plain(found.gl_pathv[i]));
  globfree(&found);
  SHOW(glob(at("none*"), 0, NULL, &found));
  SHOW(nftw(at("tree"), visit, 8, FTW_PHYS));
  SHOW(nftw(at("tree"), visit, 8, FTW_DEPTH));
  SHOW(nftw(at("tree"), skip_deep, 8, FTW_ACTIONRETVAL));
  SHOW(nftw(at("missing"), visit, 8, 0));
  SHOW(nftw(at("tree"), visit_there, 8, FTW_CHDIR | FTW_PHYS));
  SHOW(nftw(at("tree"), visit_there, 8, FTW_CHDIR | FTW_DEPTH));
  SHOW(nftw(at("missing"), visit_there, 8, FTW_CHDIR));
  SHOW(chdir(at("tree")));
  SHOW(nftw("deep", visit_there, 8, FTW_CHDIR));
  SHOW(nftw("deep/er", visit_there, 8, FTW_CHDIR));
  char here[4096];
  printf("walked from %s\n", plain(getcwd(here, sizeof here)));
  SHOW(chdir("/"));
  SHOW(ftw(at("tree"), visit_old, 8));
  char top[4096];
  strcpy(top, root);
  char* paths[] = {top, NULL};
  FTS* tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
  FTSENT* entry;
  while ((entry = fts_read(tree)) != NULL) {
    if (strcmp(entry->fts_name, "deep") == 0) fts_set(tree, entry, FTS_SKIP);
    printf("fts %s %d %d %s\n", plain(entry->fts_path), entry->fts_info, entry->fts_level,
           entry->fts_level > 0 ? entry->fts_name : "");
  }
  SHOW(fts_close(tree));
}

static void fork_case(void) {
  char b[100];
  int fd = open_or_die(at("numbers"));
  SHOW(read(fd, b, 10));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    SHOW(read(fd, b, 20));
    SHOW(lseek(fd, 0, SEEK_CUR));
    fflush(stdout);
    _exit(0);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  fflush(stdout);
  pid = vfork();
  if (pid == 0) {
    dup2(fd, 0);
    execl("/bin/cat", "cat", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(lseek(fd, 40, SEEK_SET));
  /* A sharer that maps the file, which makes it real: the offset stays one. */
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    struct flock lock = {.l_type = F_RDLCK};
    SHOW(fcntl(fd, F_SETLK, &lock));
    SHOW(read(fd, b, 7));
    fflush(stdout);
    _exit(0);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(read(fd, b, 3));
  SHOW(lseek(fd, 0, SEEK_CUR));
}

/* Goes into the background; the process that opened the files is gone then. */
static void daemon_case(void) {
  char b[4096];
  int fd = open_or_die(at("numbers")), out = dup(1);
  SHOW(read(fd, b, 10));
  fflush(stdout);
  if (daemon(0, 0) != 0) _exit(9);
  usleep(300000);
  for (int i = 0; i < 70; i++) open(at(i % 2 ? "small" : "tree/one"), O_RDONLY); /* takes what is free */
  long n = read(fd, b, 20);
  int null = open(at("small"), O_RDONLY);
  long m = read(null, b + 20, 20);
  dprintf(out, "%ld %ld %.40s, ", n, m, b);
  dprintf(out, "%s %ld\n", getcwd(b, sizeof b), (long)read(0, b, 5));
}

/* Forks inside libc. */
static void inside_case(void) {
  char b[2000];
  int fd = open_or_die(at("numbers")), terminal;
  SHOW(read(fd, b, 10));
  fflush(stdout);
  snprintf(b, sizeof b, "\"%s\" daemon \"%s\" %s | cat", self, root, mounted ? "mount" : "plain");
  SHOW(system(b));
  fflush(stdout);
  pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
  if (pid == 0) _exit(read(fd, b, 7) == 7 && read(0, b, 0) == 0 ? 4 : 5);
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  wordexp_t words;
  snprintf(b, sizeof b, "$(head -c 12 <&%d | tr '\\n' +)", fd);
  SHOW(wordexp(b, &words, 0));
  printf("%s\n", words.we_wordc > 0 ? words.we_wordv[0] : "nothing");
}

static int clone_child(void* argument) {
  char b[10];
  SHOW(read(*(int*)argument, b, 10));
  fflush(stdout);
  return 5;
}

static void clone_case(void) {
  static char stack[65536];
  int fd = open_or_die(at("numbers"));
  fflush(stdout);
  pid_t pid = clone(clone_child, stack + sizeof stack, SIGCHLD, &fd);
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  fflush(stdout);
  pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(clone_child(&fd));
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
}

static void exec_case(void) {
  extern char** environ;
  char* empty[] = {NULL};
  const char* file = at("numbers");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    execle("/usr/bin/head", "head", "-n", "2", file, (char*)NULL, empty);
    _exit(127);
  }
  wait_for(pid);
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    clearenv();
    _exit(system("tail -n 1 \"$(echo '" "' )\" /dev/null >/dev/null 2>&1; exit 4") >> 8);
  }
  wait_for(pid);
  char command[4200];
  snprintf(command, sizeof command, "wc -l < %s", file);
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    char line[64] = "";
    clearenv();
    FILE* stream = popen(command, "r");
    if (stream == NULL || fgets(line, sizeof line, stream) == NULL) _exit(1);
    printf("popen: %s", line);
    pclose(stream);
    fflush(stdout);
    _exit(WEXITSTATUS(system(command)));
  }
  wait_for(pid);
  /* Programs and scripts that lie there. */
  const char* programs[] = {"greet", "program", "missing", "small"};
  for (int i = 0; i < 4; i++) {
    char path[4096];
    strcpy(path, at(programs[i]));
    char* argv[] = {path, "an argument", NULL};
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
      execve(path, argv, environ);
      printf("%s\n", strerrorname_np(errno));
      fflush(stdout);
      _exit(127);
    }
    wait_for(pid);
    fflush(stdout);
    int err = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    printf("spawn: %d\n", err);
    if (err == 0) wait_for(pid);
  }
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    char path[5000];
    snprintf(path, sizeof path, "/nowhere:%s:/bin", root);
    setenv("PATH", path, 1);
    execlp("greet", "greet", "found", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
}

static void spawn_case(void) {
  extern char** environ;
  posix_spawn_file_actions_t actions;
  pid_t pid = 0;
  char* cat[] = {"head", "-n", "3", NULL};
  int fd = open_or_die(at("numbers"));
  lseek(fd, 10, SEEK_SET);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_adddup2(&actions, fd, 0));
  fflush(stdout);
  SHOW(posix_spawn(&pid, "/usr/bin/head", &actions, NULL, cat, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0));
  fflush(stdout);
  SHOW(posix_spawnp(&pid, "head", &actions, NULL, cat, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_addopen(&actions, 0, at("missing"), O_RDONLY, 0));
  SHOW(posix_spawn(&pid, "/usr/bin/head", &actions, NULL, cat, environ));
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  char* ls[] = {"ls", NULL};
  SHOW(posix_spawn_file_actions_addchdir_np(&actions, at("tree")));
  fflush(stdout);
  SHOW(posix_spawn(&pid, "/bin/ls", &actions, NULL, ls, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  SHOW(read(fd, cat, 8));
}

static void rights_case(void) {
  int pair[2], fd = open_or_die(at("numbers"));
  char b[16], control[CMSG_SPACE(sizeof(int))];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return;
  struct iovec io = {"x", 1};
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS, part->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(part), &fd, sizeof fd);
  SHOW(read(fd, b, 10));
  SHOW(sendmsg(pair[0], &message, 0));
  io.iov_base = b;
  SHOW(recvmsg(pair[1], &message, 0));
  int got = -1;
  memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
  SHOW(read(got, b, 5));
  SHOW(lseek(fd, 0, SEEK_CUR));
  show_rest("rest", got);
}

static void raw_case(void) {
  char b[4096], listing[4096];
  struct stat st;
  long fd = syscall(SYS_openat, AT_FDCWD, at("numbers"), O_RDONLY, 0);
  SHOW(fd >= 0);
  SHOW(syscall(SYS_read, fd, b, 10));
  SHOW(syscall(SYS_pread64, fd, b, 100, 50));
  SHOW(syscall(SYS_lseek, fd, 0, SEEK_CUR));
  SHOW(syscall(SYS_fstat, fd, &st));
  SHOW(st.st_size);
  SHOW(syscall(SYS_newfstatat, AT_FDCWD, at("missing"), &st, 0));
  SHOW(syscall(SYS_faccessat, AT_FDCWD, at("small"), R_OK));
  SHOW(syscall(SYS_close, fd));
  SHOW(syscall(SYS_read, fd, b, 10));
  long dir = syscall(SYS_openat, AT_FDCWD, at("tree/deep"), O_RDONLY | O_DIRECTORY, 0);
  long n = syscall(SYS_getdents64, dir, listing, sizeof listing);
  int entries = 0;
  for (long i = 0; i < n; i += *(unsigned short*)(listing + i + 16)) entries++;
  SHOW(entries);
  SHOW(syscall(SYS_getdents64, dir, listing, sizeof listing));
}

/* Numbers that were closed behind our back, or given out by the kernel again. */
static void stale_case(void) {
  char b[16];
  int ends[2], fd = open_or_die(at("numbers"));
  close(fd);
  SHOW(pipe(ends));
  SHOW(ends[0] == fd);
  SHOW(write(ends[1], "piped", 5));
  SHOW(read(ends[0], b, sizeof b));
  close(ends[0]), close(ends[1]);
  fd = open_or_die(at("numbers"));
#if defined(__x86_64__)
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_close), "D"((long)fd) : "rcx", "r11", "memory");
#else
  long result = close(fd);
#endif
  SHOW(result);
  SHOW(pipe(ends));
  SHOW(ends[0] == fd);
  SHOW(write(ends[1], "again", 5));
  SHOW(read(ends[0], b, sizeof b));
  close(ends[0]), close(ends[1]);
  fd = open_or_die(at("numbers"));
  SHOW(close_range(3, 200, 0));
  SHOW(read(fd, b, 1));
  int event = eventfd(7, 0);
  SHOW(event == fd);
  SHOW(read(event, b, 8));
  fd = open_or_die(at("small"));
  closefrom(3);
  SHOW(read(fd, b, 1));
  SHOW(open("/dev/null", O_RDONLY));
  SHOW(read(3, b, 1));
  SHOW(open_or_die(at("small")));
  SHOW(read(4, b, 4));
}

/* libc's functions by a handle of libc, as foreign function interfaces find them, and by their version. */
static void handle_case(void) {
  char b[64] = "";
  void* libc = dlopen("libc.so.6", RTLD_NOW);
  int (*open_it)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(libc, "open");
  ssize_t (*read_it)(int, void*, size_t) = (ssize_t(*)(int, void*, size_t))dlsym(libc, "read");
  FILE* (*fopen_it)(const char*, const char*) = (FILE * (*)(const char*, const char*)) dlsym(libc, "fopen");
  int fd = open_it(at("small"), O_RDONLY);
  SHOW(read_it(fd, b, sizeof b - 1));
  printf("%s\n", b);
  FILE* stream = fopen_it(at("small"), "r");
  printf("%s", stream != NULL ? fgets(b, sizeof b, stream) : "no stream\n");
  SHOW(dlsym(libc, "open") == (void*)open);
  SHOW(dlsym(RTLD_DEFAULT, "open") == (void*)open);
  SHOW(dlsym(libc, "no_such_name") == NULL);
  SHOW(dlerror() != NULL);
#ifdef __x86_64__
  int (*versioned)(const char*, int, ...) = (int (*)(const char*, int, ...))dlvsym(RTLD_DEFAULT, "open", "GLIBC_2.2.5");
  show_rest("by version", versioned(at("small"), O_RDONLY));
  versioned = (int (*)(const char*, int, ...))dlvsym(libc, "open", "GLIBC_2.2.5");
  show_rest("by handle and version", versioned(at("small"), O_RDONLY));
  SHOW(dlvsym(libc, "open", "GLIBC_1.0") == NULL);
#endif
  SHOW(dlsym(libc, "strlen") != NULL);
}

static void library_case(void) {
  void* library = dlopen(at("lib.so"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  SHOW(library != NULL);
  int (*answer)(const char*) = library == NULL ? NULL : (int (*)(const char*))dlsym(library, "answer");
  SHOW(answer == NULL ? -1 : answer(at("small")));
  SHOW(dlopen(at("missing.so"), RTLD_NOW) == NULL);
  SHOW(dlerror() != NULL);
}

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {{"dup", dup_case}, {"locks", locks_case}, {"ready", ready_case}, {"map", map_case}, {"grow", grow_case},
             {"turns", turns_case}, {"above", above_case}, {"above_cwd", above_cwd_case}, {"handle", handle_case}, {"unnamed", unnamed_case}, {"inside", inside_case}, {"daemon", daemon_case},
             {"copies", copies_case}, {"aio", aio_case}, {"attributes", attributes_case},
             {"names", names_case}, {"stdio", stdio_case}, {"stdin", stdin_case}, {"cwd", cwd_case},
             {"links", links_case}, {"walk", walk_case}, {"fork", fork_case}, {"clone", clone_case},
             {"exec", exec_case}, {"spawn", spawn_case}, {"rights", rights_case}, {"raw", raw_case},
             {"stale", stale_case}, {"library", library_case}, {"read_stdin", read_stdin}};

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  self = argv[0];
  root = argv[2];
  mounted = argc > 3 && strcmp(argv[3], "mount") == 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    cases[i].run();
    return fflush(stdout) == 0 ? 0 : 1;
  }
  return 2;
}
