#include "shim/core/own_place.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/abi/open_file.h"
#include "shim/core/config.h"
#include "shim/core/fd_table.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"

namespace penstock {

int PstByOwnPlace(int fd, const char* tail, int flags) {
  Scratch scratch;
  char* path = scratch.Get();
  size_t socket_len = g_config.socket_len, tail_len = strlen(tail);
  if (fd < 0 || path == nullptr || socket_len + sizeof PST_JOB_FOLDER_SUFFIX + tail_len + 1 > PST_PATH_MAX) return fd;
  memcpy(path, g_config.socket_path, socket_len);
  memcpy(path + socket_len, PST_JOB_FOLDER_SUFFIX "/", sizeof PST_JOB_FOLDER_SUFFIX);
  memcpy(path + socket_len + sizeof PST_JOB_FOLDER_SUFFIX, tail, tail_len + 1);
  long own = Raw(SYS_openat, AT_FDCWD, path, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (own < 0) return fd;
  PstFdForget((int)own);
  struct stat given, opened;
  bool same = Raw(SYS_fstat, fd, &given) == 0 && Raw(SYS_fstat, own, &opened) == 0 &&
              given.st_dev == opened.st_dev && given.st_ino == opened.st_ino;
  // The program gets the lowest number that was free: the one that the kernel gave first.
  if (same) Raw(SYS_dup3, own, fd, O_CLOEXEC);
  Raw(SYS_close, own);
  return fd;
}

}  // namespace penstock
