// dlopen. The loader looks at its caller's address for search paths and name spaces, so what is not
// covered must leave by a jump that keeps the return address: a tail call, at every optimisation
// level.

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/launch.h"
#include "shim/calls/support.h"
#include "shim/calls/uring.h"

namespace penstock {
namespace {

// A name for /proc/self/fd/N that no earlier library was loaded by: the loader compares names
// before files. The kernel ignores the extra slashes and dots, which count in binary.
void UniqueProcPath(int fd, char* to) {
  static uint32_t counter;
  uint32_t count = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
  char plain[32];
  ProcFdPath(fd, plain);
  to = stpcpy(to, "/proc/self/fd");
  for (; count != 0; count >>= 1) to = stpcpy(to, (count & 1) != 0 ? "/." : "/./.");
  strcpy(to, plain + strlen("/proc/self/fd"));
}

// Does the path lead to a covered file, directly or through a link outside?
bool LeadsIn(const char* path) {
  PathBuffer buffer;
  Route route;
  if (RouteOf(AT_FDCWD, path, &buffer, &route) == Cover::kMount) return true;
  KeepErrno keep;
  char resolved[PST_PATH_MAX];
  return real.access(path, F_OK) != 0 && realpath(path, resolved) != nullptr &&
         RouteOf(AT_FDCWD, resolved, &buffer, &route) == Cover::kMount;
}

PST_COLD void* OpenCoveredLibrary(const char* path, int flags) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || MakeReal(fd) != 0) {
    if (fd >= 0) close(fd);
    return real.dlopen(path, flags);  // fails, and leaves the message that the program asks for
  }
  char name[256];
  UniqueProcPath(fd, name);
  void* library = real.dlopen(name, flags);
  close(fd);
  return library;
}

PST_COLD bool IsCoveredLibrary(const char* path) {
  return path != nullptr && strchr(path, '/') != nullptr && LeadsIn(path);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT __attribute__((optimize("O2", "omit-frame-pointer"))) void* dlopen(const char* path,
                                                                              int flags) {
  if (PST_UNLIKELY(g_config.active)) {
    // A library loaded with DEEPBIND would find libc's names before ours.
    flags &= ~RTLD_DEEPBIND;
    if (path != nullptr && strstr(path, "liburing.so") != nullptr) UringStart();
    if (IsCoveredLibrary(path)) return OpenCoveredLibrary(path, flags);
  }
  return real.dlopen(path, flags);
}
