// What the cases of the host program share.
#pragma once

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

extern const char* root;   // the folder, covered or not
extern int mounted;        // whether it is covered
extern const char* self;   // this program

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

// The cases, one family a file.
void dup_case(void);
void locks_case(void);
void ready_case(void);
void map_case(void);
void grow_case(void);
void copies_case(void);
void aio_case(void);
void attributes_case(void);
void names_case(void);
void stdio_case(void);
void stdin_case(void);
void read_stdin(void);
void cwd_case(void);
void turns_case(void);
void above_case(void);
void above_cwd_case(void);
void unnamed_case(void);
void links_case(void);
void walk_case(void);
void fork_case(void);
void daemon_case(void);
void inside_case(void);
void clone_case(void);
void exec_case(void);
void spawn_case(void);
void rights_case(void);
void sandbox_case(void);
void raw_case(void);
void stale_case(void);
void handle_case(void);
void library_case(void);
void odd_case(void);
void streams_case(void);
void maps_case(void);
void async_case(void);
void ring_case(void);
