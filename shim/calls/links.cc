// Symbolic links and resolved names. Mounts hold no links, but links outside may lead in, and the
// kernel's links of open files (/proc/self/fd/N, /proc/self/cwd) show how a covered one is kept.

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/client.h"
#include "shim/core/job_path.h"
#include "shim/core/links.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/slots.h"

namespace penstock {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel

// "123" at `text`, up to a '/' or the end: the number, and where it ends. -1 if it is none.
int Number(const char* text, const char** end) {
  int64_t value = PstDecimal(text, end);
  return value >= 0 && (**end == '\0' || **end == '/') ? static_cast<int>(value) : -1;
}

const char* After(const char* text, const char* prefix) {
  size_t len = strlen(prefix);
  return strncmp(text, prefix, len) == 0 ? text + len : nullptr;
}

enum class ProcLink : uint8_t { kNone, kOwnFd, kOwnCwd, kOther };

// What of /proc a path names: a descriptor or the working directory of this process, something of
// that kind of another one, or nothing of interest.
ProcLink ParseProc(const char* path, int* fd) {
  const char* end;
  const char* rest = After(path, "/dev/fd/");
  bool own = rest != nullptr;
  if (!own) {
    rest = After(path, "/proc/");
    if (rest == nullptr) return ProcLink::kNone;
    const char* tail = nullptr;
    if ((tail = After(rest, "self/")) != nullptr ||
        (tail = After(rest, "thread-self/")) != nullptr) {
      own = true;
      rest = tail;
    } else {
      int pid = Number(rest, &end);
      if (pid < 0 || *end != '/') return ProcLink::kNone;
      own = pid == getpid();
      rest = end + 1;
    }
    if ((tail = After(rest, "task/")) != nullptr && Number(tail, &end) >= 0 && *end == '/')
      rest = end + 1;
    if (strcmp(rest, "cwd") == 0) return own ? ProcLink::kOwnCwd : ProcLink::kOther;
    rest = After(rest, "fd/");
    if (rest == nullptr) return ProcLink::kNone;
  }
  *fd = Number(rest, &end);
  if (*fd < 0 || *end != '\0') return ProcLink::kNone;
  return own ? ProcLink::kOwnFd : ProcLink::kOther;
}

int StandardNumber(const char* path) {
  constexpr const char* kNames[] = {"in", "out", "err"};
  const char* rest = After(path, "/dev/std");
  for (int fd = 0; rest != nullptr && fd < 3; ++fd) {
    if (strcmp(rest, kNames[fd]) == 0) return fd;
  }
  return -1;
}

// The name a program knows for one of its numbers. Its length, or -1 if it is not ours.
int NameOfFd(int fd, char* to) {
  FdEntry entry;
  if (!IsCovered(PstFdKindOf(fd)) || !PstFdSnapshot(fd, &entry)) return -1;
  Scratch scratch;
  char* path = scratch.Get();
  int len = path != nullptr ? PstFdPathOrAsk(fd, entry, path) : -1;
  const View* view = PstView();
  if (len < 0 || view == nullptr || entry.mount >= view->mount_count) return -1;
  return static_cast<int>(PstFullPath(view, entry.mount, path, static_cast<uint32_t>(len), to));
}

// The name of an open-file slot, asked from the sidecar. Its length, or -1.
int NameOfSlot(uint32_t number, char* to) {
  int err = 0;
  const View* view = PstJoinedView(&err);
  pst_slot* slot = view == nullptr ? nullptr : PstSlotOf(view, number);
  if (slot == nullptr) return -1;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return -1;
  Ask ask;
  ask.op = PST_OP_NAME;
  ask.ns = slot->ns;
  ask.id = slot->id;
  ask.reply = path;
  ask.reply_capacity = PST_PATH_MAX;
  Answer answer;
  if (PstAsk(ask, &answer) != 0 || answer.path_len >= PST_PATH_MAX) return -1;
  for (uint32_t i = 0; i < view->mount_count; ++i) {
    if (view->mounts[i].ns == slot->ns)
      return static_cast<int>(PstFullPath(view, i, path, answer.path_len, to));
  }
  return -1;
}

// Turns the kernel's text (NUL-terminated) for the link `path` of another process into the
// program's name. Its length, or -1 to leave it as it is.
int Translate(const char* path, const char* text, char* to) {
  const JobPath known = PstParseJobPath(text);
  struct stat have;
  if (known.kind == JobPathKind::kNone || Raw(SYS_newfstatat, AT_FDCWD, path, &have, 0) != 0 ||
      !PstIsOwnJobPath(have, known)) {
    return -1;
  }
  if (known.kind == JobPathKind::kFile) return NameOfSlot(known.number, to);
  int err = 0;
  const View* view = known.kind == JobPathKind::kDirectory ? PstJoinedView(&err) : nullptr;
  return view != nullptr ? PstShadowedPath(view, known, to) : -1;
}

ssize_t Cut(const char* text, int len, char* buffer, size_t bytes) {
  size_t n = static_cast<size_t>(len) < bytes ? static_cast<size_t>(len) : bytes;
  memcpy(buffer, text, n);
  return static_cast<ssize_t>(n);
}

// readlink of something under /proc or /dev/fd. -2: not one of ours, ask the kernel.
PST_COLD ssize_t ReadProcLink(const char* path, char* buffer, size_t bytes) {
  int fd = -1;
  ProcLink link = ParseProc(path, &fd);
  if (link == ProcLink::kNone) return -2;
  Scratch scratch;
  char* name = scratch.Get();
  if (name == nullptr) return -2;
  int len = -1;
  if (link == ProcLink::kOwnFd) {
    len = NameOfFd(fd, name);
  } else if (link == ProcLink::kOwnCwd && g_cwd_matters) {
    len = PstCwdGet(name);
  } else if (link == ProcLink::kOther) {
    static_assert(2 * PST_PATH_MAX + PST_MOUNT_PATH_MAX <= kScratchBytes);
    char* text = name + PST_PATH_MAX + PST_MOUNT_PATH_MAX;
    long n = Raw(SYS_readlinkat, AT_FDCWD, path, text, PST_PATH_MAX - 1);
    if (n > 0) {
      text[n] = '\0';
      len = Translate(path, text, name);
    }
  }
  return len < 0 ? -2 : Cut(name, len, buffer, bytes);
}

ssize_t ReadLink(int dirfd, const char* path, char* buffer, size_t bytes, bool* ours) {
  PathBuffer paths;
  Route route;
  pst_attr attr;
  *ours = true;
  if (PST_LIKELY(!g_config.active) || path == nullptr) {
    *ours = false;
    return 0;
  }
  switch (RouteOf(dirfd, path, &paths, &route)) {
    case Cover::kMount: {
      int err = PstLookup(route, &attr);
      return PstFail(err != 0 ? err : EINVAL);  // there are no links in a mount
    }
    case Cover::kError:
      return PstFail(route.err);
    case Cover::kAncestor: {
      struct stat st;
      KeepErrno keep;
      if (real.lstat(route.full, &st) != 0) {
        keep.Set(EINVAL);
        return -1;
      }
      break;
    }
    case Cover::kNone:
      break;
  }
  if (path[0] == '/' && (path[1] == 'p' || path[1] == 'd') && bytes > 0) {
    ssize_t n = ReadProcLink(path, buffer, bytes);
    if (n >= 0) return n;
  }
  *ours = false;
  return 0;
}

// The kernel found nothing: perhaps what stands there is in a mount, where nothing is a link.
PST_COLD ssize_t NoLinkThere(int dirfd, const char* path) {
  KeepErrno keep;
  LinkedPath linked;
  Route route;
  pst_attr attr;
  if (PstRouteThroughLinks(dirfd, path, false, &linked, &route) && route.cover == Cover::kMount) {
    const int err = PstLookup(route, &attr);
    keep.Set(err != 0 ? err : EINVAL);
  }
  return -1;
}

PST_INLINE ssize_t Settle(ssize_t kernel, int dirfd, const char* path) {
  return PST_LIKELY(kernel >= 0 || errno != ENOENT || !g_config.active) ? kernel
                                                                        : NoLinkThere(dirfd, path);
}

// ---- realpath ----

// What a resolved prefix is: 0 not a link, > 0 the link's length in `target`, < 0 -errno.
int Examine(const char* path, char* target, bool* directory) {
  PathBuffer buffer;
  Route route;
  pst_attr attr;
  *directory = true;  // "not known to be a file": the next component's look-up decides
  switch (RouteOf(AT_FDCWD, path, &buffer, &route)) {
    case Cover::kMount: {
      int err = PstLookup(route, &attr);
      if (err != 0) return -err;
      *directory = attr.kind == PST_KIND_DIRECTORY;
      return 0;
    }
    case Cover::kError:
      return -route.err;
    default:
      break;
  }
  bool ours = false;
  KeepErrno keep;
  ssize_t n = ReadLink(AT_FDCWD, path, target, PST_PATH_MAX - 1, &ours);
  if (!ours) n = real.readlink(path, target, PST_PATH_MAX - 1);
  if (n >= 0) {
    target[n] = '\0';
    return static_cast<int>(n);
  }
  if (errno != ENOENT) return errno == EINVAL ? 0 : -errno;
  // Perhaps the disk's name of a folder above a mount (core/links.h).
  LinkedPath linked;
  if (!PstRouteThroughLinks(AT_FDCWD, path, false, &linked, &route) || route.cover != Cover::kMount)
    return -ENOENT;
  int err = PstLookup(route, &attr);
  *directory = err != 0 || attr.kind == PST_KIND_DIRECTORY;
  return -err;
}

// Before ".", ".." and a closing slash: what is resolved so far has to be a directory.
bool IsDirectory(const char* path, size_t len) {
  struct stat st;
  KeepErrno keep;
  return len == 0 || stat(path, &st) != 0 || S_ISDIR(st.st_mode);
}

// Resolves `path` component by component into `out` (PST_PATH_MAX bytes). 0 or a positive errno.
int Resolve(const char* path, char* out) {
  static_assert(3 * PST_PATH_MAX <= kScratchBytes);
  Scratch scratch;
  char* rest = scratch.Get();
  if (rest == nullptr) return ENOMEM;
  char* target = rest + 2 * PST_PATH_MAX;
  size_t out_len = 0;
  int links = 0;
  bool directory = true;
  out[0] = '\0';
  if (*path == '\0') return ENOENT;
  if (strlen(path) >= PST_PATH_MAX) return ENAMETOOLONG;
  if (*path != '/') {
    if (getcwd(out, PST_PATH_MAX) == nullptr) return errno;
    out_len = strlen(out);
    if (out_len == 1) out_len = 0;
  }
  strcpy(rest, path);
  char* next = rest;
  while (*next != '\0') {
    while (*next == '/') ++next;
    size_t len = strcspn(next, "/");
    if (len == 0) break;
    if (!directory) return ENOTDIR;
    bool dots = (len == 1 && next[0] == '.') || (len == 2 && next[0] == '.' && next[1] == '.');
    if (dots && !IsDirectory(out, out_len)) return ENOTDIR;
    if (len == 1 && next[0] == '.') {
      next += len;
      continue;
    }
    if (len == 2 && next[0] == '.' && next[1] == '.') {
      while (out_len > 0 && out[out_len - 1] != '/') --out_len;
      if (out_len > 0) --out_len;
      out[out_len] = '\0';
      next += len;
      continue;
    }
    if (out_len + len + 2 > PST_PATH_MAX) return ENAMETOOLONG;
    out[out_len] = '/';
    memcpy(out + out_len + 1, next, len);
    out[out_len + 1 + len] = '\0';
    next += len;
    int found = Examine(out, target, &directory);
    if (found < 0) return -found;
    if (found == 0) {
      out_len += 1 + len;
      if (!directory && *next == '/') return ENOTDIR;
      continue;
    }
    if (++links > kMaxLinks) return ELOOP;
    size_t rest_len = strlen(next);
    if (static_cast<size_t>(found) + rest_len + 1 >= PST_PATH_MAX) return ENAMETOOLONG;
    memmove(rest + found, next, rest_len + 1);
    memcpy(rest, target, static_cast<size_t>(found));
    next = rest;
    if (target[0] == '/') out_len = 0;
    out[out_len] = '\0';
  }
  if (path[strlen(path) - 1] == '/' && !IsDirectory(out, out_len)) return ENOTDIR;
  if (out_len == 0) out[out_len++] = '/';
  out[out_len] = '\0';
  return 0;
}

}  // namespace

