// The twins that _FORTIFY_SOURCE calls. A buffer that is too small goes to libc's own function,
// which ends the program the way its user knows.

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/calls/support.h"

using penstock::real;

PST_EXPORT ssize_t __read_chk(int fd, void* buffer, size_t count, size_t room) {
  if (PST_UNLIKELY(count > room)) return real.__read_chk(fd, buffer, count, room);
  return read(fd, buffer, count);
}

PST_EXPORT ssize_t __pread_chk(int fd, void* buffer, size_t count, off_t offset, size_t room) {
  if (PST_UNLIKELY(count > room)) return real.__pread_chk(fd, buffer, count, offset, room);
  return pread(fd, buffer, count, offset);
}

PST_EXPORT int __poll_chk(struct pollfd* fds, nfds_t count, int timeout_ms, size_t room) {
  if (PST_UNLIKELY(room / sizeof *fds < count))
    return real.__poll_chk(fds, count, timeout_ms, room);
  return poll(fds, count, timeout_ms);
}

PST_EXPORT int __ppoll_chk(struct pollfd* fds, nfds_t count, const struct timespec* timeout,
                           const sigset_t* mask, size_t room) {
  if (PST_UNLIKELY(room / sizeof *fds < count))
    return real.__ppoll_chk(fds, count, timeout, mask, room);
  return ppoll(fds, count, timeout, mask);
}

PST_EXPORT ssize_t __readlink_chk(const char* path, char* buffer, size_t count, size_t room) {
  if (PST_UNLIKELY(count > room)) return real.__readlink_chk(path, buffer, count, room);
  return readlink(path, buffer, count);
}

PST_EXPORT ssize_t __readlinkat_chk(int dirfd, const char* path, char* buffer, size_t count,
                                    size_t room) {
  if (PST_UNLIKELY(count > room)) return real.__readlinkat_chk(dirfd, path, buffer, count, room);
  return readlinkat(dirfd, path, buffer, count);
}

PST_EXPORT char* __getcwd_chk(char* buffer, size_t count, size_t room) {
  if (PST_UNLIKELY(count > room)) return real.__getcwd_chk(buffer, count, room);
  return getcwd(buffer, count);
}

PST_EXPORT char* __getwd_chk(char* buffer, size_t room) {
  if (room < PATH_MAX) return real.__getwd_chk(buffer, room);
  return getcwd(buffer, PATH_MAX);
}

PST_EXPORT char* __realpath_chk(const char* path, char* resolved, size_t room) {
  if (PST_UNLIKELY(room < PATH_MAX)) return real.__realpath_chk(path, resolved, room);
  return realpath(path, resolved);
}
