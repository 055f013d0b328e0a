// From a path argument to a mount and a key.
//
// Absolute paths without "//", "." and ".." are routed in place. Others are normalised component by
// component; ".." behind a covered component checks that the component is a directory (ENOENT, ENOTDIR).
// Relative paths start from the tracked working directory or the entry of dirfd.
//
// Thread safety: any thread, signal handlers. No allocation.
#pragma once

#include <stdint.h>

#include "shim/abi/key.h"
#include "shim/abi/record.h"
#include "shim/core/scratch.h"
#include "shim/core/view.h"

namespace penstock {

enum class Cover : uint8_t {
  kNone,       // not ours: give the call to libc unchanged
  kMount,      // a name inside a mount, or a mount itself
  kAncestor,   // a directory above a mount: real if it is on disk, else virtual
  kError,      // covered, and the answer is Route::err
};

struct Route {
  Cover cover;
  bool must_be_dir;        // trailing slash, "/." or "/.."
  bool trailing_slash;
  int err;                 // kError
  const View* view;        // kMount
  uint32_t mount;          // kMount: index in view->mounts
  const char* text;        // kMount: the whole path, clean and absolute; `rel` points into it
  const char* rel;         // kMount: relative to the mount, in the caller's path or in PathBuffer.
  uint32_t rel_len;        //   NOT NUL-terminated
  pst_key128 id;           // kMount
  bool known;              // kMount: `attr` is the name's record, as fresh as the index
  pst_attr attr;
  const char* full;        // kAncestor: normalised absolute path, NUL-terminated. kNone: null, or the path
                           //   to give to the kernel (from AT_FDCWD) because ".." left a mount, or a folder
                           //   that is not on disk
};

// Where a path that has to be rewritten lies; memory is taken only when one has to be.
using PathBuffer = Scratch;
inline constexpr uint32_t kPathBufferBytes = 2 * PST_PATH_MAX;
static_assert(kPathBufferBytes <= kScratchBytes);

// Routes `path` as seen from `dirfd` (AT_FDCWD or a number). Null and empty paths are not covered.
// Joins the sidecar if the path is covered: then kError with EIO is possible.
Cover PstRoute(int dirfd, const char* path, PathBuffer* buffer, Route* out);

// The same for absolute paths, quick for the negative: call this first in path hooks.
extern bool g_cwd_matters;     // cwd is inside a mount or above one, or not known
PST_COLD bool PstMayCoverSlow(int dirfd, const char* path);
bool PstMayCover(int dirfd, const char* path);

// Where the program stands. Called by chdir/fchdir hooks after they succeeded, and by the fork/exec
// machinery at start: a covered directory; any other one that is not the kernel's own (PST_PATH_MAX +
// PST_MOUNT_PATH_MAX bytes at most); an ordinary one (its name is asked from the kernel when it is needed).
void PstCwdSet(uint32_t mount, const char* rel, uint32_t rel_len);
void PstCwdSetPath(const char* path, uint32_t len);
void PstCwdUnknown();
// Is the working directory one that the kernel does not know by the name that the program sees?
bool PstCwdShown();
// The working directory as the program should see it, NUL-terminated, into `to` (PST_PATH_MAX bytes).
// Its length, or -errno.
int PstCwdGet(char* to);

// A name by a directory's number (/dev/fd/N, /proc/self/fd/N/name): *fd and what follows it, "" for
// the number's own link, "." for that with a slash behind it. Null: no such name, or no directory
// of ours.
const char* PstBelowNumber(const char* path, int* fd);

// mount path + "/" + rel into `to` (PST_PATH_MAX + PST_MOUNT_PATH_MAX bytes are enough); its length.
uint32_t PstFullPath(const View* view, uint32_t mount, const char* rel, uint32_t rel_len, char* to);

// Is this absolute, normalised path one of the configured prefixes, or below one?
bool PstIsCovered(const char* path, uint32_t len);

// Does this absolute, normalised path lie above a mount prefix (or is it "/")?
bool PstIsAncestor(const char* path, uint32_t len);

}  // namespace penstock
