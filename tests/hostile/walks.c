// Walks over trees with every option of fts, nftw and glob.
#include "tests/hostile/host.h"

static int by_name(const FTSENT** a, const FTSENT** b) {
  return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void fts_options(void) {
  static const int options[] = {FTS_PHYSICAL,
                                FTS_LOGICAL,
                                FTS_PHYSICAL | FTS_NOCHDIR,
                                FTS_LOGICAL | FTS_NOCHDIR | FTS_NOSTAT,
                                FTS_PHYSICAL | FTS_NOSTAT,
                                FTS_PHYSICAL | FTS_SEEDOT,
                                FTS_PHYSICAL | FTS_XDEV,
                                FTS_PHYSICAL | FTS_COMFOLLOW | FTS_SEEDOT | FTS_NOCHDIR,
                                0,
                                0x4000};
  for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
    char one[4096], two[4096], three[4096], here[4096];
    strcpy(one, at("tree")), strcpy(two, at("small")), strcpy(three, at("missing"));
    char* paths[] = {one, two, three, NULL};
    errno = 0;
    FTS* tree = fts_open(paths, options[o], by_name);
    printf("options %d: %d %s\n", options[o], tree != NULL,
           tree == NULL ? strerrorname_np(errno) : "");
    if (tree == NULL) continue;
    FTSENT* e;
    while ((e = fts_read(tree)) != NULL) {
      struct stat st;
      // Where libc stands meanwhile is its own affair: fts_accpath leads from there.
      printf("%s %s %d %d %d %d acc %d %d", plain(e->fts_path), e->fts_name, e->fts_info,
             e->fts_level, e->fts_pathlen - (int)strlen(root), e->fts_errno,
             e->fts_info == FTS_D ? -1 : stat(e->fts_accpath, &st), e->fts_namelen);
      if (e->fts_info == FTS_F && (options[o] & FTS_NOSTAT) == 0)
        printf(" size %ld", (long)e->fts_statp->st_size);
      if (e->fts_info == FTS_D && (options[o] & FTS_NOSTAT) == 0)
        printf(" links %d", e->fts_statp->st_nlink > 0);
      printf("\n");
      if (e->fts_info == FTS_D && o % 3 == 0) {
        for (FTSENT* c = fts_children(tree, o == 0 ? FTS_NAMEONLY : 0); c != NULL; c = c->fts_link)
          printf("  child %s\n", c->fts_name);
      }
      static int again;
      if (e->fts_info == FTS_F && o == 3 && !again++) SHOW(fts_set(tree, e, FTS_AGAIN));
    }
    SHOW(errno);
    SHOW(fts_close(tree));
    SHOW(getcwd(here, sizeof here) != NULL);
  }
  // Nothing where a walk was left in the middle.
  char one[4096];
  strcpy(one, at("tree"));
  char* paths[] = {one, NULL};
  FTS* tree = fts_open(paths, FTS_PHYSICAL, NULL);
  for (int i = 0; i < 3; i++) fts_read(tree);
  SHOW(fts_close(tree));
  SHOW(chdir("/"));
}

enum { kMost = 400 };
static char lines[kMost][600];
static int used, stop_at;
static int visit(const char* path, const struct stat* st, int type, struct FTW* info) {
  if (used < kMost)
    snprintf(lines[used++], sizeof lines[0], "%s %d %d %d %lld", plain(path), type,
             info->base - (path[0] == '/' ? (int)strlen(root) : 0), info->level,
             type == FTW_F ? (long long)st->st_size : 0);
  return used == stop_at ? 17 : 0;
}
static int compare_lines(const void* a, const void* b) { return strcmp(a, b); }
static void show_lines(void) {
  qsort(lines, (size_t)used, sizeof lines[0], compare_lines);
  for (int i = 0; i < used; i++) puts(lines[i]);
  used = 0;
}
static int act(const char* path, const struct stat* st, int type, struct FTW* info) {
  visit(path, st, type, info);
  return strstr(path, "deep") ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}
static int siblings(const char* path, const struct stat* st, int type, struct FTW* info) {
  (void)st, (void)type;
  used++;
  return info->level == 1 ? FTW_SKIP_SIBLINGS : FTW_CONTINUE;
}
static int end_it(const char* path, const struct stat* st, int type, struct FTW* info) {
  (void)path, (void)st, (void)type, (void)info;
  return ++used == 2 ? FTW_STOP : FTW_CONTINUE;
}

static void nftw_flags(void) {
  static const int flags[] = {0,         FTW_PHYS,  FTW_DEPTH,
                              FTW_CHDIR, FTW_MOUNT, FTW_PHYS | FTW_DEPTH | FTW_CHDIR | FTW_MOUNT,
                              1 << 10};
  for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
    for (int fds = 1; fds < 20; fds += 9) {
      SHOW(nftw(at("tree"), visit, fds, flags[f]));
      show_lines();
    }
    SHOW(nftw(at("small"), visit, 5, flags[f]));
    show_lines();
    SHOW(nftw(at("missing"), visit, 5, flags[f]));
    SHOW(nftw(at("small/x"), visit, 5, flags[f]));
    SHOW(nftw(at("tree/"), visit, 5, flags[f]));
    show_lines();
  }
  stop_at = 3;
  SHOW(nftw(at("tree"), visit, 5, 0));
  used = stop_at = 0;
  SHOW(nftw(at("tree"), act, 5, FTW_ACTIONRETVAL));
  show_lines();
  SHOW(nftw(at("tree"), siblings, 5, FTW_ACTIONRETVAL));
  SHOW(used);
  used = 0;
  SHOW(nftw(at("tree"), end_it, 5, FTW_ACTIONRETVAL));
  used = 0;
  SHOW(nftw(at("many"), end_it, 5, 0));
  used = 0;
  SHOW(chdir(root));
  SHOW(nftw("tree", visit, 5, 0));
  show_lines();
  SHOW(nftw(".", act, 5, FTW_ACTIONRETVAL | FTW_PHYS) >= 0);
  used = 0;
  SHOW(nftw("", visit, 5, 0));
}

