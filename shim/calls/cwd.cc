// The working directory. Inside a mount it is a real, empty shadow directory, so that the kernel
// keeps it across fork, exec and spawn; what the program is told is the name it knows.

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/raw.h"

namespace penstock {
namespace {

// Steps into a directory of a mount. 0 or -1 with errno.
int EnterRoute(const Route& route) {
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err != 0) return PstFail(err);
  if (attr.kind != PST_KIND_DIRECTORY) return PstFail(ENOTDIR);
  Ask ask;
  ask.op = PST_OP_DIRECTORY;
  ask.ns = route.view->mounts[route.mount].ns;
  ask.id = route.id;
  ask.path = route.rel;
  ask.path_len = route.rel_len;
  Answer answer;
  int fd = PstAskFd(ask, &answer);
  if (fd < 0) return PstFail(-fd);
  long result = Raw(SYS_fchdir, fd);
  Raw(SYS_close, fd);
  if (result < 0) return PstFail(static_cast<int>(-result));
  PstCwdSet(true, route.mount, route.rel, route.rel_len);
  return 0;
}

// A symbolic link outside may lead in: the kernel found nothing there, so walk it ourselves.
int EnterThroughLinks(const char* path) {
  char resolved[PST_PATH_MAX];
  int err = errno;
  PathBuffer buffer;
  Route route;
  if (!g_config.active || realpath(path, resolved) == nullptr ||
      RouteOf(AT_FDCWD, resolved, &buffer, &route) != Cover::kMount)
    return PstFail(err);
  return EnterRoute(route);
}

// How many more bytes than `len` a getcwd buffer must have is for the caller to say; this copies.
char* Give(const char* text, size_t len, char* buffer, size_t bytes) {
  if (buffer == nullptr) {
    if (bytes == 0) bytes = len + 1;
    if (bytes <= len) {
      PstFail(ERANGE);
      return nullptr;
    }
    buffer = static_cast<char*>(malloc(bytes));
    if (buffer == nullptr) return nullptr;
  } else if (bytes == 0) {
    PstFail(EINVAL);
    return nullptr;
  } else if (bytes <= len) {
    PstFail(ERANGE);
    return nullptr;
  }
  memcpy(buffer, text, len + 1);
  return buffer;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int chdir(const char* path) {
  PathBuffer buffer;
  Route route;
  switch (RouteOf(AT_FDCWD, path, &buffer, &route)) {
    case Cover::kMount:
      return EnterRoute(route);
    case Cover::kError:
      return PstFail(route.err);
    default:
      break;
  }
  // ".." out of a mount: the kernel stands in the shadow directory, so it gets the whole name.
  if (PST_UNLIKELY(route.full != nullptr)) path = route.full;
  if (real.chdir(path) == 0) {
    if (PST_UNLIKELY(g_config.active)) PstCwdSet(false, 0, nullptr, 0);
    return 0;
  }
  return errno == ENOENT ? EnterThroughLinks(path) : -1;
}

PST_EXPORT int fchdir(int fd) {
  FdEntry entry;
  char path[kFdPathBytes];
  int path_len = -1;
  FdKind kind = PstFdKindOf(fd);
  if (PST_UNLIKELY(kind == kFdFile || kind == kFdMaterialized)) return PstFail(ENOTDIR);
  if (PST_UNLIKELY(kind == kFdDirectory) && PstFdSnapshot(fd, &entry))
    path_len = PstFdPath(fd, entry, path);
  int result = real.fchdir(fd);
  if (result != 0 || PST_LIKELY(!g_config.active)) return result;
  if (path_len >= 0) {
    PstCwdSet(true, entry.mount, path, static_cast<uint32_t>(path_len));
  } else {
    PstCwdSet(false, 0, nullptr, 0);
  }
  return 0;
}

PST_EXPORT char* getcwd(char* buffer, size_t bytes) {
  if (PST_LIKELY(!g_config.active || !g_cwd_matters)) return real.getcwd(buffer, bytes);
  char text[PST_PATH_MAX];
  int len = PstCwdGet(text);
  if (len < 0) {
    PstFail(-len);
    return nullptr;
  }
  return Give(text, static_cast<size_t>(len), buffer, bytes);
}

PST_EXPORT char* getwd(char* buffer) {
  if (PST_LIKELY(!g_config.active || !g_cwd_matters)) return real.getwd(buffer);
  return getcwd(buffer, PATH_MAX);
}

PST_EXPORT char* get_current_dir_name(void) {
  if (PST_LIKELY(!g_config.active || !g_cwd_matters)) return real.get_current_dir_name();
  return getcwd(nullptr, 0);
}