int PstNumberNamed(const char* path) {
  int fd = StandardNumber(path);
  return fd >= 0 || ParseProc(path, &fd) == ProcLink::kOwnFd ? fd : -1;
}

}  // namespace penstock

using namespace penstock;

PST_EXPORT ssize_t readlink(const char* path, char* buffer, size_t bytes) {
  if (PST_UNLIKELY(bytes == 0)) return PstFail(EINVAL);
  bool ours;
  ssize_t n = ReadLink(AT_FDCWD, path, buffer, bytes, &ours);
  return ours ? n : Settle(real.readlink(path, buffer, bytes), AT_FDCWD, path);
}

PST_EXPORT ssize_t readlinkat(int dirfd, const char* path, char* buffer, size_t bytes) {
  if (PST_UNLIKELY(bytes == 0)) return PstFail(EINVAL);
  bool ours;
  ssize_t n = ReadLink(dirfd, path, buffer, bytes, &ours);
  return ours ? n : Settle(real.readlinkat(dirfd, path, buffer, bytes), dirfd, path);
}

PST_EXPORT char* realpath(const char* path, char* resolved) {
  if (PST_LIKELY(!g_config.active) || path == nullptr) return real.realpath(path, resolved);
  Scratch scratch;
  char* out = scratch.Get();
  int err = out != nullptr ? Resolve(path, out) : ENOMEM;
  if (err != 0) {
    PstFail(err);
    return nullptr;
  }
  size_t bytes = strlen(out) + 1;
  if (resolved == nullptr) resolved = static_cast<char*>(malloc(bytes));
  return resolved == nullptr ? nullptr : static_cast<char*>(memcpy(resolved, out, bytes));
}

PST_EXPORT char* canonicalize_file_name(const char* path) {
  if (PST_LIKELY(!g_config.active)) return real.canonicalize_file_name(path);
  return realpath(path, nullptr);
}
