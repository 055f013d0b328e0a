// A program of liburing: opens, looks at, reads and closes files by the ring alone.
#define _GNU_SOURCE
//   uring_host FOLDER [poll]
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct io_uring ring;

/* The result of the one entry that was prepared. */
static int result(int how) {
  struct io_uring_cqe* done = NULL;
  struct __kernel_timespec time = {.tv_sec = 20};
  int err = how == 0   ? io_uring_submit(&ring)
            : how == 1 ? io_uring_submit_and_wait(&ring, 1)
                       : io_uring_submit_and_wait_timeout(&ring, &done, 1, &time, NULL);
  if (err < 0) return printf("submit %d: %d\n", how, err), err;
  if (io_uring_wait_cqe(&ring, &done) != 0) return -EIO;
  int value = done->res;
  io_uring_cqe_seen(&ring, done);
  return value;
}

int main(int argc, char** argv) {
  struct io_uring_params params = {.flags = argc > 2 ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 2000};
  int err = io_uring_queue_init_params(8, &ring, &params);
  if (err != 0) return printf("no rings: %d\n", err), 0;
  const char* names[] = {"small", "big", "absent", "tree", "tree/deep/er/e1"};
  for (int i = 0; i < 15; i++) {
    char path[4096], buffer[5000];
    const char* name = names[i % 5];
    snprintf(path, sizeof path, "%s/%s", argv[1], name);
    struct statx look = {0};
    io_uring_prep_statx(io_uring_get_sqe(&ring), AT_FDCWD, path, 0, STATX_BASIC_STATS, &look);
    int looked = result(i % 3);
    io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    int fd = result(i % 3);
    printf("%s: statx %d, size %lld, open %s", name, looked, S_ISREG(look.stx_mode) ? (long long)look.stx_size : 0,
           fd < 0 ? strerrorname_np(-fd) : "done");
    if (fd >= 0) {
      io_uring_prep_read(io_uring_get_sqe(&ring), fd, buffer, sizeof buffer, 7);
      int n = result(i % 3);
      unsigned long sum = 0;
      for (int k = 0; k < n; k++) sum = sum * 31 + (unsigned char)buffer[k];
      io_uring_prep_close(io_uring_get_sqe(&ring), fd);
      int closed = result(i % 3);
      printf(", read %d %lx, close %d, again %d", n, sum, closed, fcntl(fd, F_GETFD));
    }
    printf("\n");
  }
  io_uring_queue_exit(&ring);
  return 0;
}
