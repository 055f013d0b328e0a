// Descriptor numbers: duplicates, locks, readiness.
#include "host.h"

void dup_case(void) {
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

void locks_case(void) {
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

void ready_case(void) {
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
