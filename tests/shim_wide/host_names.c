// Attributes, and calls that would change names.
#include "host.h"

void attributes_case(void) {
  int fd = open_or_die(at("small"));
  struct statvfs st;
  SHOW(fstatvfs(fd, &st));
  SHOW(st.f_namemax);
  SHOW(statvfs(at("missing"), &st));
  SHOW(statvfs(at("small/x"), &st));
  SHOW(pathconf(at("small"), _PC_NAME_MAX));
  SHOW(fpathconf(fd, _PC_PATH_MAX));
  SHOW(pathconf(at("missing"), _PC_NAME_MAX));
  SHOW(getxattr(at("missing"), "user.x", NULL, 0));
  SHOW(listxattr(at("small"), NULL, 0));
  if (!mounted) return;
  struct timespec times[2] = {{0, 0}, {0, 0}};
  if (fchmod(fd, 0600) != -1 || errno != EROFS) printf("fchmod: %d\n", errno);
  if (futimens(fd, times) != -1 || errno != EROFS) printf("futimens: %d\n", errno);
  if (fsetxattr(fd, "user.x", "y", 1, 0) != -1 || errno != ENOTSUP) printf("fsetxattr: %d\n", errno);
  if (fgetxattr(fd, "user.x", NULL, 0) != -1 || errno != ENOTSUP) printf("fgetxattr: %d\n", errno);
  if (inotify_add_watch(inotify_init1(0), at("small"), IN_MODIFY) != -1 || errno != EOPNOTSUPP)
    printf("inotify: %d\n", errno);
  if (!(fstatvfs(fd, &st) == 0 && (st.f_flag & ST_RDONLY))) printf("statvfs is not read-only\n");
}

/* Expects a failure with this errno under a mount; says so where it is another. */
#define REFUSED(call, error)                                                               \
  do {                                                                                     \
    errno = 0;                                                                             \
    if ((call) != -1 || errno != (error))                                                  \
      printf("%s: %s, not %s\n", #call, strerrorname_np(errno), strerrorname_np(error));   \
  } while (0)

void names_case(void) {
  char pattern[4096], local[] = "/tmp/penstock-names-XXXXXX";
  SHOW(mkdir(at("tree"), 0700));
  SHOW(mkdir(at("missing/x"), 0700));
  SHOW(mkdir(at("small/x"), 0700));
  SHOW(unlink(at("small/x")));
  SHOW(chmod(at("missing"), 0600));
  SHOW(truncate(at("missing"), 1));
  SHOW(truncate(at("tree"), 1));
  SHOW(link(at("missing"), at("other")));
  SHOW(link(at("small"), at("numbers")));
  SHOW(symlink("x", at("numbers")));
  SHOW(utime(at("missing"), NULL));
  if (!mounted) return;
  REFUSED(mkdir(at("new"), 0700), EROFS);
  REFUSED(mkdirat(AT_FDCWD, at("new"), 0700), EROFS);
  REFUSED(rmdir(at("tree")), EROFS);
  REFUSED(unlink(at("small")), EROFS);
  REFUSED(unlink(at("tree")), EROFS);
  REFUSED(unlink(at("missing")), EROFS);
  REFUSED(rmdir(at("missing")), EROFS);
  REFUSED(remove(at("small")), EROFS);
  REFUSED(rename(at("small"), at("new")), EROFS);
  REFUSED(rename(at("small"), at("numbers")), EROFS);
  REFUSED(rename(at("small"), "/tmp/penstock-never"), EXDEV);
  REFUSED(rename("/etc/hostname", at("new")), EXDEV);
  REFUSED(link(at("small"), at("new")), EROFS);
  REFUSED(link(at("small"), "/tmp/penstock-never"), EXDEV);
  REFUSED(symlink("x", at("new")), EROFS);
  REFUSED(truncate(at("small"), 1), EROFS);
  REFUSED(chmod(at("small"), 0600), EROFS);
  REFUSED(chown(at("small"), 0, 0), EROFS);
  REFUSED(utime(at("small"), NULL), EROFS);
  REFUSED(utimensat(AT_FDCWD, at("small"), NULL, 0), EROFS);
  REFUSED(mknod(at("new"), S_IFREG, 0), EROFS);
  REFUSED(mkfifo(at("new"), 0600), EROFS);
  REFUSED(open(at("new"), O_CREAT | O_WRONLY, 0600), EROFS);
  REFUSED(open(at("small"), O_RDWR), EROFS);
  REFUSED(open(at("tree"), O_TMPFILE | O_RDWR, 0600), EROFS);
  REFUSED(open(at("tree"), O_TMPFILE | O_RDONLY, 0600), EINVAL);
  REFUSED(setxattr(at("small"), "user.x", "y", 1, 0), ENOTSUP);
  strcpy(pattern, at("fileXXXXXX"));
  REFUSED(mkstemp(pattern), EROFS);
  if (mkdtemp(pattern) != NULL || errno != EROFS) printf("mkdtemp: %d\n", errno);
  REFUSED(creat(at("new"), 0600), EROFS);
  if (fopen(at("new"), "w") != NULL || errno != EROFS) printf("fopen w: %d\n", errno);
  int fd = mkstemp(local);
  if (fd < 0 || unlink(local) != 0) printf("mkstemp in /tmp: %d\n", errno);
}
