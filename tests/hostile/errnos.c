// Every call that takes a name, on every kind of name: the errno has to be the one of a read-only
// file system.
#include "tests/hostile/host.h"

#include <sys/un.h>

static char long_name[300], too_long[5000];
static const char* names[] = {"small",
                              "small/",
                              "small/.",
                              "small/..",
                              "small/x",
                              "small/x/y",
                              "tree",
                              "tree/",
                              "tree/.",
                              "tree/..",
                              "missing",
                              "missing/",
                              "missing/.",
                              "missing/..",
                              "missing/x",
                              "tree/new",
                              "tree/one",
                              "tree/one/",
                              "tree/../small",
                              "./small",
                              "",
                              ".",
                              "..",
                              "tree//one",
                              "missing/../small",
                              "tree/empty",
                              "small/../tree",
                              long_name,
                              long_name + 1,
                              too_long,
                              "tree/deep/er/e1"};
enum { kNames = sizeof names / sizeof *names };

// How the name is given: absolute, relative to the working directory, relative to a descriptor.
enum way { kAbsolute, kCwd, kDirfd };
static int folder;
static int only_parents;
static int dir_of(enum way way) { return way == kDirfd ? folder : AT_FDCWD; }
static const char* spelled(enum way way, const char* name) {
  static char path[6000];
  if (way != kAbsolute || name[0] == '/') return name;
  if (name[0] == 0) return name;
  snprintf(path, sizeof path, "%s/%s", root, name);
  return path;
}

static void prepare(void) {
  memset(long_name, 'n', 256);  // one too many; from the second on exactly what fits
  for (int i = 0; i < 2500; i++) memcpy(too_long + 2 * i, "./", 2);
  too_long[4998] = 'x', too_long[4999] = 0;
  folder = open(root, O_RDONLY | O_DIRECTORY);
  if (chdir(root) != 0) printf("chdir: %s\n", strerrorname_np(errno));
}

static const char* shown(const char* name) {
  return name == long_name       ? "256 n"
         : name == long_name + 1 ? "255 n"
         : name == too_long      ? "5000 bytes"
                                 : name;
}

#define ON_NAMES(what, call)                                                                \
  for (enum way way = kAbsolute; way <= kDirfd; way++) {                                    \
    for (int i = 0; i < kNames; i++) {                                                      \
      /* Of a name that is too long the kernel hears only after it has refused to write. */ \
      if (names[i] == long_name && only_parents) continue;                                  \
      const char* p = spelled(way, names[i]);                                               \
      int d = dir_of(way);                                                                  \
      (void)d;                                                                              \
      errno = 0;                                                                            \
      long result = (long)(call);                                                           \
      int err = errno;                                                                      \
      printf("%d %s(%s) = %ld %s\n", way, what, shown(names[i]), result,                    \
             result < 0 ? strerrorname_np(err) : "");                                       \
    }                                                                                       \
  }

static void looks(void) {
  static struct stat st;
  static struct statx stx;
  static char b[8192];
  prepare();
  ON_NAMES("stat", fstatat(d, p, &st, 0));
  ON_NAMES("lstat", fstatat(d, p, &st, AT_SYMLINK_NOFOLLOW));
  ON_NAMES("stat empty", fstatat(d, p, &st, AT_EMPTY_PATH | AT_NO_AUTOMOUNT));
  ON_NAMES("stat flags", fstatat(d, p, &st, 0x40));
  ON_NAMES("statx", statx(d, p, AT_STATX_DONT_SYNC, STATX_ALL, &stx));
  ON_NAMES("statx flags", statx(d, p, AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_ALL, &stx));
  ON_NAMES("statx empty", statx(d, p, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_SIZE, &stx));
  ON_NAMES("access F", faccessat(d, p, F_OK, 0));
  ON_NAMES("access R", faccessat(d, p, R_OK, AT_EACCESS));
  ON_NAMES("access W", faccessat(d, p, W_OK, 0));
  ON_NAMES("access RW", faccessat(d, p, R_OK | W_OK, AT_SYMLINK_NOFOLLOW));
  ON_NAMES("access bad", faccessat(d, p, 9, 0));
  ON_NAMES("euidaccess", euidaccess(p, R_OK));
  ON_NAMES("readlink", readlinkat(d, p, b, sizeof b));
  ON_NAMES("readlink 0", readlinkat(d, p, b, 0));
  ON_NAMES("pathconf", pathconf(p, _PC_NAME_MAX));
  ON_NAMES("realpath", names[i] != too_long && realpath(p, b) == NULL ? -1 : 0);
  static struct statvfs vfs;
  ON_NAMES("statvfs", statvfs(p, &vfs));
  ON_NAMES("getxattr", names[i][0] == 'm' ? getxattr(p, "user.x", b, 10) : 0);
  ON_NAMES("opendir", ({
             DIR* dir = opendir(p);
             int e = errno;
             if (dir) closedir(dir);
             errno = e;
             dir ? 0 : -1;
           }));
  ON_NAMES("chdir", ({
             int r = chdir(p), e = errno;
             if (r == 0 && fchdir(folder) != 0) _exit(9);
             errno = e;
             r;
           }));
  ON_NAMES("exec", strstr(p, "tree/") || p[0] == 0 || strstr(p, "miss")
                       ? execveat(d, p, (char*[]){"x", NULL}, NULL, 0)
                       : -3);
}

