/* What file calls cost a static program: medians of single calls, in microseconds. bench/supervise runs it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { kTimes = 2000 };

static double NowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int Compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void Show(const char* name, double* us) {
  qsort(us, kTimes, sizeof us[0], Compare);
  printf("%s %.2f %.2f\n", name, us[kTimes / 2], us[kTimes * 99 / 100]);
}

#define MEASURE(name, ...)             \
  do {                                 \
    for (int i = 0; i < kTimes; i++) { \
      const double start = NowUs();    \
      __VA_ARGS__;                     \
      us[i] = NowUs() - start;         \
    }                                  \
    Show(name, us);                    \
  } while (0)

int main(int argc, char** argv) {
  static double us[kTimes];
  char file[1024], absent[1024], block[4096];
  struct stat st;
  if (argc != 2) return 2;
  snprintf(file, sizeof file, "%s/file", argv[1]);
  snprintf(absent, sizeof absent, "%s/none", argv[1]);
  const int fd = open(file, O_RDONLY);
  if (fd < 0) return 1;
  MEASURE("stat-outside", stat("/etc/passwd", &st));
  MEASURE("open+close-outside", close(open("/etc/passwd", O_RDONLY)));
  MEASURE("stat", stat(file, &st));
  MEASURE("stat-absent", stat(absent, &st));
  MEASURE("open+close", close(open(file, O_RDONLY)));
  MEASURE("fstat", fstat(fd, &st));
  MEASURE("list-100", {
    DIR* dir = opendir(argv[1]);
    while (readdir(dir) != NULL) {
    }
    closedir(dir);
  });
  MEASURE("pread4k", if (pread(fd, block, sizeof block, 0) < 0) return 1);
  MEASURE("getppid", getppid());
  return 0;
}
