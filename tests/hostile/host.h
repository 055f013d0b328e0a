// Hostile little programs: what the cases share beyond tests/shim_wide/host.h.
#pragma once

#include "tests/shim_wide/host.h"

struct hostile_case {
  const char* name;
  void (*run)(void);
};

// One list a file, ended by a null name.
extern const struct hostile_case errno_cases[], flag_cases[], directory_cases[], walk_cases[],
    number_cases[], process_cases[], spawn_cases[], sharing_cases[], link_cases[], thread_cases[],
    signal_cases[], loader_cases[], stream_cases[];

// A child that runs `body` and ends without exit handlers; what it exits with is printed.
#define IN_CHILD(body)        \
  do {                        \
    fflush(stdout);           \
    pid_t child_pid = fork(); \
    if (child_pid == 0) {     \
      body;                   \
      fflush(stdout);         \
      _exit(0);               \
    }                         \
    wait_for(child_pid);      \
  } while (0)

// A number, or -1 with the errno's name: for results that are descriptors.
static void show_fd(const char* what, int fd) {
  struct stat st;
  if (fd < 0) {
    printf("%s: %s\n", what, strerrorname_np(errno));
    return;
  }
  if (fstat(fd, &st) != 0) {
    printf("%s: open, fstat %s\n", what, strerrorname_np(errno));
  } else {
    printf("%s: open, type %o, flags %o, %s\n", what, st.st_mode & S_IFMT, fcntl(fd, F_GETFL),
           fcntl(fd, F_GETFD) ? "cloexec" : "kept");
  }
  close(fd);
}
