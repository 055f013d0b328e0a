#pragma once

// File actions that name covered paths. libc carries actions out in the child by calls inside libc
// that no hook sees, and only there is known what a name means: where an earlier action has led,
// what is open by then, what a link says. So each object's actions are noted as they are added, and
// a spawn whose actions may lead into a mount is made here: a child with memory of its own, whose
// parent waits as by vfork, does them through the hooks in libc's order (attributes, actions,
// signal mask, exec).
//
// Thread safety: as posix_spawn's own functions: one object is used by one thread at a time. errno
// is left alone.

#include <spawn.h>

namespace penstock {

struct SpawnPlan;

enum class SpawnStep : unsigned char {
  kOpen,
  kClose,
  kDup2,
  kChdir,
  kFchdir,
  kCloseFrom,
  kForeground
};

// Notes one more action of an object. `path` may be null. 0 or ENOMEM.
int SpawnNote(const posix_spawn_file_actions_t* actions, SpawnStep step, int fd, int other,
              const char* path, unsigned mode);

// The object begins anew, or is gone.
void SpawnForget(const posix_spawn_file_actions_t* actions);

// The actions, if one of them may lead to covered files; else null: libc's spawn does them.
const SpawnPlan* SpawnPlanOf(const posix_spawn_file_actions_t* actions);

// The spawn; `search`: the program is looked for in PATH. 0 and *pid, or a positive errno.
int SpawnByPlan(const SpawnPlan* plan, pid_t* pid, const char* program, bool search,
                const posix_spawnattr_t* attributes, char* const* argv, char* const* envp);

}  // namespace penstock
