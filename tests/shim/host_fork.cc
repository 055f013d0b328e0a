// Parent and children share an offset, whatever either of them does with the file.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "tests/shim/check.h"

namespace {

std::vector<unsigned char> g_want;

int OpenBig() {
  int fd = open((g_covered + "/sub/deep/big").c_str(), O_RDONLY);
  CHECK(fd >= 0);
  return fd;
}

void ReadHere(int fd, size_t at, size_t n, const char* who) {
  std::vector<unsigned char> got(n);
  ssize_t r = read(fd, got.data(), n);
  CHECK(r == static_cast<ssize_t>(n) && memcmp(got.data(), g_want.data() + at, n) == 0, "%s at %zu: %zd", who, at, r);
}

template <class Do>
int InChild(Do todo) {
  fflush(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    g_failures = 0;
    todo();
    _exit(g_failures == 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

void Alternate() {
  int fd = OpenBig();
  ReadHere(fd, 0, 100, "parent");
  CHECK(InChild([&] {
          ReadHere(fd, 100, 70000, "child");
          CHECK(lseek(fd, 0, SEEK_CUR) == 70100);
          // A grandchild, and a file of the child's own.
          CHECK(InChild([&] { ReadHere(fd, 70100, 5, "grandchild"); }) == 0);
          int own = OpenBig();
          ReadHere(own, 0, 10, "own");
          close(own);
        }) == 0);
  ReadHere(fd, 70105, 200000, "parent");
  CHECK(InChild([&] { CHECK(lseek(fd, 7, SEEK_SET) == 7); }) == 0);
  ReadHere(fd, 7, 9, "parent after the child's seek");
  // The child closes; the parent reads on, and opens other files meanwhile.
  CHECK(InChild([&] { close(fd); }) == 0);
  for (int i = 0; i < 40; ++i) {
    int other = OpenBig();
    ReadHere(other, 0, 33, "other");
    close(other);
  }
  ReadHere(fd, 16, 9, "parent after the child's close");
  close(fd);
}

// A descriptor that the parent has closed goes on in the child, while the parent opens new files.
void ChildKeeps() {
  int fd = OpenBig();
  ReadHere(fd, 0, 50, "parent");
  int ready[2], go[2];
  CHECK(pipe(ready) == 0 && pipe(go) == 0);
  fflush(nullptr);
  pid_t pid = fork();
  if (pid == 0) {
    char c;
    CHECK(read(go[0], &c, 1) == 1);
    ReadHere(fd, 50, 60000, "child");
    ReadHere(fd, 60050, 60000, "child");
    _exit(g_failures == 0 ? 0 : 1);
  }
  close(fd);
  for (int i = 0; i < 60; ++i) {
    int other = OpenBig();
    ReadHere(other, 0, 21, "other");
    if (i % 2) close(other);
  }
  CHECK(write(go[1], "g", 1) == 1);
  int status = -1;
  waitpid(pid, &status, 0);
  CHECK(status == 0);
}

// One of the sharers needs a real file: all go on at the same offset.
void OneMaterialises() {
  int fd = OpenBig();
  ReadHere(fd, 0, 1000, "parent");
  CHECK(InChild([&] {
          ReadHere(fd, 1000, 1000, "child");
          // flock makes the number real.
          struct flock lock = {};
          lock.l_type = F_RDLCK;
          CHECK(fcntl(fd, F_SETLK, &lock) == 0);
          ReadHere(fd, 2000, 1000, "child, real");
        }) == 0);
  ReadHere(fd, 3000, 1000, "parent, after the child made it real");
  CHECK(lseek(fd, 0, SEEK_CUR) == 4000);
  struct stat a;
  CHECK(fstat(fd, &a) == 0 && a.st_size == static_cast<off_t>(g_want.size()));
  CHECK(InChild([&] { ReadHere(fd, 4000, 10, "child"); }) == 0);
  ReadHere(fd, 4010, 10, "parent");
  close(fd);
}

void Mapped() {
  int fd = OpenBig();
  ReadHere(fd, 0, 100, "before");
  void* map = mmap(nullptr, g_want.size(), PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED && memcmp(map, g_want.data(), g_want.size()) == 0);
  if (map != MAP_FAILED) munmap(map, g_want.size());
  map = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 1 << 20);
  CHECK(map != MAP_FAILED && memcmp(map, g_want.data() + (1 << 20), 4096) == 0);
  if (map != MAP_FAILED) munmap(map, 4096);
  ReadHere(fd, 100, 100, "after");
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  int plain = open((g_plain + "/sub/deep/big").c_str(), O_RDONLY);
  g_want.resize(3000001);
  CHECK(read(plain, g_want.data(), g_want.size()) == static_cast<ssize_t>(g_want.size()));
  close(plain);
  Alternate();
  ChildKeeps();
  Mapped();
  OneMaterialises();
  return g_failures == 0 ? 0 : 1;
}
