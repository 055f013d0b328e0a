// The working directory. Inside a mount it is a real, empty shadow directory, so that the kernel
// keeps it across fork, exec and spawn; what the program is told is the name it knows.

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/links.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"

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
  PstCwdSet(route.mount, route.rel, route.rel_len);
  return 0;
}

// A directory above a mount that is not on disk: the kernel stands in one of the sidecar's.
int EnterAncestor(const char* full) {
  int fd = PstAncestorFd(full);
  if (fd < 0) return PstFail(-fd);
  long result = Raw(SYS_fchdir, fd);
  Raw(SYS_close, fd);
  if (result < 0) return PstFail(static_cast<int>(-result));
  PstCwdSetPath(full, static_cast<uint32_t>(strlen(full)));
  return 0;
}

// The kernel found nothing there: a symbolic link outside may lead in.
PST_COLD int EnterThroughLinks(const char* path) {
  int err = errno;
  LinkedPath linked;
  Route route;
  if (!PstRouteThroughLinks(AT_FDCWD, path, true, &linked, &route)) return PstFail(err);
  if (route.cover == Cover::kAncestor) return EnterAncestor(route.full);
  if (route.cover == Cover::kError) return PstFail(route.err);
  return route.cover == Cover::kMount ? EnterRoute(route) : PstFail(err);
}

// fchdir to a covered directory.
PST_COLD int EnterNumber(int fd) {
  FdEntry entry;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return PstFail(ENOMEM);
  int len = PstFdSnapshot(fd, &entry) ? PstFdPath(fd, entry, path) : -1;
  int result = real.fchdir(fd);
  if (result != 0) return result;
  if (len >= 0) {
    PstCwdSet(entry.mount, path, static_cast<uint32_t>(len));
  } else {
    PstCwdUnknown();
  }
  return 0;
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
    if (PST_UNLIKELY(g_config.active)) PstCwdUnknown();
    return 0;
  }
  if (errno != ENOENT || PST_LIKELY(!g_config.active)) return -1;
  return route.cover == Cover::kAncestor ? EnterAncestor(route.full) : EnterThroughLinks(path);
}

PST_EXPORT int fchdir(int fd) {
  FdKind kind = PstFdKindOf(fd);
  if (PST_UNLIKELY(kind == kFdFile || kind == kFdMaterialized)) return PstFail(ENOTDIR);
  if (PST_UNLIKELY(kind == kFdDirectory)) return EnterNumber(fd);
  int result = real.fchdir(fd);
  if (result == 0 && PST_UNLIKELY(g_config.active)) PstCwdUnknown();
  return result;
}

PST_EXPORT char* getcwd(char* buffer, size_t bytes) {
  if (PST_LIKELY(!g_config.active || !g_cwd_matters)) return real.getcwd(buffer, bytes);
  Scratch scratch;
  char* text = scratch.Get();
  int len = text != nullptr ? PstCwdGet(text) : -ENOMEM;
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
