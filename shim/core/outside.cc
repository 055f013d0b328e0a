#include "shim/core/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shim/core/decimal.h"
#include "shim/core/path.h"
#include "shim/core/raw.h"

namespace penstock {

void ProcFdPath(int fd, char* to) {
  *PutDecimal(static_cast<unsigned>(fd), stpcpy(to, "/proc/self/fd/")) = '\0';
}

int OutsideFdPath(int fd, char* to, uint32_t capacity) {
  char name[32];
  ProcFdPath(fd, name);
  long n = Raw(SYS_readlinkat, AT_FDCWD, name, to, capacity - 1);
  if (n < 0) return (int)n;
  if (n >= (long)capacity - 1) return -ENAMETOOLONG;
  to[n] = 0;
  return to[0] == '/' ? (int)n : -ENOENT;
}

int OutsideResolve(char* text, uint32_t* len, uint32_t capacity) {
  long fd = Raw(SYS_openat, AT_FDCWD, text, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return fd == -ENOENT && PstIsAncestor(text, *len) ? 0 : (int)-fd;
  int n = OutsideFdPath((int)fd, text, capacity);
  Raw(SYS_close, fd);
  if (n < 0) return -n;
  *len = n == 1 ? 0 : (uint32_t)n;
  text[*len] = 0;
  return 0;
}

}  // namespace penstock
