// Passed descriptors, raw calls, stale numbers, libraries.
#include "host.h"

void rights_case(void) {
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

void raw_case(void) {
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
void stale_case(void) {
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
void handle_case(void) {
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

void library_case(void) {
  void* library = dlopen(at("lib.so"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  SHOW(library != NULL);
  int (*answer)(const char*) = library == NULL ? NULL : (int (*)(const char*))dlsym(library, "answer");
  SHOW(answer == NULL ? -1 : answer(at("small")));
  SHOW(dlopen(at("missing.so"), RTLD_NOW) == NULL);
  SHOW(dlerror() != NULL);
}
