#include "shim/core/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shim/core/path.h"
#include "shim/core/raw.h"

namespace penstock {

int OutsideFdPath(int fd, char* to, uint32_t capacity) {
  char name[32] = "/proc/self/fd/";
  char* at = name + 14;
  char digits[12];
  int count = 0;
  unsigned value = (unsigned)fd;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) *at++ = digits[--count];
  *at = 0;
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
