// Calls that few programs make of a file: what terminals, sockets, keys and mount tables are made of.
#include "host.h"

#include <mntent.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/un.h>

static int named(int (*call)(int, const struct sockaddr*, socklen_t), const char* name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, name, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int result = call(fd, (struct sockaddr*)&address, sizeof address);
  int err = errno;
  close(fd);
  errno = err;
  return result;
}

static void terminal(int fd) {
  struct termios modes = {0};
  char name[64];
  SHOW(isatty(fd));
  SHOW(tcgetattr(fd, &modes));
  SHOW(tcsetattr(fd, TCSANOW, &modes));
  SHOW(tcsendbreak(fd, 0));
  SHOW(tcdrain(fd));
  SHOW(tcflush(fd, TCIFLUSH));
  SHOW(tcflow(fd, TCION));
  SHOW(tcgetpgrp(fd));
  SHOW(tcsetpgrp(fd, getpgrp()));
  SHOW(tcgetsid(fd));
  SHOW(ttyname(fd) != NULL ? 0 : -1);
  SHOW(ttyname_r(fd, name, sizeof name));
  SHOW(isfdtype(fd, S_IFREG));
  SHOW(isfdtype(fd, S_IFSOCK));
  SHOW(isfdtype(fd, S_IFDIR));
}

void odd_case(void) {
  int fd = open_or_die(at("small"));
  terminal(fd);
  int folder = open(at("tree"), O_RDONLY | O_DIRECTORY);
  terminal(folder);
  SHOW(named(connect, at("small")));
  SHOW(named(connect, at("missing")));
  SHOW(named(connect, at("small/x")));
  SHOW(named(bind, at("small")));
  SHOW(named(bind, at("missing/x")));
  struct stat st;
  SHOW(stat(at("small"), &st));
  SHOW(ftok(at("small"), 0x17) == (key_t)((st.st_ino & 0xffff) | (st.st_dev & 0xff) << 16 | 0x17u << 24));
  SHOW(ftok(at("missing"), 1));
  FILE* table = setmntent(at("small"), "r");
  SHOW(table != NULL);
  struct mntent* entry = table != NULL ? getmntent(table) : NULL;
  printf("%s %s\n", entry != NULL ? entry->mnt_fsname : "none", entry != NULL ? entry->mnt_dir : "");
  if (table != NULL) SHOW(endmntent(table));
  SHOW(setmntent(at("missing"), "r") == NULL ? -1 : 0);
  struct aiocb control = {.aio_fildes = fd};
  const struct aiocb* list[] = {&control};
  SHOW(aio_fsync(O_SYNC, &control));
  SHOW(aio_suspend(list, 1, NULL));
  SHOW(aio_error(&control));
  /* Numbers that libc closes and gives out by itself. */
  int terminal_fd = -1, other = -1;
  close(fd);
  SHOW(openpty(&terminal_fd, &other, NULL, NULL, NULL));
  SHOW(terminal_fd == fd);
  SHOW(isatty(other));
  close(terminal_fd);
  close(other);
  fd = open_or_die(at("small"));
  SHOW(mq_close(fd));
  char byte;
  SHOW(read(fd, &byte, 1));
  int ends[2];
  SHOW(pipe(ends));
  SHOW(ends[0] == fd);
  SHOW(write(ends[1], "x", 1));
  SHOW(read(ends[0], &byte, 1));
}
