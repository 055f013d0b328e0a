// posix_spawn, system and popen: libc forks and executes inside, by calls that no hook sees.
// Reserved numbers survive that by themselves; paths in actions and of programs are replaced
// beforehand.

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/kept_env.h"
#include "shim/calls/launch.h"
#include "shim/core/process.h"

extern "C" char** environ;

namespace penstock {
namespace {

// Descriptors that stand in for covered paths in file actions, until these are destroyed.
struct Held {
  const posix_spawn_file_actions_t* actions;
  int fd;
};
constexpr int kMaxHeld = 128;
Held g_held[kMaxHeld];

// Keeps `fd` (moved out of the way of the child's numbers) for as long as `actions`. Its number, or
// -errno.
int Hold(const posix_spawn_file_actions_t* actions, int fd) {
  int high = fcntl(fd, F_DUPFD_CLOEXEC, 256);
  int err = errno;
  close(fd);
  if (high < 0) return -err;
  for (Held& held : g_held) {
    const posix_spawn_file_actions_t* none = nullptr;
    if (!__atomic_compare_exchange_n(&held.actions, &none, actions, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
      continue;
    held.fd = high;
    return high;
  }
  close(high);
  return -ENOMEM;
}

void Release(const posix_spawn_file_actions_t* actions) {
  for (Held& held : g_held) {
    if (__atomic_load_n(&held.actions, __ATOMIC_ACQUIRE) != actions) continue;
    int fd = held.fd;
    __atomic_store_n(&held.actions, nullptr, __ATOMIC_RELEASE);
    close(fd);
  }
}

bool Leads(const char* path) {
  PathBuffer buffer;
  Route route;
  Cover cover = RouteOf(AT_FDCWD, path, &buffer, &route);
  return PST_UNLIKELY(cover == Cover::kMount || cover == Cover::kError);
}

// The candidate of a PATH search that libc would execute, into `to`, if that is covered or has to be
// supervised. False: libc's own search finds the right one.
bool SearchLeads(const char* file, char* to, size_t capacity) {
  const char* search = getenv("PATH");
  if (strchr(file, '/') != nullptr || search == nullptr) return false;
  KeepErrno keep;
  for (const char* at = search;; ++at) {
    size_t len = strcspn(at, ":");
    if (len + strlen(file) + 2 <= capacity) {
      memcpy(to, at, len);
      char* end = to + len;
      if (len > 0) *end++ = '/';
      strcpy(end, file);
      if (access(to, X_OK) == 0)
        return Leads(to) || (PstMustSupervise() && InspectPath(AT_FDCWD, to) == TargetKind::kRaw);
    }
    at += len;
    if (*at == '\0') return false;
  }
}

// With the program's `environ` completed for the time of a call that reads it inside libc.
template <class Call>
auto WithKeptEnviron(Call call) {
  PST_KEPT_ENVIRON(kept, environ);
  char** saved = environ;
  if (kept == saved) return call();
  environ = const_cast<char**>(kept);
  auto result = call();
  environ = saved;
  return result;
}

template <class Spawn>
int SpawnAround(const char* path, char* const* argv, char* const* envp, Spawn spawn) {
  PST_KEPT_ENVIRON(kept, envp);
  PstBeforeFork();
  KeepErrno keep;
  return Launch(path, argv, kept, true, spawn);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                           const posix_spawnattr_t* attributes, char* const* argv,
                           char* const* envp) {
  if (PST_LIKELY(!g_config.active))
    return real.posix_spawn(pid, path, actions, attributes, argv, envp);
  return SpawnAround(path, argv, envp,
                     [=](const char* program, char* const* words, char* const* env) {
                       return real.posix_spawn(pid, program, actions, attributes, words, env);
                     });
}

PST_EXPORT int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                            const posix_spawnattr_t* attributes, char* const* argv,
                            char* const* envp) {
  if (PST_LIKELY(!g_config.active))
    return real.posix_spawnp(pid, file, actions, attributes, argv, envp);
  Scratch scratch;
  char* path = scratch.Get();
  if (path != nullptr && SearchLeads(file, path, kScratchBytes))
    return posix_spawn(pid, path, actions, attributes, argv, envp);
  return SpawnAround(file, argv, envp,
                     [=](const char* program, char* const* words, char* const* env) {
                       return real.posix_spawnp(pid, program, actions, attributes, words, env);
                     });
}

PST_EXPORT int pidfd_spawn(int* pidfd, const char* path, const posix_spawn_file_actions_t* actions,
                           const posix_spawnattr_t* attributes, char* const* argv,
                           char* const* envp) {
  return SpawnAround(path, argv, envp,
                     [=](const char* program, char* const* words, char* const* env) {
                       int err = real.pidfd_spawn(pidfd, program, actions, attributes, words, env);
                       if (err == 0) Fresh(*pidfd);
                       return err;
                     });
}

PST_EXPORT int pidfd_spawnp(int* pidfd, const char* file, const posix_spawn_file_actions_t* actions,
                            const posix_spawnattr_t* attributes, char* const* argv,
                            char* const* envp) {
  Scratch scratch;
  char* path = scratch.Get();
  if (path != nullptr && SearchLeads(file, path, kScratchBytes))
    return pidfd_spawn(pidfd, path, actions, attributes, argv, envp);
  return SpawnAround(file, argv, envp,
                     [=](const char* program, char* const* words, char* const* env) {
                       int err = real.pidfd_spawnp(pidfd, program, actions, attributes, words, env);
                       if (err == 0) Fresh(*pidfd);
                       return err;
                     });
}

PST_EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t* actions, int fd,
                                                const char* path, int flags, mode_t mode) {
  if (!Leads(path)) return real.posix_spawn_file_actions_addopen(actions, fd, path, flags, mode);
  KeepErrno keep;
  int opened = open(path, flags | O_CLOEXEC, mode);
  if (opened < 0) {
    // The spawn has to fail, and not this call: an action that fails the same way.
    const char* nowhere = errno == EACCES ? "/proc/1/mem" : "/proc/self/fd/none";
    return real.posix_spawn_file_actions_addopen(actions, fd, nowhere, O_RDONLY, 0);
  }
  int held = Hold(actions, opened);
  return held < 0 ? -held : real.posix_spawn_file_actions_adddup2(actions, held, fd);
}

PST_EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t* actions,
                                                    const char* path) {
  if (!Leads(path)) return real.posix_spawn_file_actions_addchdir_np(actions, path);
  KeepErrno keep;
  int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return real.posix_spawn_file_actions_addchdir_np(actions, "/proc/self/fd/none");
  int held = Hold(actions, opened);
  return held < 0 ? -held : real.posix_spawn_file_actions_addfchdir_np(actions, held);
}

PST_EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t* actions) {
  Release(actions);
  return real.posix_spawn_file_actions_destroy(actions);
}

PST_EXPORT int system(const char* command) {
  if (PST_LIKELY(!g_config.active) || command == nullptr) return real.system(command);
  PstBeforeFork();
  return WithKeptEnviron([=] { return real.system(command); });
}

PST_EXPORT FILE* popen(const char* command, const char* mode) {
  if (PST_LIKELY(!g_config.active)) return real.popen(command, mode);
  PstBeforeFork();
  FILE* stream = WithKeptEnviron([=] { return real.popen(command, mode); });
  if (stream != nullptr) Fresh(fileno(stream));
  return stream;
}
