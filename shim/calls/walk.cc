// glob, ftw and nftw: libc's own call libc's opendir and stat inside. glob takes ours as arguments;
// the tree walks are written here, for trees that may hold covered names.

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/calls/support.h"

namespace penstock {
namespace {

// glob_t's functions during a call; the program's own fields are put back afterwards.
struct GlobFunctions {
  decltype(glob_t::gl_closedir) closedir;
  decltype(glob_t::gl_readdir) readdir;
  decltype(glob_t::gl_opendir) opendir;
  decltype(glob_t::gl_lstat) lstat;
  decltype(glob_t::gl_stat) stat;
};

void GlobClosedir(void* dir) { closedir(static_cast<DIR*>(dir)); }
struct dirent* GlobReaddir(void* dir) { return readdir(static_cast<DIR*>(dir)); }
void* GlobOpendir(const char* path) { return opendir(path); }
int GlobLstat(const char* path, struct stat* out) { return lstat(path, out); }
int GlobStat(const char* path, struct stat* out) { return stat(path, out); }

// Can a walk from here meet a covered name?
bool MayMeet(const char* path) {
  PathBuffer buffer;
  Route route;
  return RouteOf(AT_FDCWD, path, &buffer, &route) != Cover::kNone;
}

using Visit = int (*)(const char*, const struct stat*, int);
using VisitMore = int (*)(const char*, const struct stat*, int, struct FTW*);

// One walk. Recursion is as deep as the tree; the path buffer is shared.
class TreeWalk {
 public:
  TreeWalk(Visit visit, VisitMore more, int flags) : visit_(visit), more_(more), flags_(flags) {}
  ~TreeWalk() { free(path_); }
  TreeWalk(const TreeWalk&) = delete;
  TreeWalk& operator=(const TreeWalk&) = delete;

  int Run(const char* path) {
    size_t len = strlen(path);
    if (len == 0) return PstFail(ENOENT);
    if (len >= PST_PATH_MAX) return PstFail(ENAMETOOLONG);
    path_ = static_cast<char*>(malloc(4 * PST_PATH_MAX));
    if (path_ == nullptr) return PstFail(ENOMEM);
    start_ = path_ + PST_PATH_MAX;
    absolute_ = path_ + 2 * PST_PATH_MAX;
    memcpy(path_, path, len + 1);
    while (len > 1 && path_[len - 1] == '/') path_[--len] = '\0';
    char* slash = strrchr(path_, '/');
    base_ = slash == nullptr || len == 1 ? 0 : static_cast<int>(slash + 1 - path_);
    if ((flags_ & FTW_CHDIR) == 0) return FromTop(len);
    int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (home < 0) return -1;
    int result = getcwd(start_, PST_PATH_MAX) == nullptr || Enter(static_cast<size_t>(base_)) != 0 ? -1 : FromTop(len);
    KeepErrno keep;
    if (fchdir(home) != 0 && result == 0) {
      keep.Set(errno);
      result = -1;
    }
    close(home);
    return result;
  }

 private:
  int FromTop(size_t len) {
    struct stat st;
    int type = Examine(&st);
    if (type == FTW_NS || type == FTW_SLN) return -1;
    device_ = st.st_dev;
    int result = Walk(len, 0, base_, st, type);
    // Instructions to the walk itself are no results.
    return (flags_ & FTW_ACTIONRETVAL) != 0 &&
                   (result == FTW_SKIP_SUBTREE || result == FTW_SKIP_SIBLINGS)
               ? 0
               : result;
  }

  // path_ from wherever the walk stands: callbacks of a walk that changes directories see the path as it was
  // given, relative perhaps to where it began.
  const char* Here() {
    if ((flags_ & FTW_CHDIR) == 0 || path_[0] == '/') return path_;
    char* at = stpcpy(absolute_, start_);
    if (at[-1] != '/') *at++ = '/';
    strcpy(at, path_);
    return absolute_;
  }

  // Changes into the directory that the first `len` bytes of path_ name; 0: where the walk began.
  int Enter(size_t len) {
    char kept = path_[len];
    path_[len] = '\0';
    int result = chdir(len == 0 ? start_ : Here());
    path_[len] = kept;
    return result;
  }

  struct Parent {
    const Parent* up;
    dev_t device;
    ino_t inode;
  };

  // What path_ is, as FTW_*; errno is set for FTW_NS.
  int Examine(struct stat* st) {
    bool physical = (flags_ & FTW_PHYS) != 0;
    const char* path = Here();
    if ((physical ? lstat(path, st) : stat(path, st)) != 0) {
      if (!physical && errno == ENOENT && lstat(path, st) == 0 && S_ISLNK(st->st_mode))
        return more_ != nullptr ? FTW_SLN : FTW_NS;
      memset(st, 0, sizeof *st);
      return FTW_NS;
    }
    if (S_ISDIR(st->st_mode)) return FTW_D;
    return S_ISLNK(st->st_mode) ? FTW_SL : FTW_F;
  }

  int Call(const struct stat& st, int type, int level, int base) {
    if (more_ == nullptr) return visit_(path_, &st, type == FTW_SL ? FTW_F : type);
    struct FTW info = {base, level};
    return more_(path_, &st, type, &info);
  }

