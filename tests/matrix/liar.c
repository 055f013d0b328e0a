// A library before Penstock's that spoils answers in one way ($MATRIX_LIE), so that must_bite.py can prove that the
// matrix finds it. Only what the case's own programs see is spoiled: numbers whose name begins with the covered folder.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int Lies(const char* way) {
  const char* lie = getenv("MATRIX_LIE");
  return lie && strcmp(lie, way) == 0;
}

static int Covered(int fd) {
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, name, sizeof name);
  return n > 17 && memcmp(name, "/run/matrix/data/", 17) == 0;
}

ssize_t read(int fd, void* to, size_t count) {
  static ssize_t (*next)(int, void*, size_t);
  if (!next) next = (ssize_t(*)(int, void*, size_t))dlsym(RTLD_NEXT, "read");
  ssize_t n = next(fd, to, count);
  if (n > 1000 && Lies("byte") && Covered(fd)) ((char*)to)[999] ^= 1;
  if (n > 1000 && Lies("hang") && Covered(fd)) pause();
  if (n > 1000 && Lies("noise") && Covered(fd)) fprintf(stderr, "noise\n");
  if (n > 1000 && Lies("crash") && Covered(fd)) abort();
  if (n > 1000 && Lies("short") && Covered(fd)) return 0;
  if (n > 1000 && Lies("litter") && Covered(fd)) fclose(fopen("litter", "w"));
  return n;
}

int fstatat(int folder, const char* path, struct stat* out, int flags) {
  static int (*next)(int, const char*, struct stat*, int);
  if (!next) next = (int (*)(int, const char*, struct stat*, int))dlsym(RTLD_NEXT, "fstatat");
  int done = next(folder, path, out, flags);
  if (done == 0 && Lies("mode") && strncmp(path, "/run/matrix/data/", 17) == 0) out->st_mode ^= 0100;
  return done;
}
