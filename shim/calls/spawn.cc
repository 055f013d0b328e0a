// posix_spawn, system and popen: libc forks and executes inside, by calls that no hook sees.
// Reserved numbers survive that by themselves; paths of programs are replaced beforehand, and
// actions that lead into a mount are ours to do (spawn_plan.h).

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/kept_env.h"
#include "shim/calls/launch.h"
#include "shim/calls/spawn_plan.h"
#include "shim/core/process.h"
#include "shim/core/raw.h"

extern "C" char** environ;

namespace penstock {
namespace {

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

int PidfdByPlan(const SpawnPlan* plan, int* pidfd, const char* program, bool search,
                const posix_spawnattr_t* attributes, char* const* argv, char* const* envp) {
  pid_t pid;
  int err = SpawnByPlan(plan, &pid, program, search, attributes, argv, envp);
  if (err != 0) return err;
  const long fd = Raw(SYS_pidfd_open, pid, 0);
  if (fd < 0) return static_cast<int>(-fd);
  *pidfd = Fresh(static_cast<int>(fd));
  return 0;
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
  if (const SpawnPlan* plan = SpawnPlanOf(actions); PST_UNLIKELY(plan != nullptr))
    return SpawnByPlan(plan, pid, path, false, attributes, argv, envp);
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
  if (const SpawnPlan* plan = SpawnPlanOf(actions); PST_UNLIKELY(plan != nullptr))
    return SpawnByPlan(plan, pid, file, true, attributes, argv, envp);
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
  if (const SpawnPlan* plan = SpawnPlanOf(actions); PST_UNLIKELY(plan != nullptr))
    return PidfdByPlan(plan, pidfd, path, false, attributes, argv, envp);
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
  if (const SpawnPlan* plan = SpawnPlanOf(actions); PST_UNLIKELY(plan != nullptr))
    return PidfdByPlan(plan, pidfd, file, true, attributes, argv, envp);
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

// Every action is noted; the first that fails in libc is not.
#define PST_NOTE(call, ...)                   \
  if (int err = (call); err != 0) return err; \
  return SpawnNote(actions, __VA_ARGS__)

PST_EXPORT int posix_spawn_file_actions_init(posix_spawn_file_actions_t* actions) {
  SpawnForget(actions);  // memory of an object that was never destroyed
  return real.posix_spawn_file_actions_init(actions);
}

PST_EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t* actions) {
  SpawnForget(actions);
  return real.posix_spawn_file_actions_destroy(actions);
}

PST_EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t* actions, int fd,
                                                const char* path, int flags, mode_t mode) {
  PST_NOTE(real.posix_spawn_file_actions_addopen(actions, fd, path, flags, mode), SpawnStep::kOpen,
           fd, flags, path, mode);
}

PST_EXPORT int posix_spawn_file_actions_addclose(posix_spawn_file_actions_t* actions, int fd) {
  PST_NOTE(real.posix_spawn_file_actions_addclose(actions, fd), SpawnStep::kClose, fd, 0, nullptr,
           0);
}

PST_EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t* actions, int from,
                                                int to) {
  PST_NOTE(real.posix_spawn_file_actions_adddup2(actions, from, to), SpawnStep::kDup2, from, to,
           nullptr, 0);
}

PST_EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t* actions,
                                                    const char* path) {
  PST_NOTE(real.posix_spawn_file_actions_addchdir_np(actions, path), SpawnStep::kChdir, -1, 0, path,
           0);
}

PST_EXPORT int posix_spawn_file_actions_addfchdir_np(posix_spawn_file_actions_t* actions, int fd) {
  PST_NOTE(real.posix_spawn_file_actions_addfchdir_np(actions, fd), SpawnStep::kFchdir, fd, 0,
           nullptr, 0);
}

PST_EXPORT int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t* actions,
                                                        int first) {
  PST_NOTE(real.posix_spawn_file_actions_addclosefrom_np(actions, first), SpawnStep::kCloseFrom,
           first, 0, nullptr, 0);
}

PST_EXPORT int posix_spawn_file_actions_addtcsetpgrp_np(posix_spawn_file_actions_t* actions,
                                                        int fd) {
  PST_NOTE(real.posix_spawn_file_actions_addtcsetpgrp_np(actions, fd), SpawnStep::kForeground, fd,
           0, nullptr, 0);
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
