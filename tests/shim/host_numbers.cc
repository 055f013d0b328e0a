// Descriptor numbers: lowest free, never stale, and EMFILE when they run out.

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "tests/shim/check.h"

namespace {

std::string g_file;

int Open() {
  int fd = open(g_file.c_str(), O_RDONLY);
  CHECK(fd >= 0);
  return fd;
}

bool ReadsHello(int fd) {
  char got[8] = {};
  return pread(fd, got, 6, 0) == 6 && memcmp(got, "hello\n", 6) == 0;
}

// After `away` took number fd from us, the number must be what the kernel says.
void BecomesPipe(int fd, const char* how) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  CHECK(ends[0] == fd || ends[1] == fd, "%s: expected number %d, got %d and %d", how, fd, ends[0], ends[1]);
  char got[8] = {};
  CHECK(write(ends[1], "pipe", 4) == 4);
  CHECK(read(ends[0], got, 4) == 4 && memcmp(got, "pipe", 4) == 0, "%s: stale entry on %d", how, fd);
  struct stat info;
  CHECK(fstat(ends[0], &info) == 0 && S_ISFIFO(info.st_mode), "%s", how);
  close(ends[0]);
  close(ends[1]);
}

void Closed(int fd) {
  char byte;
  struct stat info;
  CHECK(read(fd, &byte, 1) == -1 && errno == EBADF);
  CHECK(pread(fd, &byte, 1, 0) == -1 && errno == EBADF);
  CHECK(fstat(fd, &info) == -1 && errno == EBADF);
  CHECK(lseek(fd, 0, SEEK_CUR) == -1 && errno == EBADF);
}

void Stale() {
  int fd = Open();
  close(fd);
  Closed(fd);
  BecomesPipe(fd, "close");
  fd = Open();
  close_range(static_cast<unsigned>(fd), ~0u, 0);
  Closed(fd);
  BecomesPipe(fd, "close_range");
  fd = Open();
  closefrom(fd);
  Closed(fd);
  BecomesPipe(fd, "closefrom");
  fd = Open();
  syscall(SYS_close, fd);  // through libc's syscall()
  BecomesPipe(fd, "syscall(close)");
  // dup2 over a covered number, and a covered one over another.
  fd = Open();
  int null = open("/dev/null", O_RDONLY);
  CHECK(dup2(null, fd) == fd);
  char byte;
  CHECK(read(fd, &byte, 1) == 0, "dup2 of /dev/null left the file behind");
  int again = Open();
  CHECK(dup2(again, null) == null && ReadsHello(null));
  CHECK(dup2(again, again) == again && ReadsHello(again));
  CHECK(dup2(999, again) == -1 && errno == EBADF && ReadsHello(again), "a failed dup2 must leave the target");
  close(null);
  CHECK(ReadsHello(again));
  close(again);
  close(fd);
  CHECK(close(fd) == -1 && errno == EBADF);
  CHECK(read(fd, &byte, 1) == -1 && errno == EBADF);
}

void LowestFree() {
  int a = Open(), b = Open(), c = Open();
  CHECK(b == a + 1 && c == b + 1, "%d %d %d", a, b, c);
  close(a);
  int folder = open(g_covered.c_str(), O_RDONLY | O_DIRECTORY);
  CHECK(folder == a, "a folder gets %d, not %d", folder, a);
  close(folder);
  CHECK(Open() == a);
  int flags = fcntl(a, F_GETFD);
  CHECK(flags == 0);
  close(b);
  int e = open(g_file.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(e == b && fcntl(e, F_GETFD) == FD_CLOEXEC);
  CHECK((fcntl(e, F_GETFL) & O_ACCMODE) == O_RDONLY);
  close(a);
  close(b);
  close(c);
}

void RunOut() {
  struct rlimit old, few = {40, 0};
  CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
  few.rlim_max = old.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<int> fds;
    for (;;) {
      int fd = open(g_file.c_str(), O_RDONLY);
      if (fd < 0) break;
      fds.push_back(fd);
    }
    CHECK(errno == EMFILE);
    CHECK(fds.size() >= 25, "only %zu numbers of 40", fds.size());
    for (int fd : fds) CHECK(ReadsHello(fd));
    for (int fd : fds) CHECK(close(fd) == 0);
  }
  CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
}

