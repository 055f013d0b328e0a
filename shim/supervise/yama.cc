#include "shim/supervise/yama.h"

#include <fcntl.h>
#include <string.h>

#include "shim/core/raw.h"

namespace penstock {
namespace {

constexpr unsigned kCapSysPtrace = 19;

// The beginning of a file, NUL-terminated; empty if it cannot be read.
void ReadFile(const char* path, char* to, size_t room) {
  long fd = Raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  long n = fd < 0 ? 0 : Raw(SYS_read, fd, to, room - 1);
  if (fd >= 0) Raw(SYS_close, fd);
  to[n > 0 ? n : 0] = '\0';
}

bool MayTraceAll() {
  char status[4096];
  ReadFile("/proc/self/status", status, sizeof status);
  const char* at = strstr(status, "\nCapEff:\t");
  unsigned long rights = 0;
  for (at = at != nullptr ? at + 9 : ""; *at != '\0' && *at != '\n'; ++at)
    rights = rights * 16 + static_cast<unsigned long>(*at <= '9' ? *at - '0' : *at - 'a' + 10);
  return (rights >> kCapSysPtrace & 1) != 0;
}

}  // namespace

bool PstYamaRestricts() {
  char scope[8];
  ReadFile("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof scope);
  return scope[0] == '1' && !MayTraceAll();
}

}  // namespace penstock
