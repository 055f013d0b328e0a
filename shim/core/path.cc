#include "shim/core/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/core/bytes.h"
#include "shim/core/config.h"
#include "shim/core/cwd.h"
#include "shim/core/fd_table.h"
#include "shim/core/job_path.h"
#include "shim/core/name_table.h"
#include "shim/core/names.h"
#include "shim/core/outside.h"

namespace penstock {
namespace {

// Does what follows a slash make the path unclean: another one, "." or ".." as a whole component? `after` is
// NUL-terminated.
PST_INLINE bool UncleanAfter(const char* after) {
  if (after[0] == '/') return true;
  if (PST_LIKELY(after[0] != '.')) return false;
  const char* end = after + (after[1] == '.' ? 2 : 1);
  return *end == '/' || *end == 0;
}

// Does an absolute path hold "//", "/./", "/../" or an end like that? Names such as ".git" do not count. A
// candidate is a slash before a slash or a dot; eight bytes are looked at together, and few words hold one.
bool Unclean(const char* path, uint32_t len) {
  constexpr uint64_t kOnes = 0x0101010101010101ull, kHighs = 0x8080808080808080ull;
  uint32_t i = 0;
  for (; i + 9 <= len; i += 8) {
    const uint64_t here = LoadWord(path + i) ^ kOnes * '/';
    // '.' and '/' differ in the lowest bit only.
    const uint64_t next = (LoadWord(path + i + 1) | kOnes) ^ kOnes * '/';
    const uint64_t both = here | next;  // a zero byte: both are what was looked for
    if (PST_LIKELY(((both - kOnes) & ~both & kHighs) == 0)) continue;
    for (uint32_t k = i; k < i + 8; ++k)
      if (path[k] == '/' && UncleanAfter(path + k + 1)) return true;
  }
  for (; i + 1 < len; ++i)
    if (path[i] == '/' && UncleanAfter(path + i + 1)) return true;
  return false;
}

// Is [path, path + len) the prefix itself or below it?
PST_INLINE bool Under(const char* path, uint32_t len, const Prefix& prefix) {
  return len >= prefix.len && (len == prefix.len || path[prefix.len] == '/') &&
         SameBytes(path, prefix.path, prefix.len);
}

PST_INLINE int LongestPrefix(const char* path, uint32_t len) {
  int found = -1;
  for (uint32_t i = 0; i < g_config.prefix_count; ++i) {
    if (!Under(path, len, g_config.prefixes[i])) continue;
    if (found < 0 || g_config.prefixes[i].len > g_config.prefixes[found].len) found = (int)i;
  }
  return found;
}

PST_COLD uint32_t LongestMount(const View* view, const char* path, uint32_t len) {
  uint32_t found = UINT32_MAX, best = 0;
  for (uint32_t i = 0; i < view->mount_count; ++i) {
    const Mount& mount = view->mounts[i];
    if (!Under(path, len, {mount.path, mount.path_len})) continue;
    if (found == UINT32_MAX || mount.path_len > best) {
      found = i;
      best = mount.path_len;
    }
  }
  return found;
}

Cover Fail(Route* out, int err) {
  out->err = err;
  return out->cover = Cover::kError;
}

void SetId(Route* route) {
  // Word by word: a copy of the pair would wait for both stores.
  XXH128_hash_t hash = XXH3_128bits(route->rel, route->rel_len);
  route->id.lo = hash.low64;
  route->id.hi = hash.high64;
}

// A component that is too long: what stands before it is looked at first, as the kernel does. 0: none is.
PST_COLD int TooLongErrno(const Route& route) {
  uint32_t start = 0;
  for (uint32_t i = 0; i <= route.rel_len; ++i) {
    if (i < route.rel_len && route.rel[i] != '/') continue;
    if (i - start > NAME_MAX) {
      Route before = route;
      pst_attr attr;
      before.rel_len = start > 0 ? start - 1 : 0;
      before.must_be_dir = false;
      before.known = false;
      SetId(&before);
      int err = PstLookup(before, &attr);
      return err != 0 ? err : attr.kind == PST_KIND_DIRECTORY ? ENAMETOOLONG : ENOTDIR;
    }
    start = i + 1;
  }
  return 0;
}

// Routes a clean path below configured prefix number `prefix`.
PST_INLINE Cover RouteBelow(int prefix, const char* path, uint32_t len, Route* out) {
  const View* view = PstView();
  if (PST_UNLIKELY(view == nullptr)) {
    int err = EIO;
    view = PstJoinedView(&err);
    if (view == nullptr) return Fail(out, err);
  }
  uint32_t mount = view->prefix_mount[prefix];
  if (PST_UNLIKELY(mount == UINT32_MAX)) {
    mount = LongestMount(view, path, len);
    if (mount == UINT32_MAX) return Fail(out, EIO);  // covered by us, unknown to the sidecar
  }
  uint32_t skip = view->mounts[mount].path_len;
  out->known = false;
  out->view = view;
  out->mount = mount;
  out->text = path;
  out->rel = path + skip + (len > skip ? 1 : 0);
  out->rel_len = len - skip - (len > skip ? 1 : 0);
  if (PST_UNLIKELY(out->rel_len > NAME_MAX)) {
    int err = TooLongErrno(*out);
    if (err != 0) return Fail(out, err);
  }
  SetId(out);
  return out->cover = Cover::kMount;
}

// Routes a path that the table of names knows by its text: with its record, and without a look at its parts.
PST_INLINE bool RouteKnown(const char* path, uint32_t len, Route* out) {
  const View* view = PstView();
  NameRecord record;
  if (PST_UNLIKELY(view == nullptr) || !NameTableFind(NameEpoch(view), path, len, &record)) return false;
  const uint32_t mount_len = view->mounts[record.mount].path_len;
  const uint32_t skip = mount_len + (len > mount_len ? 1 : 0);
  out->cover = Cover::kMount;
  out->view = view;
  out->mount = record.mount;
  out->text = path;
  out->rel = path + skip;
  out->rel_len = len - skip;
  out->id = record.id;
  out->known = true;
  out->attr = NameAttr(record);
  return true;
}

// Routes a clean absolute path (a trailing slash has been cut off and noted).
Cover RouteClean(const char* path, uint32_t len, Route* out) {
  int prefix = LongestPrefix(path, len);
  if (prefix >= 0) return RouteBelow(prefix, path, len, out);
  if (!PstIsAncestor(path, len)) return out->cover = Cover::kNone;
  out->full = path;
  return out->cover = Cover::kAncestor;
}

// The directory that ".." leaves must be one. 0, or a positive errno. Outside of mounts the disk decides.
int CheckLeaves(const char* path, uint32_t len) {
  if (len == 0) return 0;
  Route route = {};
  if (RouteClean(path, len, &route) == Cover::kError) return route.err;
  if (route.cover != Cover::kMount) return 0;
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err != 0) return err;
  return attr.kind == PST_KIND_DIRECTORY ? 0 : ENOTDIR;
}

struct Builder {
  char* text;
  uint32_t len;
};

bool Append(Builder* to, const char* part, uint32_t len) {
  if (to->len + 1 + len >= kPathBufferBytes - 1) return false;
  to->text[to->len++] = '/';
  memcpy(to->text + to->len, part, len);
  to->len += len;
  return true;
}

// Builds the normalised absolute path from `to` (holding an absolute start) and `path`, component by
// component. 0, or a positive errno. *outside: a ".." leaves a directory outside of every mount; *left: one
// leaves a mount.
int Normalise(Builder* to, const char* path, uint32_t len, bool* must_be_dir, bool* outside, bool* left) {
  for (uint32_t i = 0; i < len;) {
    while (i < len && path[i] == '/') ++i;
    uint32_t start = i;
    while (i < len && path[i] != '/') ++i;
    uint32_t part = i - start;
    *must_be_dir = part == 0 || i < len;
    if (part == 0) break;
    if (part == 1 && path[start] == '.') {
      *must_be_dir = true;
      continue;
    }
    if (part == 2 && path[start] == '.' && path[start + 1] == '.') {
      *must_be_dir = true;
      to->text[to->len] = 0;
      if (LongestPrefix(to->text, to->len) >= 0) {
        *left = true;
        int err = CheckLeaves(to->text, to->len);
        if (err != 0) return err;
      } else if (to->len > 0) {
        *outside = true;
        int err = OutsideResolve(to->text, &to->len, kPathBufferBytes - 1);
        if (err != 0) return err;
      }
      while (to->len > 0 && to->text[to->len - 1] != '/') --to->len;
      if (to->len > 0) --to->len;
      continue;
    }
    if (!Append(to, path + start, part)) return ENAMETOOLONG;
  }
  to->text[to->len] = 0;
  return 0;
}

// Where a relative path starts: absolute, no trailing slash. Length, or -errno; -EXDEV: not a place
// of ours and not above one, unless ".." leads elsewhere. *shadow: the kernel stands in a shadow
// directory.
int StartOf(int dirfd, bool dots, char* to, bool* shadow) {
  *shadow = false;
  if (dirfd == AT_FDCWD) {
    *shadow = PstCwdShown();
    if (g_cwd_matters || dots) return PstCwdGet(to);
    return -EXDEV;
  }
  FdKind kind = PstFdKindOf(dirfd);
  if (kind == kFdDirectory) {
    FdEntry entry;
    Scratch scratch;
    char* rel = scratch.Get();
    static_assert(kFdPathBytes <= kScratchBytes);
    const View* view = PstView();
    if (view == nullptr || rel == nullptr || !PstFdSnapshot(dirfd, &entry)) return -EBADF;
    int len = PstFdPath(dirfd, entry, rel);
    if (len < 0 || entry.mount >= view->mount_count) return -EBADF;
    return (int)PstFullPath(view, entry.mount, rel, (uint32_t)len, to);
  }
  if (kind == kFdAncestor || (dots && dirfd >= 0)) {
    int len = OutsideFdPath(dirfd, to, PST_PATH_MAX);
    if (kind != kFdAncestor || len <= 0) return len;
    return PstUnshadow(dirfd, to, len, shadow);
  }
  return -EXDEV;
}

PST_COLD Cover RouteSlow(int dirfd, const char* path, uint32_t len, PathBuffer* buffer, Route* out) {
  char* text = buffer->Get();
  if (text == nullptr) return Fail(out, ENOMEM);
  Builder built = {text, 0};
  bool outside = false, must_be_dir = false, left = false, shadow = false;
  if (path[0] != '/') {
    bool dots = strstr(path, "..") != nullptr;
    if (dirfd != AT_FDCWD && PstFdKindOf(dirfd) == kFdFile) return Fail(out, ENOTDIR);
    int start = StartOf(dirfd, dots, text, &shadow);
    if (start < 0) return out->cover = Cover::kNone;  // the kernel gives the right error
    if (start == 1) start = 0;                        // "/"
    built.len = (uint32_t)start;
  }
  int err = Normalise(&built, path, len, &must_be_dir, &outside, &left);
  // From a shadow directory the kernel would look, and make files, where nobody else ever does.
  left |= shadow;
  out->must_be_dir = must_be_dir;
  out->trailing_slash = path[len - 1] == '/';
  // What leaves a directory outside and does not arrive in a mount is the kernel's to judge.
  if (LongestPrefix(built.text, built.len) < 0 &&
      ((err != 0 && !left) || (outside && !shadow) || !PstIsAncestor(built.text, built.len))) {
    if (left && err != 0) return Fail(out, err);
    // The kernel cannot walk through what is not on its disk.
    if (left && built.len + 1 < PST_PATH_MAX) {
      if (built.len == 0 || must_be_dir) built.text[built.len++] = '/';
      built.text[built.len] = 0;
      out->full = built.text;
    }
    return out->cover = Cover::kNone;
  }
  if (err != 0) return Fail(out, err);
  if (built.len >= PST_PATH_MAX) return Fail(out, ENAMETOOLONG);
  if (built.len == 0) built.text[0] = '/', built.text[1] = 0, built.len = 1;
  return RouteClean(built.text, built.len, out);
}

// A path outside of the prefixes whose trailing slash has been cut off. Ancestors are handed on as text.
PST_COLD Cover RouteCutAncestor(const char* path, uint32_t len, PathBuffer* buffer, Route* out) {
  if (!PstIsAncestor(path, len)) return out->cover = Cover::kNone;
  char* text = buffer->Get();
  if (text == nullptr) return Fail(out, ENOMEM);
  memcpy(text, path, len);
  text[len] = 0;
  out->full = text;
  return out->cover = Cover::kAncestor;
}

}  // namespace