// Many open at once: more than are kept in hand, more than one lease.
void Many() {
  std::vector<int> fds;
  for (int i = 0; i < 400; ++i) fds.push_back(Open());
  for (int fd : fds) CHECK(ReadsHello(fd));
  for (size_t i = 0; i < fds.size(); i += 2) close(fds[i]);
  for (size_t i = 1; i < fds.size(); i += 2) CHECK(ReadsHello(fds[i]));
  for (size_t i = 1; i < fds.size(); i += 2) close(fds[i]);
}

// Numbers that go from hand to hand between threads: never another file's bytes.
void Race() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 3000; ++i) {
        if (t % 2 == 0) {
          int fd = open(g_file.c_str(), O_RDONLY);
          CHECK(fd >= 0 && ReadsHello(fd));
          close(fd);
        } else {
          int ends[2];
          char got[4] = {};
          CHECK(pipe(ends) == 0 && write(ends[1], "abc", 3) == 3 && read(ends[0], got, 3) == 3 &&
                memcmp(got, "abc", 3) == 0);
          close(ends[0]);
          close(ends[1]);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// VmSize of this process in KiB.
long VirtualKib() {
  FILE* status = fopen("/proc/self/status", "r");
  char line[128];
  long kib = -1;
  while (status != nullptr && fgets(line, sizeof line, status) != nullptr) {
    if (sscanf(line, "VmSize: %ld", &kib) == 1) break;
  }
  if (status != nullptr) fclose(status);
  return kib;
}

// Memory follows the numbers in use, not those that the limits allow; and a number without room for what we
// know of it is refused, never left to the kernel.
void HighNumbers() {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  struct rlimit wanted = {(1u << 20) + 100, (1u << 20) + 100};
  const bool raised = setrlimit(RLIMIT_NOFILE, &wanted) == 0;
  if (!raised) {
    wanted = {limit.rlim_max, limit.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &wanted) == 0);
  }
  const long before = VirtualKib();
  const int fd = Open(), last = static_cast<int>(wanted.rlim_cur) - 1;
  std::vector<int> high;
  for (int at = 1000; at < last && at < 1 << 20; at *= 2) {
    const int duplicate = fcntl(fd, F_DUPFD, at);
    CHECK(duplicate >= at && ReadsHello(duplicate));
    high.push_back(duplicate);
    CHECK(dup2(fd, at + 100) == at + 100 && ReadsHello(at + 100));
    high.push_back(at + 100);
  }
  for (int duplicate : high) CHECK(close(duplicate) == 0);
  const long grown = VirtualKib() - before;
  printf("high numbers: %ld KiB of address space\n", grown);
  CHECK(grown < 12 * 1024, "%ld KiB for %zu numbers", grown, high.size());
  CHECK(dup2(fd, last + 1) == -1 && errno == EBADF);
  CHECK(fcntl(fd, F_DUPFD, last + 1) == -1 && errno == EINVAL);
  if (raised) {
    const int beyond = (1 << 20) + 7;
    const int null = open("/dev/null", O_RDONLY);
    CHECK(dup2(null, beyond) == beyond);
    CHECK(fcntl(fd, F_DUPFD, beyond + 1) == -1 && errno == EMFILE);
    CHECK(dup2(fd, beyond) == -1 && errno == EMFILE);
    char byte;
    CHECK(read(beyond, &byte, 1) == 0, "a dup2 that fails must leave the target");
    CHECK(dup2(beyond, fd) == fd && read(fd, &byte, 1) == 0);
    close(beyond);
    close(null);
  } else {
    printf("the limit can't be raised beyond the table here\n");
  }
  close(fd);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 || raised);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  // Before anything is covered: a program that never is must not pay for what could be.
  const long kib = VirtualKib();
  CHECK(kib > 0 && kib < 40 * 1024, "%ld KiB of address space at the start", kib);
  g_file = g_covered + "/hello";
  LowestFree();
  Stale();
  Many();
  HighNumbers();
  RunOut();
  Race();
  LowestFree();
  return g_failures == 0 ? 0 : 1;
}
