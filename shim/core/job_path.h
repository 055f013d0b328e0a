// Names below the job's folder, as the kernel shows them for descriptors and working directories of
// ours:
//   <job folder>/.penstock-fd/<slot>               the reservation of an open file
//   <job folder>/.penstock-dir/<mount>/<path>      the shadow of a covered directory
//   <job folder>/.penstock-dir/<mount>^<levels>    of a directory above a mount that is not on disk
//
// Thread safety: any thread, signal handlers.
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "shim/core/view.h"

namespace penstock {

enum class JobPathKind : uint8_t { kNone, kFile, kDirectory };

struct JobPath {
  JobPathKind kind;
  uint32_t number;   // slot, or index of the mount
  uint32_t levels;   // kDirectory: how many above the mount; `rel` is then empty
  const char* name;  // what follows ".penstock-fd/" or ".penstock-dir/", to the end
  const char* rel;   // kDirectory: relative to the mount
};

// What a NUL-terminated name of the kernel's stands for; all pointers go into `text`.
JobPath PstParseJobPath(const char* text);

// The same for what is really this job's: another job's folder, and what a user made to look like
// one, have such names too. `fd` is the descriptor that the kernel calls `text` (AT_FDCWD: the
// working directory); a shadow that the sidecar has removed meanwhile is still known, and its "
// (deleted)" is cut off `text`.
JobPath PstOwnJobPath(int fd, char* text);
// Where the kernel's answer for it is known. `have` is not of a removed directory.
bool PstIsOwnJobPath(const struct stat& have, const JobPath& known);

// The name that the program knows for a shadow directory, NUL-terminated, into `to` (PST_PATH_MAX +
// PST_MOUNT_PATH_MAX bytes). Its length, or -1 if there is no such mount.
int PstShadowedPath(const View* view, const JobPath& shadow, char* to);

// Puts the program's name for a directory (`fd`, or AT_FDCWD) in the place of the kernel's
// (NUL-terminated, `len` bytes, in a buffer of PST_PATH_MAX), if it is a shadow of ours: *shadow.
// The length then; `len` if it is none; -errno.
int PstUnshadow(int fd, char* text, int len, bool* shadow);

// The decimal number at `text` and where it ends; -1 if there is none, or it is more than INT32_MAX.
int64_t PstDecimal(const char* text, const char** end);

}  // namespace penstock
