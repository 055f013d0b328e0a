#include "shim/core/own_place.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/abi/open_file.h"
#include "shim/core/config.h"
#include "shim/core/fd_table.h"
#include "shim/core/raw.h"

namespace penstock {

int PstByOwnPlace(int fd, const char* tail, int flags) {
  char path[PST_PATH_MAX];
  size_t socket_len = g_config.socket_len, tail_len = strlen(tail);
  if (fd < 0 || socket_len + sizeof PST_JOB_FOLDER_SUFFIX + tail_len + 1 > sizeof path) return fd;
  memcpy(path, g_config.socket_path, socket_len);
  memcpy(path + socket_len, PST_JOB_FOLDER_SUFFIX "/", sizeof PST_JOB_FOLDER_SUFFIX);
  memcpy(path + socket_len + sizeof PST_JOB_FOLDER_SUFFIX, tail, tail_len + 1);
  long own = Raw(SYS_openat, AT_FDCWD, path, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (own < 0) return fd;
  PstFdForget((int)own);
  struct stat given, opened;
  bool same = Raw(SYS_fstat, fd, &given) == 0 && Raw(SYS_fstat, own, &opened) == 0 &&
              given.st_dev == opened.st_dev && given.st_ino == opened.st_ino;
  Raw(SYS_close, same ? fd : own);
  return same ? (int)own : fd;
}

}  // namespace penstock
