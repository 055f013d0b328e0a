// Links, and walks over trees.
#include "host.h"

void links_case(void) {
  char b[4096], link[4200];
  int fd = open_or_die(at("tree/one")), dir = open(at("tree"), O_RDONLY | O_DIRECTORY);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  snprintf(link, sizeof link, "/dev/fd/%d", dir);
  n = readlink(link, b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)getpid(), fd);
  printf("%s\n", plain(realpath(link, b)));
  SHOW(readlink(at("small"), b, sizeof b));
  SHOW(readlink(at("missing"), b, sizeof b));
  printf("%s\n", plain(realpath(at("tree/../tree/./deep//er/.."), b)));
  printf("%s\n", plain(realpath(at("."), b)));
  SHOW(realpath(at("missing"), b) == NULL);
  SHOW(errno);
  SHOW(realpath(at("small/x"), b) == NULL);
  SHOW(realpath(at("small/.."), b) == NULL);
  snprintf(link, sizeof link, "/tmp/penstock-link-%d", (int)getpid());
  SHOW(symlink(root, link));
  char through[4300];
  snprintf(through, sizeof through, "%s/tree/one", link);
  printf("%s\n", plain(realpath(through, b)));
  FILE* f = fopen(through, "r");
  SHOW(f != NULL && fgets(b, sizeof b, f) != NULL);
  SHOW(open(through, O_RDONLY) >= 0);
  struct stat st;
  SHOW(stat(through, &st));
  SHOW(st.st_size);
  SHOW(chdir(link));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(unlink(link));
  snprintf(link, sizeof link, "/dev/fd/%d", fd);
  int again = open(link, O_RDONLY);
  show_rest("reopened", again);
}

static int visit(const char* path, const struct stat* st, int type, struct FTW* info) {
  printf("%s %d %d %d %lld\n", plain(path), type, info->base - (int)strlen(root), info->level,
         type == FTW_F ? (long long)st->st_size : 0);
  return 0;
}

static int skip_deep(const char* path, const struct stat* st, int type, struct FTW* info) {
  (void)st, (void)info;
  printf("%s %d\n", plain(path), type);
  return strstr(path, "deep") != NULL ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int by_name(const FTSENT** a, const FTSENT** b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static int visit_old(const char* path, const struct stat* st, int type) {
  (void)st;
  printf("%s %d\n", plain(path), type);
  return 0;
}

/* Lines of a case come in directory order: the runner sorts them. */
/* With FTW_CHDIR the walk stands where the entry is: its bare name leads to it. */
static int visit_there(const char* path, const struct stat* st, int type, struct FTW* info) {
  char here[4096];
  struct stat by_name;
  int found = type == FTW_DP ? 0 : stat(path + info->base, &by_name);
  printf("there %s %d %d %d in %s: %d\n", plain(path), type, info->base > 0, info->level, plain(getcwd(here, sizeof here)), found);
  return 0;
}

void walk_case(void) {
  glob_t found;
  memset(&found, 0, sizeof found);
  SHOW(glob(at("*"), GLOB_MARK, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; i++) printf("glob %s\n", plain(found.gl_pathv[i]));
  SHOW(glob(at("t*/*/e?"), GLOB_APPEND, NULL, &found));
  for (size_t i = 0; i < found.gl_pathc; i++) printf("more %s\n", plain(found.gl_pathv[i]));
  globfree(&found);
  SHOW(glob(at("none*"), 0, NULL, &found));
  SHOW(nftw(at("tree"), visit, 8, FTW_PHYS));
  SHOW(nftw(at("tree"), visit, 8, FTW_DEPTH));
  SHOW(nftw(at("tree"), skip_deep, 8, FTW_ACTIONRETVAL));
  SHOW(nftw(at("missing"), visit, 8, 0));
  SHOW(nftw(at("tree"), visit_there, 8, FTW_CHDIR | FTW_PHYS));
  SHOW(nftw(at("tree"), visit_there, 8, FTW_CHDIR | FTW_DEPTH));
  SHOW(nftw(at("missing"), visit_there, 8, FTW_CHDIR));
  SHOW(chdir(at("tree")));
  SHOW(nftw("deep", visit_there, 8, FTW_CHDIR));
  SHOW(nftw("deep/er", visit_there, 8, FTW_CHDIR));
  char here[4096];
  printf("walked from %s\n", plain(getcwd(here, sizeof here)));
  SHOW(chdir("/"));
  SHOW(ftw(at("tree"), visit_old, 8));
  char top[4096];
  strcpy(top, root);
  char* paths[] = {top, NULL};
  FTS* tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
  FTSENT* entry;
  while ((entry = fts_read(tree)) != NULL) {
    if (strcmp(entry->fts_name, "deep") == 0) fts_set(tree, entry, FTS_SKIP);
    printf("fts %s %d %d %s\n", plain(entry->fts_path), entry->fts_info, entry->fts_level,
           entry->fts_level > 0 ? entry->fts_name : "");
  }
  SHOW(fts_close(tree));
}
