#pragma once

// Starting a program: what exec and spawn share.
//
// Thread safety: any thread, signal handlers. No allocation.

#include <stdint.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/outside.h"
#include "shim/supervise/start.h"

namespace penstock {

// What would run if a file were executed.
enum class TargetKind : uint8_t {
  kUnknown,  // cannot be read, or neither ELF nor script: the kernel will say
  kDynamic,  // its loader will load us
  kDeaf,     // set-id, with file capabilities, of another architecture: it will not, and its files must be real
  kRaw,      // static or Go: makes its system calls itself, is supervised, and its files must be real
  kScript,   // "#!": see interpreter
};

struct Target {
  TargetKind kind = TargetKind::kUnknown;
  char interpreter[256] = {};  // of a script
  char argument[256] = {};     // its optional argument
};

// Looks at an open file by its number, real or covered.
void InspectFd(int fd, Target* out);
// Looks at a path outside of mounts; a script's kind is its interpreter's.
TargetKind InspectPath(int dirfd, const char* path);

// Makes open covered files real: those that stay open over exec, or with `all` every one (a spawn's
// actions may duplicate any). Errors leave the number as it is.
void MakeOpenFilesReal(bool all);

// Opens a covered program for execution: a number (CLOEXEC) whose file is executable by
// /proc/self/fd/N, or a script's interpreter in *target. -errno on failure.
int OpenProgram(const Route& route, Target* target);

inline bool NeedsRealFiles(TargetKind kind) { return kind == TargetKind::kDeaf || kind == TargetKind::kRaw; }

// May the file be executed, as far as its mode tells? Where not, the kernel says why.
bool Executable(int dirfd, const char* path);

constexpr int kMaxScriptDepth = 4;  // as the kernel's limit for interpreters of interpreters

// Runs a program that makes its own system calls under supervision. `fd` is its file, or -1 for `path`.
template <class Run>
int LaunchRaw(int fd, const char* path, char* const* argv, char* const* envp, Run run) {
  if (!PstMustSupervise()) return run(path, argv, envp);
  StartNeed need = PstStartNeed(argv, envp);
  auto** words = static_cast<const char**>(__builtin_alloca(need.words * sizeof(char*)));
  auto** env = static_cast<const char**>(__builtin_alloca(need.env * sizeof(char*)));
  auto* text = static_cast<char*>(__builtin_alloca(need.bytes));
  const char* loader = PstStartCommand(fd, path, argv, envp, words, env, text);
  if (loader == nullptr) return run(path, argv, envp);
  // It has to get through one exec more than it was made for.
  bool kept = fd >= 0 && fcntl(fd, F_SETFD, 0) == 0;
  int err = run(loader, const_cast<char* const*>(words), const_cast<char* const*>(env));
  if (kept) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return err;
}

// Runs `path` with a completed environment through `run(path, argv, envp)`, which returns a
// positive errno or 0. Covered programs are replaced by something the kernel can execute. Returns
// what `run` returned or the errno of what came before.
template <class Run>
int Launch(const char* path, char* const* argv, char* const* envp, bool all_fds, Run run,
           int depth = 0) {
  PathBuffer buffer;
  Route route;
  Cover cover = RouteOf(AT_FDCWD, path, &buffer, &route);
  if (cover == Cover::kError) return route.err;
  if (PST_LIKELY(cover != Cover::kMount)) {
    TargetKind kind = InspectPath(AT_FDCWD, path);
    if (NeedsRealFiles(kind)) MakeOpenFilesReal(all_fds);
    if (kind == TargetKind::kRaw && Executable(AT_FDCWD, path)) return LaunchRaw(-1, path, argv, envp, run);
    return run(path, argv, envp);
  }
  Target target;
  int fd = OpenProgram(route, &target);
  if (fd < 0) return -fd;
  int result;
  if (target.kind == TargetKind::kScript) {
    if (depth >= kMaxScriptDepth) return ELOOP;
    size_t count = 0;
    while (argv != nullptr && argv[count] != nullptr) ++count;
    auto** words = static_cast<const char**>(__builtin_alloca((count + 4) * sizeof(char*)));
    size_t at = 0;
    words[at++] = target.interpreter;
    if (target.argument[0] != '\0') words[at++] = target.argument;
    words[at++] = path;  // as the program wrote it: a script's $0
    for (size_t i = 1; i < count; ++i) words[at++] = argv[i];
    words[at] = nullptr;
    result =
        Launch(target.interpreter, const_cast<char* const*>(words), envp, all_fds, run, depth + 1);
  } else {
    char proc[32];
    ProcFdPath(fd, proc);
    if (NeedsRealFiles(target.kind)) MakeOpenFilesReal(all_fds);
    result = target.kind == TargetKind::kRaw ? LaunchRaw(fd, proc, argv, envp, run) : run(proc, argv, envp);
    close(fd);
  }
  return result;
}

}  // namespace penstock
