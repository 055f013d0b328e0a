// fts: libc's own calls libc's opendir and stat inside. Trees whose roots may hold covered names
// are walked here, by the hooks; all others are libc's. A tree of ours is known by a bit in its
// options.
//
// It never changes the working directory: fts_accpath is the whole path, as with FTS_NOCHDIR.

#include <dirent.h>
#include <fts.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/calls/support.h"

namespace penstock {
namespace {

constexpr int kOurs = 0x8000;  // in fts_options, beyond what libc uses
constexpr int kStop = FTS_STOP;

bool Ours(const FTS* tree) { return tree != nullptr && (tree->fts_options & kOurs) != 0; }
bool Has(const FTS* tree, int option) { return (tree->fts_options & option) != 0; }

bool MayMeet(const char* path) {
  PathBuffer buffer;
  Route route;
  return RouteOf(AT_FDCWD, path, &buffer, &route) != Cover::kNone;
}

// One block for entry, name, path and struct stat. Null without memory.
FTSENT* NewEntry(FTSENT* parent, const char* name, size_t name_len) {
  size_t base = parent->fts_level < 0 ? 0 : parent->fts_pathlen;
  bool slash = base > 0 && parent->fts_path[base - 1] != '/';
  size_t path_len = base + (slash ? 1 : 0) + name_len;
  if (path_len >= PST_PATH_MAX) {
    errno = ENAMETOOLONG;
    return nullptr;
  }
  size_t head = (offsetof(FTSENT, fts_name) + name_len + 1 + 15) & ~static_cast<size_t>(15);
  auto* block = static_cast<char*>(calloc(1, head + sizeof(struct stat) + path_len + 1));
  if (block == nullptr) return nullptr;
  auto* entry = reinterpret_cast<FTSENT*>(block);
  entry->fts_statp = reinterpret_cast<struct stat*>(block + head);
  char* path = block + head + sizeof(struct stat);
  if (base > 0) memcpy(path, parent->fts_path, base);
  if (slash) path[base++] = '/';
  memcpy(path + base, name, name_len);
  memcpy(entry->fts_name, name, name_len);
  entry->fts_path = entry->fts_accpath = path;
  entry->fts_pathlen = static_cast<unsigned short>(path_len);
  entry->fts_namelen = static_cast<unsigned short>(name_len);
  entry->fts_parent = parent;
  entry->fts_level = static_cast<short>(parent->fts_level + 1);
  entry->fts_instr = FTS_NOINSTR;
  return entry;
}

void FreeList(FTSENT* entry) {
  while (entry != nullptr) {
    FTSENT* next = entry->fts_link;
    free(entry);
    entry = next;
  }
}

// What an entry is, as FTS_*; fills its stat fields.
unsigned short Examine(const FTS* tree, FTSENT* entry, bool follow) {
  struct stat* st = entry->fts_statp;
  if (Has(tree, FTS_LOGICAL) || follow) {
    if (stat(entry->fts_path, st) != 0) {
      int err = errno;
      if (lstat(entry->fts_path, st) == 0 && S_ISLNK(st->st_mode)) {
        errno = 0;
        return FTS_SLNONE;
      }
      entry->fts_errno = err;
      return FTS_NS;
    }
  } else if (lstat(entry->fts_path, st) != 0) {
    entry->fts_errno = errno;
    return FTS_NS;
  }
  entry->fts_dev = st->st_dev;
  entry->fts_ino = st->st_ino;
  entry->fts_nlink = st->st_nlink;
  if (S_ISDIR(st->st_mode)) {
    bool dot = strcmp(entry->fts_name, ".") == 0 || strcmp(entry->fts_name, "..") == 0;
    if (dot && entry->fts_level > 0) return FTS_DOT;
    for (FTSENT* up = entry->fts_parent; up->fts_level >= 0; up = up->fts_parent) {
      if (up->fts_ino != entry->fts_ino || up->fts_dev != entry->fts_dev) continue;
      entry->fts_cycle = up;
      return FTS_DC;
    }
    return FTS_D;
  }
  return S_ISLNK(st->st_mode) ? FTS_SL : S_ISREG(st->st_mode) ? FTS_F : FTS_DEFAULT;
}

FTSENT* Sort(FTS* tree, FTSENT* list, size_t count) {
  if (tree->fts_compar == nullptr || count < 2) return list;
  auto** array = static_cast<FTSENT**>(malloc(count * sizeof(FTSENT*)));
  if (array == nullptr) return list;
  size_t at = 0;
  for (FTSENT* entry = list; entry != nullptr; entry = entry->fts_link) array[at++] = entry;
  qsort(array, count, sizeof *array,
        reinterpret_cast<int (*)(const void*, const void*)>(tree->fts_compar));
  for (at = 0; at + 1 < count; ++at) array[at]->fts_link = array[at + 1];
  array[count - 1]->fts_link = nullptr;
  list = array[0];
  free(array);
  return list;
}

// The entries of a directory. Null: it is empty, or cannot be read and its fts_info says so.
FTSENT* Build(FTS* tree, FTSENT* parent) {
  DIR* dir = opendir(parent->fts_path);
  if (dir == nullptr) {
    parent->fts_info = FTS_DNR;
    parent->fts_errno = errno;
    return nullptr;
  }
  FTSENT* first = nullptr;
  FTSENT** last = &first;
  size_t count = 0;
  while (const struct dirent* found = readdir(dir)) {
    const char* name = found->d_name;
    bool dot = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (dot && !Has(tree, FTS_SEEDOT)) continue;
    FTSENT* entry = NewEntry(parent, name, strlen(name));
    if (entry == nullptr) {
      KeepErrno keep;
      FreeList(first);
      closedir(dir);
      parent->fts_info = FTS_ERR;
      parent->fts_errno = errno;
      tree->fts_options |= kStop;
      return nullptr;
    }
    bool skip_stat = Has(tree, FTS_NOSTAT) && Has(tree, FTS_PHYSICAL) &&
                     found->d_type != DT_UNKNOWN && found->d_type != DT_DIR;
    entry->fts_info =
        skip_stat ? static_cast<unsigned short>(FTS_NSOK) : Examine(tree, entry, false);
    *last = entry;
    last = &entry->fts_link;
    ++count;
  }
  closedir(dir);
  return Sort(tree, first, count);
}

// What was asked for by a path has that as its name until it is shown (so it is sorted), then its
// last part.
void ShortenName(FTSENT* entry) {
  char* slash = strrchr(entry->fts_name, '/');
  if (slash == nullptr || (slash == entry->fts_name && slash[1] == '\0')) return;
  entry->fts_namelen = static_cast<unsigned short>(strlen(slash + 1));
  memmove(entry->fts_name, slash + 1, entry->fts_namelen + 1u);
}

FTSENT* Show(FTS* tree, FTSENT* entry) {
  if (entry->fts_level == FTS_ROOTLEVEL) ShortenName(entry);
  tree->fts_cur = entry;
  tree->fts_path = entry->fts_path;
  if (entry->fts_level == 0) tree->fts_dev = entry->fts_dev;
  return entry;
}

// The entry after `entry`: a sibling, or its parent for the second time.
FTSENT* Next(FTS* tree, FTSENT* entry) {
  for (;;) {
    FTSENT* next = entry->fts_link;
    FTSENT* parent = entry->fts_parent;
    free(entry);
    if (next == nullptr) {
      if (parent->fts_level < 0) {
        free(parent);
        tree->fts_cur = nullptr;
        errno = 0;
        return nullptr;
      }
      parent->fts_info = parent->fts_errno != 0 ? FTS_ERR : FTS_DP;
      return Show(tree, parent);
    }
    entry = next;
    if (entry->fts_instr == FTS_SKIP) continue;
    if (entry->fts_instr == FTS_FOLLOW) {
      entry->fts_info = Examine(tree, entry, true);
      entry->fts_instr = FTS_NOINSTR;
    }
    return Show(tree, entry);
  }
}

FTS* Open(char* const* paths, int options, int (*compare)(const FTSENT**, const FTSENT**)) {
  if ((options & ~0xff) != 0) {
    errno = EINVAL;
    return nullptr;
  }
  auto* tree = static_cast<FTS*>(calloc(1, sizeof(FTS)));
  auto* root = static_cast<FTSENT*>(calloc(1, sizeof(FTSENT)));   // the parent of the given paths
  auto* start = static_cast<FTSENT*>(calloc(1, sizeof(FTSENT)));  // "before the first"
  if (tree == nullptr || root == nullptr || start == nullptr) {
    free(tree), free(root), free(start);
    return nullptr;
  }
  tree->fts_options = (options & 0xff) | FTS_NOCHDIR | kOurs;
  tree->fts_compar = reinterpret_cast<decltype(tree->fts_compar)>(compare);
  root->fts_level = FTS_ROOTPARENTLEVEL;
  FTSENT* first = nullptr;
  FTSENT** last = &first;
  size_t count = 0;
  for (; *paths != nullptr; ++paths) {
    FTSENT* entry = **paths == '\0' ? nullptr : NewEntry(root, *paths, strlen(*paths));
    if (entry == nullptr) {
      if (**paths == '\0') errno = ENOENT;
      KeepErrno keep;
      FreeList(first);
      free(root), free(start), free(tree);
      return nullptr;
    }
    entry->fts_info = Examine(tree, entry, Has(tree, FTS_COMFOLLOW));
    *last = entry;
    last = &entry->fts_link;
    ++count;
  }
  start->fts_parent = root;
  start->fts_level = FTS_ROOTLEVEL;
  start->fts_info = FTS_INIT;
  start->fts_link = Sort(tree, first, count);
  tree->fts_cur = start;
  return tree;
}

FTSENT* Read(FTS* tree) {
  FTSENT* entry = tree->fts_cur;
  if (entry == nullptr || Has(tree, kStop)) return nullptr;
  int instruction = entry->fts_instr;
  entry->fts_instr = FTS_NOINSTR;
  if (instruction == FTS_AGAIN) {
    entry->fts_info = Examine(tree, entry, false);
    return entry;
  }
  if (instruction == FTS_FOLLOW && (entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE)) {
    entry->fts_info = Examine(tree, entry, true);
    return entry;
  }
  if (entry->fts_info != FTS_D) return Next(tree, entry);
  if (instruction == FTS_SKIP || (Has(tree, FTS_XDEV) && entry->fts_dev != tree->fts_dev)) {
    FreeList(tree->fts_child);
    tree->fts_child = nullptr;
    entry->fts_info = FTS_DP;
    return entry;
  }
  FTSENT* child = tree->fts_child != nullptr ? tree->fts_child : Build(tree, entry);
  tree->fts_child = nullptr;
  if (child == nullptr && entry->fts_info == FTS_D) entry->fts_info = FTS_DP;
  if (child == nullptr) return Has(tree, kStop) ? nullptr : entry;
  if (child->fts_instr == FTS_SKIP) return Next(tree, child);
  if (child->fts_instr == FTS_FOLLOW) {
    child->fts_info = Examine(tree, child, true);
    child->fts_instr = FTS_NOINSTR;
  }
  return Show(tree, child);
}

int Close(FTS* tree) {
  FreeList(tree->fts_child);
  for (FTSENT* entry = tree->fts_cur; entry != nullptr;) {
    FTSENT* parent = entry->fts_parent;
    FreeList(entry);
    entry = parent;
  }
  free(tree);
  return 0;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT FTS* fts_open(char* const* paths, int options,
                         int (*compare)(const FTSENT**, const FTSENT**)) {
  if (PST_UNLIKELY(g_config.active)) {
    for (size_t i = 0; paths[i] != nullptr; ++i) {
      if (MayMeet(paths[i])) return Open(paths, options, compare);
    }
  }
  return real.fts_open(paths, options, compare);
}

PST_EXPORT FTSENT* fts_read(FTS* tree) { return Ours(tree) ? Read(tree) : real.fts_read(tree); }

PST_EXPORT FTSENT* fts_children(FTS* tree, int options) {
  if (!Ours(tree)) return real.fts_children(tree, options);
  FTSENT* entry = tree->fts_cur;
  errno = 0;
  if (entry == nullptr || Has(tree, kStop)) return nullptr;
  if (entry->fts_info == FTS_INIT) return entry->fts_link;
  if (entry->fts_info != FTS_D) return nullptr;
  FreeList(tree->fts_child);
  tree->fts_child = Build(tree, entry);
  return tree->fts_child;
}

PST_EXPORT int fts_set(FTS* tree, FTSENT* entry, int option) {
  if (!Ours(tree)) return real.fts_set(tree, entry, option);
  if (option != 0 && option != FTS_AGAIN && option != FTS_FOLLOW && option != FTS_NOINSTR &&
      option != FTS_SKIP)
    return PstFail(EINVAL);
  entry->fts_instr = static_cast<unsigned short>(option);
  return 0;
}

PST_EXPORT int fts_close(FTS* tree) { return Ours(tree) ? Close(tree) : real.fts_close(tree); }
