// The sidecar dies and another one comes: hits go on, what is missing waits, then fails, and works again.
// PENSTOCK_TEST_SIDECAR is its pid, PENSTOCK_TEST_RESTART a command that starts another.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "tests/shim/check.h"

namespace {

std::vector<unsigned char> ReadAll(int fd) {
  std::vector<unsigned char> bytes(4 << 20);
  size_t done = 0;
  for (ssize_t n; (n = pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done))) != 0;) {
    if (n < 0) return {};
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

std::vector<unsigned char> Plain(const char* name) {
  int fd = open((g_plain + name).c_str(), O_RDONLY);
  std::vector<unsigned char> bytes = ReadAll(fd);
  close(fd);
  return bytes;
}

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void WhileDead(int fd, const std::vector<unsigned char>& want) {
  CHECK(ReadAll(fd) == want, "hits must go on without a sidecar");
  int again = open((g_covered + "/sub/r").c_str(), O_RDONLY);
  CHECK(again >= 0 && ReadAll(again) == Plain("/sub/r"), "a known name opens without a sidecar");
  close(again);
  struct stat info;
  double start = Seconds();
  CHECK(stat((g_covered + "/many/file-1-n").c_str(), &info) == -1 && errno == EIO);
  CHECK(Seconds() - start < 10, "waited %f s", Seconds() - start);
  start = Seconds();
  CHECK(stat((g_covered + "/many/file-1-n").c_str(), &info) == -1 && errno == EIO);
  CHECK(Seconds() - start < 1, "the second failure took %f s", Seconds() - start);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  const char* restart = getenv("PENSTOCK_TEST_RESTART");
  const int pid = atoi(getenv("PENSTOCK_TEST_SIDECAR"));
  const std::vector<unsigned char> want = Plain("/sub/deep/big");
  int fd = open((g_covered + "/sub/deep/big").c_str(), O_RDONLY);
  CHECK(fd >= 0 && ReadAll(fd) == want);
  unsigned char head[1000];
  CHECK(read(fd, head, sizeof head) == sizeof head);
  int r = open((g_covered + "/sub/r").c_str(), O_RDONLY);
  CHECK(ReadAll(r) == Plain("/sub/r"));
  close(r);
  CHECK(kill(pid, SIGKILL) == 0);
  usleep(200000);
  WhileDead(fd, want);
  CHECK(system(restart) == 0);
  struct stat info;
  for (int i = 0; i < 100 && stat((g_covered + "/many/file-1-n").c_str(), &info) != 0; ++i) usleep(200000);
  CHECK(stat((g_covered + "/many/file-1-n").c_str(), &info) == 0 && info.st_size == 2);
  CHECK(ReadAll(fd) == want, "a file that was open before");
  CHECK(read(fd, head, sizeof head) == sizeof head && memcmp(head, want.data() + 1000, sizeof head) == 0,
        "its offset survives");
  int fresh = open((g_covered + "/sub/t5").c_str(), O_RDONLY);
  CHECK(fresh >= 0 && ReadAll(fresh) == Plain("/sub/t5"));
  close(fresh);
  DIR* dir = opendir((g_covered + "/many").c_str());
  int count = 0;
  while (dir != nullptr && readdir(dir) != nullptr) ++count;
  CHECK(count == 302, "%d", count);
  if (dir != nullptr) closedir(dir);
  close(fd);
  return g_failures == 0 ? 0 : 1;
}
