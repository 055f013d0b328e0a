// What is asked of terminals, and of the kind of a number: a covered file is a regular one.

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "shim/calls/support.h"

namespace penstock {
namespace {

bool IsFile(int fd) { return PST_UNLIKELY(PstFdKindOf(fd) == kFdFile); }

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int isatty(int fd) {
  if (!IsFile(fd)) return real.isatty(fd);
  PstFail(ENOTTY);
  return 0;
}

PST_EXPORT int tcgetattr(int fd, struct termios* out) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcgetattr(fd, out);
}

PST_EXPORT int tcsetattr(int fd, int when, const struct termios* modes) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcsetattr(fd, when, modes);
}

PST_EXPORT int tcsendbreak(int fd, int duration) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcsendbreak(fd, duration);
}

PST_EXPORT int tcdrain(int fd) { return IsFile(fd) ? PstFail(ENOTTY) : real.tcdrain(fd); }

PST_EXPORT int tcflush(int fd, int queue) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcflush(fd, queue);
}

PST_EXPORT int tcflow(int fd, int action) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcflow(fd, action);
}

PST_EXPORT pid_t tcgetpgrp(int fd) { return IsFile(fd) ? PstFail(ENOTTY) : real.tcgetpgrp(fd); }

PST_EXPORT int tcsetpgrp(int fd, pid_t group) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcsetpgrp(fd, group);
}

PST_EXPORT pid_t tcgetsid(int fd) { return IsFile(fd) ? PstFail(ENOTTY) : real.tcgetsid(fd); }

PST_EXPORT int tcgetwinsize(int fd, struct winsize* out) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcgetwinsize(fd, out);
}

PST_EXPORT int tcsetwinsize(int fd, const struct winsize* size) {
  return IsFile(fd) ? PstFail(ENOTTY) : real.tcsetwinsize(fd, size);
}

PST_EXPORT char* ttyname(int fd) {
  if (!IsFile(fd)) return real.ttyname(fd);
  PstFail(ENOTTY);
  return nullptr;
}

PST_EXPORT int ttyname_r(int fd, char* buffer, size_t bytes) {
  if (!IsFile(fd)) return real.ttyname_r(fd, buffer, bytes);
  PstFail(ENOTTY);
  return ENOTTY;
}

PST_EXPORT int isfdtype(int fd, int type) {
  if (PST_LIKELY(!IsCovered(PstFdKindOf(fd)))) return real.isfdtype(fd, type);
  struct stat info;
  KeepErrno keep;
  if (fstat(fd, &info) == 0) return (info.st_mode & S_IFMT) == static_cast<mode_t>(type) ? 1 : 0;
  keep.Set(errno);
  return -1;
}

PST_EXPORT int openpty(int* terminal, int* other, char* name, const struct termios* modes,
                       const struct winsize* size) {
  const int result = real.openpty(terminal, other, name, modes, size);
  if (result == 0) Fresh(*terminal), Fresh(*other);
  return result;
}

// Puts the terminal onto 0, 1 and 2 by calls of libc's own, and closes its number.
PST_EXPORT int login_tty(int fd) {
  const int result = real.login_tty(fd);
  if (result != 0 || PST_LIKELY(!g_config.active)) return result;
  for (int each = 0; each <= 2; ++each) PstFdForget(each);
  return result;
}
