// The exec family. Reserved numbers describe themselves to the next program; what has to be done is
// to keep the environment, to make files real for programs that will not load us, and to execute
// what lies in a mount.

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/kept_env.h"
#include "shim/calls/launch.h"
#include "shim/core/process.h"
#include "shim/core/links.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"

extern "C" char** environ;

namespace penstock {
namespace {

int Execute(const char* path, char* const* argv, char* const* envp) {
  if (PST_LIKELY(!g_config.active)) return real.execve(path, argv, envp);
  PST_KEPT_ENVIRON(kept, envp);
  PstBeforeFork();
  int err = Launch(path, argv, kept, false,
                   [](const char* program, char* const* words, char* const* env) {
                     real.execve(program, words, env);
                     return errno;
                   });
  if (err == EACCES && (strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/dev/", 5) == 0)) {
    // By a number's link: the kernel looked at the reservation.
    Scratch scratch;
    char* resolved = scratch.Get();
    PathBuffer buffer;
    Route route;
    if (resolved != nullptr && realpath(path, resolved) != nullptr &&
        RouteOf(AT_FDCWD, resolved, &buffer, &route) == Cover::kMount)
      err = Launch(resolved, argv, kept, false,
                   [](const char* program, char* const* words, char* const* env) {
                     real.execve(program, words, env);
                     return errno;
                   });
  }
  if (err == ENOENT) {
    // A symbolic link outside may lead in.
    LinkedPath linked;
    Route route;
    if (PstRouteThroughLinks(AT_FDCWD, path, true, &linked, &route) && route.cover == Cover::kMount) {
      Scratch scratch;
      char* resolved = scratch.Get();
      if (resolved == nullptr) return PstFail(ENOMEM);
      PstFullPath(route.view, route.mount, route.rel, route.rel_len, resolved);
      err = Launch(resolved, argv, kept, false,
                   [](const char* program, char* const* words, char* const* env) {
                     real.execve(program, words, env);
                     return errno;
                   });
    }
  }
  return PstFail(err);
}

// A file that is neither ELF nor script is given to the shell, as execvp does.
int ExecuteByShell(const char* path, char* const* argv, char* const* envp) {
  size_t count = 0;
  while (argv[count] != nullptr) ++count;
  auto** words = static_cast<const char**>(__builtin_alloca((count + 3) * sizeof(char*)));
  words[0] = "/bin/sh";
  words[1] = path;
  for (size_t i = 1; i < count; ++i) words[i + 1] = argv[i];
  words[count > 0 ? count + 1 : 2] = nullptr;
  return Execute("/bin/sh", const_cast<char* const*>(words), envp);
}

int Search(const char* file, char* const* argv, char* const* envp) {
  if (*file == '\0') return PstFail(ENOENT);
  if (strchr(file, '/') != nullptr) {
    Execute(file, argv, envp);
    return errno == ENOEXEC ? ExecuteByShell(file, argv, envp) : -1;
  }
  const char* search = getenv("PATH");
  if (search == nullptr) search = "/bin:/usr/bin";
  size_t file_len = strlen(file);
  if (file_len > NAME_MAX) return PstFail(ENAMETOOLONG);
  bool denied = false;
  Scratch scratch;
  char* candidate = scratch.Get();
  static_assert(PST_PATH_MAX + NAME_MAX + 2 <= kScratchBytes);
  if (candidate == nullptr) return PstFail(ENOMEM);
  for (const char* at = search;; ++at) {
    size_t len = strcspn(at, ":");
    if (len < PST_PATH_MAX) {
      memcpy(candidate, at, len);
      char* end = candidate + len;
      if (len > 0) *end++ = '/';
      memcpy(end, file, file_len + 1);
      Execute(candidate, argv, envp);
      switch (errno) {
        case ENOEXEC:
          return ExecuteByShell(candidate, argv, envp);
        case EACCES:
          denied = true;
          break;
        case ENOENT:
        case ENOTDIR:
        case ESTALE:
        case ENODEV:
        case ETIMEDOUT:
          break;
        default:
          return -1;
      }
    }
    at += len;
    if (*at == '\0') break;
  }
  return PstFail(denied ? EACCES : ENOENT);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

// The variadic forms: their arguments as an array on the stack, `rest` at what follows the null.
#define PST_GATHER(words, first, rest)                                                      \
  va_list rest;                                                                             \
  va_start(rest, first);                                                                    \
  size_t gather_count = 1;                                                                  \
  for (const char* word = first; word != nullptr; ++gather_count)                           \
    word = va_arg(rest, const char*);                                                       \
  va_end(rest);                                                                             \
  auto** words = static_cast<char**>(__builtin_alloca((gather_count + 1) * sizeof(char*))); \
  va_start(rest, first);                                                                    \
  words[0] = const_cast<char*>(first);                                                      \
  for (size_t i = 0; words[i] != nullptr; ++i) words[i + 1] = va_arg(rest, char*)

PST_EXPORT int execve(const char* path, char* const* argv, char* const* envp) {
  return Execute(path, argv, envp);
}

PST_EXPORT int execv(const char* path, char* const* argv) { return Execute(path, argv, environ); }

PST_EXPORT int execvp(const char* file, char* const* argv) {
  return PST_LIKELY(!g_config.active) ? real.execvp(file, argv) : Search(file, argv, environ);
}

PST_EXPORT int execvpe(const char* file, char* const* argv, char* const* envp) {
  return PST_LIKELY(!g_config.active) ? real.execvpe(file, argv, envp) : Search(file, argv, envp);
}

PST_EXPORT int execl(const char* path, const char* first, ...) {
  PST_GATHER(words, first, rest);
  va_end(rest);
  return Execute(path, words, environ);
}

PST_EXPORT int execlp(const char* file, const char* first, ...) {
  PST_GATHER(words, first, rest);
  va_end(rest);
  return execvp(file, words);
}

PST_EXPORT int execle(const char* path, const char* first, ...) {
  PST_GATHER(words, first, rest);
  char* const* envp = va_arg(rest, char* const*);
  va_end(rest);
  return Execute(path, words, envp);
}

PST_EXPORT int execveat(int dirfd, const char* path, char* const* argv, char* const* envp,
                        int flags) {
  if (PST_LIKELY(!g_config.active)) return real.execveat(dirfd, path, argv, envp, flags);
  if (path != nullptr && *path == '\0' && (flags & AT_EMPTY_PATH) != 0)
    return fexecve(dirfd, argv, envp);
  PathBuffer buffer;
  Route route;
  Cover cover = RouteOf(dirfd, path, &buffer, &route);
  if (cover == Cover::kError) return PstFail(route.err);
  if (cover == Cover::kMount) {
    pst_attr attr;
    if (int err = PST_UNLIKELY(route.must_be_dir) ? PstLookup(route, &attr) : 0; err != 0)
      return PstFail(err);
    Scratch scratch;
    char* full = scratch.Get();
    if (full == nullptr) return PstFail(ENOMEM);
    PstFullPath(route.view, route.mount, route.rel, route.rel_len, full);
    return Execute(full, argv, envp);
  }
  PST_KEPT_ENVIRON(kept, envp);
  PstBeforeFork();
  TargetKind kind = InspectPath(dirfd, path);
  if (NeedsRealFiles(kind)) MakeOpenFilesReal(false);
  if (kind == TargetKind::kRaw && (flags & AT_SYMLINK_NOFOLLOW) == 0) {
    int file = static_cast<int>(Raw(SYS_openat, dirfd, path, O_PATH | O_CLOEXEC, 0));
    if (file >= 0) {
      PstFdForget(file);
      int err = LaunchRaw(file, path, argv, kept, [=](const char* program, char* const* words, char* const* env) {
        if (program == path) return real.execveat(dirfd, path, words, env, flags), errno;
        return real.execve(program, words, env), errno;
      });
      Raw(SYS_close, file);
      return PstFail(err);
    }
  }
  return real.execveat(dirfd, path, argv, kept, flags);
}

PST_EXPORT int fexecve(int fd, char* const* argv, char* const* envp) {
  if (PST_LIKELY(!g_config.active)) return real.fexecve(fd, argv, envp);
  FdEntry entry;
  if (IsCovered(PstFdKindOf(fd)) && PstFdSnapshot(fd, &entry)) {
    Scratch scratch;
    char* full = scratch.Get();
    if (full == nullptr) return PstFail(ENOMEM);
    char* rel = full + PST_PATH_MAX + PST_MOUNT_PATH_MAX;
    static_assert(2 * PST_PATH_MAX + PST_MOUNT_PATH_MAX <= kScratchBytes);
    int len = PstFdPathOrAsk(fd, entry, rel);
    const View* view = PstView();
    if (len < 0 || view == nullptr || entry.mount >= view->mount_count) return PstFail(EBADF);
    PstFullPath(view, entry.mount, rel, static_cast<uint32_t>(len), full);
    return Execute(full, argv, envp);
  }
  PST_KEPT_ENVIRON(kept, envp);
  PstBeforeFork();
  Target target;
  InspectFd(fd, &target);
  if (NeedsRealFiles(target.kind)) MakeOpenFilesReal(false);
  if (target.kind != TargetKind::kRaw) return real.fexecve(fd, argv, kept);
  long flags = Raw(SYS_fcntl, fd, F_GETFD);
  int err = LaunchRaw(fd, "", argv, kept, [=](const char* program, char* const* words, char* const* env) {
    if (*program == '\0') return real.fexecve(fd, words, env), errno;
    return real.execve(program, words, env), errno;
  });
  Raw(SYS_fcntl, fd, F_SETFD, flags);
  return PstFail(err);
}
