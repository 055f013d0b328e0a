// execve and execveat of what lies in a mount.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/launch.h"
#include "shim/core/raw.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/inject.h"

namespace penstock {
namespace {

constexpr int kMaxWords = 32 * 1024;  // of a script's command line

// Executes program `fd` of ours in the caller's place, with its own arguments.
Outcome ExecuteFile(const Call& call, int fd, uint64_t empty, uint64_t argv, uint64_t envp) {
  int number = PstGiveFd(call, fd, true, false);
  if (number < 0) return Value(number);
  Injection injection(call);
  if (!injection.Begin()) return Value(-EACCES);
  long result = injection.Do(SYS_execveat, number, static_cast<long>(empty),
                             static_cast<long>(argv), static_cast<long>(envp), AT_EMPTY_PATH);
  if (result == 0) {
    injection.EndExecuted();
  } else {
    injection.Do(SYS_close, number);
    injection.End(result);
  }
  return kGivenAlready;
}

// What is written below the caller's stack for a script: texts, and behind them the words that
// point to them. None of it outlives the exec; after one that failed it is free stack again.
struct Layout {
  char* room;
  size_t capacity;
  size_t used = 0;

  // Offset of a copy, or -1.
  long Put(const void* data, size_t bytes) {
    if (bytes > capacity - used) return -1;
    memcpy(room + used, data, bytes);
    long at = static_cast<long>(used);
    used = (used + bytes + 7) & ~size_t{7};
    return used > capacity ? -1 : at;
  }
};

long ExecuteScript(const Call& call, Injection* injection, const char* path, const Target& target,
                   uint64_t argv, uint64_t envp) {
  Scratch scratch;
  char* room = scratch.Get();
  if (room == nullptr) return -ENOMEM;
  Layout texts = {room, kScratchBytes};
  long interpreter = texts.Put(target.interpreter, strlen(target.interpreter) + 1);
  long argument =
      target.argument[0] != '\0' ? texts.Put(target.argument, strlen(target.argument) + 1) : -1;
  long script = texts.Put(path, strlen(path) + 1);
  if (interpreter < 0 || script < 0) return -E2BIG;
  uint64_t words[3] = {};
  uint64_t text_at = (injection->stack() - texts.used) & ~uint64_t{15};
  size_t count = 0;
  words[count++] = text_at + static_cast<uint64_t>(interpreter);
  if (argument >= 0) words[count++] = text_at + static_cast<uint64_t>(argument);
  words[count++] = text_at + static_cast<uint64_t>(script);
  // The rest of the program's own words, with the null behind them.
  uint64_t rest = argv + sizeof(uint64_t), end = rest, word = argv == 0 ? 0 : 1;
  if (word != 0 && (PstReadMemory(call, argv, &word, sizeof word) != 0 || word == 0))
    rest = end = argv;
  for (int i = 0; argv != 0; ++i) {
    if (PstReadMemory(call, end, &word, sizeof word) != 0) return -EFAULT;
    end += sizeof word;
    if (word == 0) break;
    if (i >= kMaxWords) return -E2BIG;
  }
  size_t rest_bytes = argv == 0 ? 0 : end - rest;
  uint64_t words_at =
      (text_at - count * sizeof(uint64_t) - rest_bytes - sizeof(uint64_t)) & ~uint64_t{15};
  if (PstWriteMemory(call, text_at, room, texts.used) != 0 ||
      PstWriteMemory(call, words_at, words, count * sizeof(uint64_t)) != 0)
    return -EFAULT;
  uint64_t to = words_at + count * sizeof(uint64_t);
  for (size_t at = 0; at < rest_bytes; at += sizeof word) {
    if (PstReadMemory(call, rest + at, &word, sizeof word) != 0 ||
        PstWriteMemory(call, to + at, &word, sizeof word) != 0)
      return -EFAULT;
  }
  word = 0;
  if (rest_bytes == 0 && PstWriteMemory(call, to, &word, sizeof word) != 0) return -EFAULT;
  return injection->Do(SYS_execve, static_cast<long>(words[0]), static_cast<long>(words_at),
                       static_cast<long>(envp));
}

}  // namespace

Outcome PstAnswerExec(const Call& call, int dirfd, uint64_t path, uint64_t argv, uint64_t envp) {
  Place place;
  int err = PstLocate(call, dirfd, path, true, &place);
  if (err != 0) return Value(err);
  if (!place.ours) return kPassOn;
  if (place.route.cover == Cover::kError) return Value(-place.route.err);
  if (place.route.cover != Cover::kMount) return Value(-EACCES);
  Target target;
  int fd = OpenProgram(place.route, &target);
  if (fd < 0) return Value(fd);
  if (target.kind != TargetKind::kScript) {
    Scratch scratch;
    char* text = scratch.Get();
    int len = text != nullptr ? PstReadPath(call, path, text) : -ENOMEM;
    Outcome outcome = len < 0
                          ? Value(-EFAULT)
                          : ExecuteFile(call, fd, path + static_cast<uint64_t>(len), argv, envp);
    Raw(SYS_close, fd);
    return outcome;
  }
  PathBuffer buffer;
  Route interpreter;
  if (PstRoute(AT_FDCWD, target.interpreter, &buffer, &interpreter) == Cover::kMount)
    return Value(-EACCES);
  Scratch scratch;
  char* full = scratch.Get();
  if (full == nullptr) return Value(-ENOMEM);
  // The name that the script is told is the one that the program used, where that leads there
  // without a descriptor.
  if (dirfd != AT_FDCWD || PstReadPath(call, path, full) <= 0)
    PstFullPath(place.route.view, place.route.mount, place.route.rel, place.route.rel_len, full);
  Injection injection(call);
  if (!injection.Begin()) return Value(-EACCES);
  long result = ExecuteScript(call, &injection, full, target, argv, envp);
  if (result == 0) {
    injection.EndExecuted();
  } else {
    injection.End(result);
  }
  return kGivenAlready;
}

}  // namespace penstock