bool PstIsAncestor(const char* path, uint32_t len) {
  if (len == 1) len = 0;  // "/"
  for (uint32_t i = 0; i < g_config.prefix_count; ++i) {
    const Prefix& prefix = g_config.prefixes[i];
    if (prefix.len > len && prefix.path[len] == '/' && memcmp(prefix.path, path, len) == 0) return true;
  }
  return false;
}

bool PstIsCovered(const char* path, uint32_t len) { return LongestPrefix(path, len) >= 0; }

const char* PstBelowNumber(const char* path, int* fd) {
  static constexpr const char* kForms[] = {"/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"};
  if (path == nullptr || path[0] != '/' || (path[1] != 'd' && path[1] != 'p')) return nullptr;
  for (const char* form : kForms) {
    const size_t len = strlen(form);
    if (PST_LIKELY(strncmp(path, form, len) != 0)) continue;
    const char* end;
    const int64_t number = PstDecimal(path + len, &end);
    if (number < 0 || number >= (int64_t)kMaxFds || (*end != 0 && *end != '/')) return nullptr;
    const FdKind kind = PstFdKindOf((int)number);
    if (kind != kFdDirectory && kind != kFdAncestor) return nullptr;
    *fd = (int)number;
    if (*end == 0) return end;
    while (*end == '/') ++end;
    return *end != 0 ? end : ".";
  }
  return nullptr;
}