  bool Loops(const struct stat& st) const {
    if ((flags_ & FTW_PHYS) != 0) return false;
    for (const Parent* at = parents_; at != nullptr; at = at->up) {
      if (at->device == st.st_dev && at->inode == st.st_ino) return true;
    }
    return false;
  }

  int Walk(size_t len, int level, int base, const struct stat& st, int type) {
    if (type != FTW_D) return Call(st, type, level, base);
    if (((flags_ & FTW_MOUNT) != 0 && st.st_dev != device_) || Loops(st)) return 0;
    DIR* dir = opendir(Here());
    if (dir == nullptr) return errno == EACCES ? Call(st, FTW_DNR, level, base) : -1;
    bool actions = (flags_ & FTW_ACTIONRETVAL) != 0, deep = (flags_ & FTW_DEPTH) != 0;
    int result = deep ? 0 : Call(st, FTW_D, level, base);
    bool changes = (flags_ & FTW_CHDIR) != 0;
    if (result == 0 && changes && Enter(len) != 0) result = -1;
    if (result == 0) {
      Parent self = {parents_, st.st_dev, st.st_ino};
      parents_ = &self;
      result = Children(dir, len, level);
      parents_ = self.up;
    }
    KeepErrno keep;
    closedir(dir);
    path_[len] = '\0';
    if (actions && result == FTW_SKIP_SUBTREE) return 0;
    if (result == 0 && deep) result = Call(st, FTW_DP, level, base);
    bool on = result == 0 || (actions && result != -1 && result != FTW_STOP);
    if (changes && on && level > 0 && Enter(static_cast<size_t>(base)) != 0) result = -1;
    return result;
  }

  int Children(DIR* dir, size_t len, int level) {
    bool actions = (flags_ & FTW_ACTIONRETVAL) != 0;
    for (;;) {
      errno = 0;
      const struct dirent* entry = readdir(dir);
      if (entry == nullptr) return errno != 0 ? -1 : 0;
      const char* name = entry->d_name;
      if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
      size_t name_len = strlen(name), at = len;
      if (len + name_len + 2 > PST_PATH_MAX) return PstFail(ENAMETOOLONG);
      if (path_[at - 1] != '/') path_[at++] = '/';
      memcpy(path_ + at, name, name_len + 1);
      struct stat st;
      int type = Examine(&st);
      if (type == FTW_NS && errno != EACCES && errno != ENOENT) return -1;
      int result = Walk(at + name_len, level + 1, static_cast<int>(at), st, type);
      path_[len] = '\0';
      if (actions && result == FTW_SKIP_SIBLINGS) return 0;
      if (result != 0 && !(actions && result == FTW_SKIP_SUBTREE)) return result;
    }
  }

  Visit visit_;
  VisitMore more_;
  int flags_;
  int base_ = 0;
  dev_t device_ = 0;
  const Parent* parents_ = nullptr;
  // From malloc, as libc's: a callback that jumps out leaves it behind, and none of the shared
  // areas.
  char* path_ = nullptr;      // PST_PATH_MAX bytes, as is start_; absolute_ has room for both
  char* start_ = nullptr;     // FTW_CHDIR: where the program stood
  char* absolute_ = nullptr;
};

// Not inlined: the walk holds a path, and most walks are libc's.
PST_COLD int WalkTree(const char* path, Visit visit, VisitMore more, int flags) {
  return TreeWalk(visit, more, flags).Run(path);
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int glob(const char* pattern, int flags, int (*on_error)(const char*, int),
                    glob_t* out) {
  if (PST_LIKELY(!g_config.active) || (flags & GLOB_ALTDIRFUNC) != 0)
    return real.glob(pattern, flags, on_error, out);
  GlobFunctions saved = {out->gl_closedir, out->gl_readdir, out->gl_opendir, out->gl_lstat,
                         out->gl_stat};
  out->gl_closedir = GlobClosedir;
  out->gl_readdir = GlobReaddir;
  out->gl_opendir = GlobOpendir;
  out->gl_lstat = GlobLstat;
  out->gl_stat = GlobStat;
  int result = real.glob(pattern, flags | GLOB_ALTDIRFUNC, on_error, out);
  if (result == 0) out->gl_flags &= ~GLOB_ALTDIRFUNC;
  out->gl_closedir = saved.closedir;
  out->gl_readdir = saved.readdir;
  out->gl_opendir = saved.opendir;
  out->gl_lstat = saved.lstat;
  out->gl_stat = saved.stat;
  return result;
}

PST_EXPORT int ftw(const char* path, Visit visit, int fds) {
  if (!MayMeet(path)) return real.ftw(path, visit, fds);
  return WalkTree(path, visit, nullptr, 0);
}

PST_EXPORT int nftw(const char* path, VisitMore visit, int fds, int flags) {
  constexpr int kKnown = FTW_PHYS | FTW_MOUNT | FTW_CHDIR | FTW_DEPTH | FTW_ACTIONRETVAL;
  if (!MayMeet(path) || (flags & ~kKnown) != 0) return real.nftw(path, visit, fds, flags);
  return WalkTree(path, nullptr, visit, flags);
}

PST_EXPORT ssize_t getdirentries(int fd, char* buffer, size_t bytes, off_t* base) {
  if (PST_LIKELY(!IsCovered(PstFdKindOf(fd)))) return real.getdirentries(fd, buffer, bytes, base);
  *base = 0;
  return getdents64(fd, buffer, bytes);
}
