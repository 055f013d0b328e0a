#pragma once

// Small things that several families of hooks use.
//
// Thread safety: any thread, signal handlers. No allocation.

#include <errno.h>
#include <fcntl.h>

#include "shim/core/config.h"
#include "shim/core/fd_table.h"
#include "shim/core/hook.h"
#include "shim/core/materialize.h"
#include "shim/core/names.h"
#include "shim/core/path.h"
#include "shim/hooks/hook.h"
#include "shim/hooks/real.h"

namespace penstock {

// Routes a path argument; quick for the usual "not ours".
inline Cover RouteOf(int dirfd, const char* path, PathBuffer* buffer, Route* route) {
  route->full = nullptr;
  if (PST_LIKELY(!PstMayCover(dirfd, path))) return Cover::kNone;
  return PstRoute(dirfd, path, buffer, route);
}

// Is this number an open file or directory of a mount, in whatever form?
inline bool IsCovered(FdKind kind) {
  return kind == kFdFile || kind == kFdDirectory || kind == kFdMaterialized;
}

// Makes a covered number real, so that the kernel can do what the call wants. 0, or -1 with errno.
inline int MakeReal(int fd) {
  if (PST_LIKELY(PstFdKindOf(fd) != kFdFile)) return 0;
  int err = PstMaterialize(fd);
  return err == 0 ? 0 : PstFail(err);
}

// A number that the kernel gave out: nothing of ours is left on it.
inline int Fresh(int fd) {
  if (fd >= 0) PstFdForget(fd);
  return fd;
}

// errno as it was, at the end of the scope.
class KeepErrno {
 public:
  KeepErrno() : saved_(errno) {}
  ~KeepErrno() { errno = saved_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

  // Another value than what it was.
  void Set(int err) { saved_ = err; }

 private:
  int saved_;
};

}  // namespace penstock
