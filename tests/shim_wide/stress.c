/* Threads that open, duplicate, map, materialise, fork and close at random, and compare every byte: a stale or
 * swapped number would show another file's bytes.
 *   stress FILE OTHER-FILE [SEED] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kThreads = 8, kRounds = 2000, kBuffer = 5000 };

struct file {
  const char* path;
  unsigned char* bytes;
  long size;
};
static struct file files[2];
static volatile int failed;

static void load(struct file* file) {
  int fd = open(file->path, O_RDONLY);
  file->size = lseek(fd, 0, SEEK_END);
  if (fd < 0 || file->size <= 0) exit(2);
  file->bytes = malloc((size_t)file->size);
  for (long at = 0, n; at < file->size; at += n) {
    n = pread(fd, file->bytes + at, (size_t)(file->size - at), at);
    if (n <= 0) exit(2);
  }
  close(fd);
}

static void fail(const char* what, const struct file* file, long at) {
  failed = 1;
  printf("stress: %s of %s at %ld\n", what, file->path, at);
}

static void child_reads(int fd, const struct file* file, long at) {
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    unsigned char one = 0;
    lseek(fd, at, SEEK_SET);
    _exit(read(fd, &one, 1) == 1 && one == file->bytes[at] ? 0 : 1);
  }
  waitpid(pid, &status, 0);
  if (status != 0) fail("a child's read", file, at);
}

/* One open file through one of the ways a number can go; the number that then stands for it. */
static int detour(int fd, unsigned kind, const struct file* file, long at, int round) {
  int other, ends[2];
  if (kind == 0) {
    other = dup(fd);
    close(fd);
    return other;
  }
  if (kind == 1) {
    other = dup2(fd, open("/dev/null", O_RDONLY));
    close(fd);
    return other;
  }
  if (kind == 2) {
    unsigned char* map = mmap(NULL, (size_t)file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED || map[at] != file->bytes[at]) fail("a mapping", file, at);
    if (map != MAP_FAILED) munmap(map, (size_t)file->size);
  } else if (kind == 3) {
    FILE* stream = fdopen(dup(fd), "r");
    if (stream == NULL || fseek(stream, at, SEEK_SET) != 0 || fgetc(stream) != file->bytes[at])
      fail("a stream", file, at);
    if (stream != NULL) fclose(stream);
  } else if (kind == 4 && pipe(ends) == 0) {
    close(ends[0]);
    close(ends[1]);
  } else if (kind == 5 && round % 40 == 0) {
    child_reads(fd, file, at);
  }
  return fd;
}

static void* work(void* argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  unsigned char bytes[kBuffer];
  for (int round = 0; round < kRounds && !failed; round++) {
    const struct file* file = &files[rand_r(&seed) & 1];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    long at = rand_r(&seed) % file->size, want = rand_r(&seed) % kBuffer;
    if (fd < 0) {
      fail("open", file, 0);
      break;
    }
    fd = detour(fd, (unsigned)rand_r(&seed) % 10, file, at, round);
    if (at + want > file->size) want = file->size - at;
    lseek(fd, at, SEEK_SET);
    if (read(fd, bytes, (size_t)want) != want || memcmp(bytes, file->bytes + at, (size_t)want) != 0)
      fail("a read", file, at);
    close(fd);
  }
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t threads[kThreads];
  if (argc < 3) return 2;
  uintptr_t seed = argc > 3 ? (uintptr_t)atol(argv[3]) : (uintptr_t)getpid();
  for (int i = 0; i < 2; i++) {
    files[i].path = argv[1 + i];
    load(&files[i]);
  }
  for (uintptr_t i = 0; i < kThreads; i++) pthread_create(&threads[i], NULL, work, (void*)(seed + i));
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  if (failed) printf("stress: seed %lu\n", (unsigned long)seed);
  return failed;
}
