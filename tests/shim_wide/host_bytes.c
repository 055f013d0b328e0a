// Bytes by other ways than read: maps, copies, asynchronous reads.
#include "host.h"

void map_case(void) {
  int fd = open_or_die(at("big"));
  long size = lseek(fd, 0, SEEK_END);
  void* map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
  show_bytes("shared", map, size);
  SHOW(munmap(map, size));
  map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 65536);
  memset(map, 1, 10);
  show_bytes("private", map, 8192);
  SHOW(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(errno);
  SHOW(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(lseek(fd, 5, SEEK_SET));
  map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  show_bytes("after close", map, size);
  pid_t pid = fork();
  if (pid == 0) show_bytes("in a child", map, size), fflush(stdout), _exit(0);
  wait_for(pid);
}

/* A mapping of the first page that grows over the file: of a small file, and of one that is not filled whole. */
void grow_case(void) {
  static const char* const files[] = {"big", "huge"};
  for (int i = 0; i < 2; i++) {
    int fd = open_or_die(at(files[i]));
    long size = lseek(fd, 0, SEEK_END);
    void* map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    show_bytes("a page", map, 4096);
    map = mremap(map, 4096, size, MREMAP_MAYMOVE);
    SHOW(map == MAP_FAILED);
    show_bytes("grown", map, size);
    char* middle = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, size / 2 & ~4095L);
    middle = mremap(middle + 4096, 4096, 65536, MREMAP_MAYMOVE);
    show_bytes("from the middle", middle, 65536);
    map = (void*)syscall(SYS_mremap, map, size, 4096, 0);
    show_bytes("shrunk", map, 4096);
    close(fd);
    map = mremap(map, 4096, 200000, MREMAP_MAYMOVE);
    show_bytes("after close", map, 200000);
  }
}

void copies_case(void) {
  int fd = open_or_die(at("big")), ends[2], pair[2], out = memfd_create("out", 0);
  static char buffer[1 << 20];
  off_t from = 1000;
  SHOW(sendfile(out, fd, &from, 200000));
  SHOW(from);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(sendfile(out, fd, NULL, 300000));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(sendfile(out, fd, NULL, 1 << 30) > 0);
  SHOW(sendfile(out, fd, NULL, 10));
  show_bytes("sent", buffer, pread(out, buffer, sizeof buffer, 0));
  SHOW(lseek(fd, 0, SEEK_SET));
  if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) return;
  SHOW(splice(fd, NULL, ends[1], NULL, 4096, 0));
  show_bytes("spliced", buffer, read(ends[0], buffer, 4096));
  SHOW(lseek(fd, 0, SEEK_CUR));
  /* A full socket takes less than asked: the offset moves by what it took. */
  int again = open_or_die(at("big"));
  long sent = sendfile(pair[0], again, NULL, 1 << 30);
  SHOW(sent > 0);
  SHOW(lseek(again, 0, SEEK_CUR) == sent);
  int in = open_or_die(at("small"));
  ssize_t n = copy_file_range(in, NULL, out, NULL, 100, 0);
  if (n < 0 && errno == EXDEV) n = read(in, buffer, 100);
  SHOW(n);
  SHOW(sendfile(in, fd, NULL, 10));
  SHOW(ftruncate(in, 0));
  SHOW(write(in, "x", 1));
  SHOW(fsync(in));
  SHOW(posix_fadvise(in, 0, 0, POSIX_FADV_WILLNEED));
  SHOW(posix_fadvise(in, 0, 0, 99));
  SHOW(readahead(in, 0, 100));
}

void aio_case(void) {
  int fd = open_or_die(at("big"));
  static char buffer[20000];
  struct aiocb control = {.aio_fildes = fd, .aio_buf = buffer, .aio_nbytes = sizeof buffer, .aio_offset = 70000};
  const struct aiocb* list[1] = {&control};
  SHOW(aio_read(&control));
  SHOW(aio_suspend(list, 1, NULL));
  SHOW(aio_error(&control));
  SHOW(aio_return(&control));
  show_bytes("read", buffer, sizeof buffer);
}