static int glob_error(const char* path, int err) {
  printf("error %s %s\n", plain(path), strerrorname_np(err));
  return 0;
}
static void* alt_opendir(const char* path) {
  printf("alt opendir %s\n", plain(path));
  return opendir(path);
}
static struct dirent* alt_readdir(void* dir) { return readdir(dir); }
static void alt_closedir(void* dir) { closedir(dir); }

static void glob_flags(void) {
  static const struct {
    const char* pattern;
    int flags;
  } tries[] = {{"*", 0},
               {"*", GLOB_MARK},
               {"*/", 0},
               {"t*/*", 0},
               {"{small,numbers,none}", GLOB_BRACE},
               {"t{ree,x}/{one,two}", GLOB_BRACE},
               {"odd/*", 0},
               {"odd/*", GLOB_PERIOD},
               {"odd/.*", 0},
               {"odd/[.]*", GLOB_PERIOD},
               {"none*", GLOB_NOCHECK},
               {"small", GLOB_NOMAGIC},
               {"none", GLOB_NOMAGIC},
               {"none", 0},
               {"*", GLOB_ONLYDIR},
               {"*", GLOB_NOSORT},
               {"tree/deep/*/e[12]", 0},
               {"odd/\\*", 0},
               {"odd/\\*", GLOB_NOESCAPE},
               {"missing/*", GLOB_ERR},
               {"small/*", GLOB_ERR},
               {"tree/*/..", 0},
               {"*/../small", 0},
               {"many/n0001?", GLOB_MARK},
               {"tree//one", 0},
               {"tree/./o*", 0},
               {"?mall", GLOB_ALTDIRFUNC},
               {"tree/*", GLOB_ALTDIRFUNC | GLOB_MARK}};
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    for (int relative = 0; relative < 2; relative++) {
      glob_t found = {.gl_offs = 2};
      if (tries[i].flags & GLOB_ALTDIRFUNC) {
        found.gl_opendir = alt_opendir, found.gl_readdir = alt_readdir,
        found.gl_closedir = alt_closedir;
        found.gl_stat = (void*)stat, found.gl_lstat = (void*)lstat;
      }
      if (relative) (void)!chdir(root);
      const int flags = tries[i].flags | (i % 5 == 0 ? GLOB_DOOFFS : 0);
      int result =
          glob(relative ? tries[i].pattern : at(tries[i].pattern), flags, glob_error, &found);
      printf("glob %s %x: %d, %zu\n", tries[i].pattern, tries[i].flags, result,
             result == 0 ? found.gl_pathc : 0);
      if (result != 0) continue;
      char** paths = found.gl_pathv + (flags & GLOB_DOOFFS ? 2 : 0);
      if (tries[i].flags & GLOB_NOSORT)
        qsort(paths, found.gl_pathc, sizeof *paths, (void*)({
                int by(const char** a, const char** b) { return strcmp(*a, *b); }
                by;
              }));
      for (size_t k = 0; k < found.gl_pathc; k++) printf("  %s\n", plain(paths[k]));
      globfree(&found);
    }
  }
  setenv("HOME", root, 1);
  glob_t found;
  SHOW(glob("~/sma*", GLOB_TILDE, NULL, &found));
  printf("%s\n", plain(found.gl_pathv[0]));
}

static void real_names(void) {
  static const char* const names[] = {"small",
                                      "tree/../tree/deep//er/../er/e1",
                                      "tree/.",
                                      "small/",
                                      "small/.",
                                      "missing",
                                      "tree/missing/..",
                                      "small/..",
                                      "../missing",
                                      "",
                                      ".",
                                      "tree/deep/er/",
                                      "odd/..foo",
                                      "many/../small"};
  char b[PATH_MAX];
  SHOW(chdir(root));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    errno = 0;
    char* r = realpath(names[i], b);
    printf("realpath %s: %s %s\n", names[i], r == NULL ? "-" : plain(r),
           r == NULL ? strerrorname_np(errno) : "");
    errno = 0;
    r = realpath(at(names[i]), NULL);
    printf("realpath at %s: %s %s\n", names[i], r == NULL ? "-" : plain(r),
           r == NULL ? strerrorname_np(errno) : "");
    r = canonicalize_file_name(names[i]);
    printf("canonical %s: %s\n", names[i], r == NULL ? "-" : plain(r));
  }
}

const struct hostile_case walk_cases[] = {{"fts_options", fts_options},
                                          {"nftw_flags", nftw_flags},
                                          {"glob_flags", glob_flags},
                                          {"real_names", real_names},
                                          {NULL, NULL}};