Cover PstRoute(int dirfd, const char* path, PathBuffer* buffer, Route* out) {
  out->must_be_dir = false;
  out->trailing_slash = false;
  out->full = nullptr;
  out->cover = Cover::kNone;
  if (!g_config.active || path == nullptr || path[0] == 0) return Cover::kNone;
  if (path[0] != '/') {
    if (PST_LIKELY(!PstMayCover(dirfd, path))) return Cover::kNone;
    size_t len = strnlen(path, PST_PATH_MAX);
    if (len >= PST_PATH_MAX) return Cover::kNone;  // ENAMETOOLONG from the kernel
    return RouteSlow(dirfd, path, (uint32_t)len, buffer, out);
  }
  size_t len = strnlen(path, PST_PATH_MAX);
  if (PST_UNLIKELY(len >= PST_PATH_MAX)) return Cover::kNone;
  // A path that starts with the prefix's own text needs a look at the rest only.
  int prefix = LongestPrefix(path, (uint32_t)len);
  if (prefix >= 0 && PST_LIKELY(RouteKnown(path, (uint32_t)len, out))) return Cover::kMount;
  if (prefix < 0) {
    const char* below = PstBelowNumber(path, &dirfd);
    if (PST_UNLIKELY(below != nullptr) && below[0] != 0)
      return RouteSlow(dirfd, below, (uint32_t)strlen(below), buffer, out);
  }
  uint32_t known = prefix >= 0 ? g_config.prefixes[prefix].len : 0;
  if (PST_UNLIKELY(Unclean(path + known, (uint32_t)len - known))) return RouteSlow(dirfd, path, (uint32_t)len, buffer, out);
  if (PST_UNLIKELY(len > 1 && path[len - 1] == '/')) {
    out->must_be_dir = true;
    out->trailing_slash = true;
    --len;
    if (prefix < 0) return RouteCutAncestor(path, (uint32_t)len, buffer, out);
  }
  return PST_LIKELY(prefix >= 0) ? RouteBelow(prefix, path, (uint32_t)len, out)
                                 : RouteClean(path, (uint32_t)len, out);
}

bool PstMayCoverSlow(int dirfd, const char* path) {
  if (strstr(path, "..") != nullptr) return true;
  if (dirfd == AT_FDCWD) return g_cwd_matters;
  FdKind kind = PstFdKindOf(dirfd);
  return kind == kFdDirectory || kind == kFdAncestor || kind == kFdFile;
}

bool PstMayCover(int dirfd, const char* path) {
  if (!g_config.active || path == nullptr || path[0] == 0) return false;
  return path[0] == '/' || PstMayCoverSlow(dirfd, path);
}

uint32_t PstFullPath(const View* view, uint32_t mount, const char* rel, uint32_t rel_len, char* to) {
  const Mount& m = view->mounts[mount];
  memcpy(to, m.path, m.path_len);
  uint32_t len = m.path_len;
  if (rel_len > 0 || len == 0) to[len++] = '/';
  memcpy(to + len, rel, rel_len);
  len += rel_len;
  to[len] = 0;
  return len;
}

}  // namespace penstock
