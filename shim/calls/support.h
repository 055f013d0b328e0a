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

// Opened with O_PATH: what reads or changes gives EBADF.
PST_COLD inline bool IsPathOnly(int fd) {
  FdEntry entry;
  return PstFdSnapshot(fd, &entry) && (entry.flags & O_PATH) != 0;
}

inline bool IsCoveredPathOnly(int fd) {
  const FdKind kind = PstFdKindOf(fd);
  return PST_UNLIKELY(kind == kFdFile || kind == kFdDirectory) && IsPathOnly(fd);
}

// Makes a covered number real, so that the kernel can do what the call wants. 0, or -1 with errno.
inline int MakeReal(int fd) {
  if (PST_LIKELY(PstFdKindOf(fd) != kFdFile)) return 0;
  int err = PstMaterialize(fd);
  return err == 0 ? 0 : PstFail(err);
}

// libc reads its stdin by calls inside libc that no hook sees: a covered file on number 0 is real.
inline int OnStandardInput(int fd) {
  if (PST_UNLIKELY(fd == 0) && PstFdKindOf(0) == kFdFile) (void)PstMaterialize(0);
  return fd;
}

// A number that the kernel gave out: nothing of ours is left on it.
inline int Fresh(int fd) {
  if (fd >= 0) PstFdForget(fd);
  return fd;
}

// Looked up by name: a reference would ask for glibc 2.32.
inline bool MayHaveThreads() {
  static const char* single_threaded;
  if (single_threaded == nullptr)
    single_threaded = static_cast<const char*>(FindNext("__libc_single_threaded"));
  return single_threaded == nullptr || *single_threaded == 0;
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