static void opens(void) {
  static const int flags[] = {O_RDONLY,
                              O_WRONLY,
                              O_RDWR,
                              O_RDONLY | O_CREAT,
                              O_WRONLY | O_CREAT,
                              O_RDWR | O_CREAT | O_EXCL,
                              O_RDONLY | O_CREAT | O_EXCL,
                              O_RDONLY | O_TRUNC,
                              O_WRONLY | O_TRUNC,
                              O_RDONLY | O_APPEND,
                              O_RDONLY | O_DIRECTORY,
                              O_RDWR | O_DIRECTORY,
                              O_PATH,
                              O_PATH | O_DIRECTORY,
                              O_PATH | O_NOFOLLOW,
                              O_PATH | O_RDWR | O_CREAT,
                              O_RDONLY | O_NOFOLLOW,
                              O_TMPFILE | O_RDWR,
                              O_TMPFILE | O_WRONLY | O_EXCL,
                              O_RDONLY | O_NONBLOCK | O_NOCTTY | O_SYNC,
                              O_CREAT | O_NOFOLLOW,
                              O_RDONLY | O_ASYNC};
  prepare();
  for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
    for (enum way way = kAbsolute; way <= kDirfd; way++) {
      for (int i = 0; i < kNames; i++) {
        char what[100];
        if (strcmp(names[i], "..") == 0 && (flags[f] & ~(O_DIRECTORY | O_PATH | O_NOFOLLOW)))
          continue;  // above the mount
        snprintf(what, sizeof what, "%d open %o %.40s", way, flags[f], shown(names[i]));
        show_fd(what, openat(dir_of(way), spelled(way, names[i]), flags[f], 0600));
      }
    }
  }
}

static void changes(void) {
  prepare();
  struct timespec times[2] = {{1, 0}, {2, 0}};
  ON_NAMES("mkdir", mkdirat(d, p, 0700));
  only_parents = 1;
  ON_NAMES("rmdir", unlinkat(d, p, AT_REMOVEDIR));
  ON_NAMES("unlink", unlinkat(d, p, 0));
  ON_NAMES("unlink bad", unlinkat(d, p, 1));
  ON_NAMES("remove", remove(p));
  only_parents = 0;
  ON_NAMES("mknod", mknodat(d, p, S_IFREG | 0600, 0));
  ON_NAMES("mknod bad", mknodat(d, p, S_IFMT, 0));
  ON_NAMES("mkfifo", mkfifoat(d, p, 0600));
  ON_NAMES("symlink", symlinkat("target", d, p));
  ON_NAMES("symlink empty", symlinkat("", d, p));
  ON_NAMES("chmod", fchmodat(d, p, 0600, 0));
  ON_NAMES("chown", fchownat(d, p, 0, 0, 0));
  ON_NAMES("lchown", fchownat(d, p, 0, 0, AT_SYMLINK_NOFOLLOW));
  ON_NAMES("truncate", truncate(p, 1));
  ON_NAMES("truncate -1", truncate(p, -1));
  ON_NAMES("utimensat", utimensat(d, p, times, 0));
  ON_NAMES("utimensat now", utimensat(d, p, NULL, AT_SYMLINK_NOFOLLOW));
  ON_NAMES("creat", creat(p, 0600));
  ON_NAMES("fopen w", strcmp(names[i], "..") && fopen(p, "w") == NULL ? -1 : 0);
  ON_NAMES("fopen a+", strcmp(names[i], "..") && fopen(p, "a+") == NULL ? -1 : 0);
  ON_NAMES("fopen wx", strcmp(names[i], "..") && fopen(p, "wx") == NULL ? -1 : 0);
  ON_NAMES("fopen r+", strcmp(names[i], "..") && fopen(p, "r+") == NULL ? -1 : 0);
  ON_NAMES("bind", ({
             struct sockaddr_un a = {.sun_family = AF_UNIX};
             int s = socket(AF_UNIX, SOCK_STREAM, 0), r = 0, e = 0;
             if (p[0] != 0 && p[strlen(p) - 1] != '/' && strcmp(names[i], "..") &&
                 strlen(p) < sizeof a.sun_path) {
               strcpy(a.sun_path, p);
               r = bind(s, (struct sockaddr*)&a, sizeof a);
               e = errno;
             }
             close(s);
             errno = e;
             r;
           }));
}

static void renames(void) {
  only_parents = 1;
  static const char* const others[] = {
      "small", "tree",  "tree/empty",         "missing",       "new",
      "new/",  "tree/", "missing/x",          "tree/one/x",    ".",
      "..",    "",      "tree/deep/er/below", "/etc/hostname", "/tmp/penstock-never/x"};
  prepare();
  for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
    const char* q = others[o];
    char what[100];
    snprintf(what, sizeof what, "rename to %s", q);
    ON_NAMES(what, renameat(d, p, folder, q));
    snprintf(what, sizeof what, "rename from %s", q);
    ON_NAMES(what, renameat(folder, q, d, p));
    snprintf(what, sizeof what, "exclusive to %s", q);
    ON_NAMES(what, renameat2(d, p, folder, q, RENAME_NOREPLACE));
    snprintf(what, sizeof what, "exchange with %s", q);
    ON_NAMES(what, renameat2(d, p, folder, q, RENAME_EXCHANGE));
    snprintf(what, sizeof what, "link to %s", q);
    ON_NAMES(what, linkat(d, p, folder, q, 0));
    snprintf(what, sizeof what, "link from %s", q);
    ON_NAMES(what, linkat(folder, q, d, p, AT_SYMLINK_FOLLOW));
  }
  SHOW(renameat2(folder, "small", folder, "new", 99));
  SHOW(linkat(folder, "", folder, "new", AT_EMPTY_PATH));
  SHOW(linkat(folder, "small", folder, "new", 1));
}

const struct hostile_case errno_cases[] = {
    {"looks", looks}, {"opens", opens}, {"changes", changes}, {"renames", renames}, {NULL, NULL}};
