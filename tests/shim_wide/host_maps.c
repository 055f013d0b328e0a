// What a mapping shows and refuses, call by call.
#include "host.h"
#include <sys/user.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* A child touches an address: its byte, or the signal it dies of. */
static void touch(const char* what, const volatile char* where) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGBUS, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    _exit(*where & 127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  printf("%s: %s %d\n", what, WIFEXITED(status) ? "byte" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void flags_of(const char* name) {
  int fd = open_or_die(at(name));
  long size = lseek(fd, 0, SEEK_END), pages = (size + 4095) / 4096;
  char* map = mmap(NULL, (pages + 2) * 4096, PROT_READ, MAP_SHARED, fd, 0);
  SHOW(map == MAP_FAILED);
  touch("first", map);
  touch("last", map + size - 1);
  touch("behind the end, in its page", map + pages * 4096 - 1);
  touch("a page behind the end", map + pages * 4096);
  SHOW(mprotect(map, 4096, PROT_READ | PROT_WRITE));
  SHOW(mprotect(map, 4096, PROT_NONE));
  touch("no access", map);
  SHOW(mprotect(map, 4096, PROT_READ | PROT_EXEC));
  SHOW(munmap(map + 4096, 4096));
  touch("before the gap", map + 100);
  touch("in the gap", map + 4096);
  touch("behind the gap", map + 8192);
  SHOW(munmap(map, (pages + 2) * 4096));
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, pages * 4096 + (1 << 20));
  SHOW(map == MAP_FAILED);
  touch("far behind the end", map);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, -4096) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 4096, PROT_READ, 0, fd, 0) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_PRIVATE, fd, 0) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_HUGETLB, fd, 0) == MAP_FAILED ? -errno : 0);
  SHOW(mmap(NULL, -4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -errno : 0);
  char* area = mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SHOW(mmap(area + 4096, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == area + 4096);
  SHOW(mmap(area, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED ? -errno : 0);
  touch("fixed", area + 4096);
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_POPULATE | MAP_NORESERVE, fd, 0);
  touch("populated", map);
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE, fd, 0);
  SHOW(map == MAP_FAILED);
  map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_LOCKED, fd, 0);
  SHOW(map == MAP_FAILED);
  int named = open(at(name), O_PATH);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, named, 0) == MAP_FAILED ? -errno : 0);
  int folder = open(root, O_RDONLY | O_DIRECTORY);
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, folder, 0) == MAP_FAILED ? -errno : 0);
  close(named), close(folder), close(fd);
}

static void advice(const char* name) {
  int fd = open_or_die(at(name));
  long size = lseek(fd, 0, SEEK_END);
  char* map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  char* mine = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
  close(fd);
  static const int all[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTFORK,
                            MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
                            MADV_FREE, MADV_REMOVE, MADV_MERGEABLE, 99};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    int result = madvise(map, size & ~4095L, all[i]);
    printf("madvise %d: %d %s\n", all[i], result, result != 0 ? strerrorname_np(errno) : "");
  }
  show_bytes("after advice", map, size);
  SHOW(msync(map, 4096, MS_SYNC));
  SHOW(msync(map, 4096, MS_ASYNC));
  SHOW(msync(map, 4096, MS_SYNC | MS_INVALIDATE));
  SHOW(msync(map + 1, 4096, MS_SYNC));
  unsigned char in[16];
  SHOW(mincore(map, 65536, in));
  SHOW(in[0] & 1);
  SHOW(mlock(map, 4096));
  SHOW(munlock(map, 4096));
  SHOW(posix_madvise(map, 4096, POSIX_MADV_WILLNEED));
  memset(mine, 7, 8192);
  show_bytes("written", mine, 65536);
  SHOW(madvise(mine, 4096, MADV_DONTNEED));
  show_bytes("a page as it was", mine, 65536);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    mine[5000] = 9;
    show_bytes("a child's own", mine, 65536);
    fflush(stdout);
    _exit(0);
  }
  wait_for(pid);
  show_bytes("the parent's", mine, 65536);
  int ends[2];
  SHOW(pipe(ends));
  SHOW(write(ends[1], map + 100, 5000));
  static char buffer[5000];
  show_bytes("written from the mapping", buffer, read(ends[0], buffer, 5000));
  fd = open_or_die(at(name));
  map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  char* moved = mremap(map, size, size + (1 << 20), 0);
  if (moved == MAP_FAILED) moved = mremap(map, size, size + (1 << 20), MREMAP_MAYMOVE);
  touch("grown behind the end", moved + ((size + 4095) & ~4095L));
  moved = mremap(moved, size + (1 << 20), 8192, 0);
  show_bytes("shrunk", moved, 8192);
  SHOW(mremap(moved, 8192, 0, 0) == MAP_FAILED ? -errno : 0);
}

void maps_case(void) {
  flags_of("big");
  flags_of("huge");
  flags_of("small");
  advice("big");
  advice("huge");
  /* Reads past the page cache, as data loaders do them. */
  int fd = open(at("big"), O_RDONLY | O_DIRECT);
  SHOW(fd >= 0);
  SHOW((fcntl(fd, F_GETFL) & O_DIRECT) != 0);
  char* buffer = aligned_alloc(4096, 1 << 20);
  show_bytes("direct", buffer, pread(fd, buffer, 65536, 4096));
  show_bytes("direct, to the end", buffer, pread(fd, buffer, 1 << 20, 0));
  struct iovec two[2] = {{buffer, 4096}, {buffer + 65536, 8192}};
  show_bytes("direct, scattered", buffer, preadv(fd, two, 2, 8192));
  SHOW(read(fd, buffer, 4096));
  SHOW(lseek(fd, 0, SEEK_CUR));
  char* map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
  show_bytes("mapped too", map, 4096);
}
