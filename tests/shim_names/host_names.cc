// Names that change at the origin, and names that are written in many ways: what the process
// remembers of a path must never outlive what the path means. run_names.sh makes the mounts;
// metadata_ttl is one second.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>

#include "tests/shim/check.h"

namespace {

constexpr double kFreshSeconds = 10;  // the time to live, and a slow machine

double Seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// The size that stat shows, or -errno.
long Size(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<long>(info.st_size) : -errno;
}

// The same, of a path that has been asked for often: by stat, open and access, which must agree.
long Known(const std::string& path) {
  long size = Size(path);
  for (int i = 0; i < 20; ++i)
    CHECK(Size(path) == size, "%s: %ld then %ld", path.c_str(), size, Size(path));
  struct stat info;
  int fd = open(path.c_str(), O_RDONLY);
  if (size < 0) {
    CHECK(fd < 0 && errno == -size, "open(%s)", path.c_str());
    CHECK(access(path.c_str(), R_OK) != 0 && errno == -size, "access(%s)", path.c_str());
  } else {
    CHECK(fd >= 0 && fstat(fd, &info) == 0 && (info.st_size == size || S_ISDIR(info.st_mode)), "%s",
          path.c_str());
    CHECK(access(path.c_str(), R_OK) == 0, "access(%s)", path.c_str());
  }
  if (fd >= 0) close(fd);
  return size;
}

// Replaces a file at the origin by one of `size` bytes, as careful programs do.
void Put(const std::string& name, long size) {
  const std::string path = g_plain + name, next = path + ".next";
  FILE* file = fopen(next.c_str(), "w");
  for (long i = 0; i < size; ++i) fputc('p', file);
  fclose(file);
  CHECK(rename(next.c_str(), path.c_str()) == 0);
}

void Refresh(const std::string& path) {
  const std::string command = std::string(getenv("PENSTOCK_TEST_REFRESH")) + " '" + path + "'";
  CHECK(system(command.c_str()) == 0, "%s", command.c_str());
}

// Asks again and again until it is so; within the time to live and what a slow machine needs.
void Becomes(const char* what, const std::function<bool()>& is) {
  for (double end = Seconds() + kFreshSeconds; Seconds() < end;)
    if (is()) return;
  CHECK(false, "%s did not come true", what);
}

void EachMountHasItsOwn() {
  for (int i = 0; i < 50; ++i) {
    CHECK(Size(g_covered + "/a/x") == 1);
    CHECK(Size(g_covered + "/a/inner/x") == 2);
    CHECK(Size(g_covered + "/b/x") == 3);
    CHECK(Size(g_covered + "/a/sub/x") == 4);
    CHECK(Size(g_covered + "/b/sub/x") == 5);
  }
}

// What is not the clean text of a name is not the name's: a slash at its end needs a folder.
void TextsThatAreNotClean() {
  const std::string a = g_covered + "/a";
  for (int i = 0; i < 3; ++i) {
    CHECK(Size(a + "/x") == 1);
    CHECK(Size(a + "//x") == 1);
    CHECK(Size(a + "/./x") == 1);
    CHECK(Size(a + "/sub/../x") == 1);
    CHECK(Size(a + "/sub/../../b/x") == 3);
    CHECK(Size(a + "/x/") == -ENOTDIR);
    CHECK(Size(a + "/x/.") == -ENOTDIR);
    CHECK(Size(a + "/x/..") == -ENOTDIR);
    CHECK(Size(a + "/x/y") == -ENOTDIR);
    CHECK(Size(a + "/sub/") == Size(a + "/sub"));
    CHECK(Size(a + "/nothing/../x") == -ENOENT);
    CHECK(Size(a + "/nothing") == -ENOENT);
    CHECK(Size(a + "/.x") == -ENOENT);
    CHECK(Size(a + "/x.") == -ENOENT);
    CHECK(Size(a) >= 0 && Size(a + "/") == Size(a));
  }
}

void ReplacedAndRefreshed() {
  const std::string name = g_covered + "/a/replaced";
  Put("/a/replaced", 10);
  Refresh(g_covered + "/a");
  CHECK(Known(name) == 10);
  for (long size = 11; size < 16; ++size) {
    Put("/a/replaced", size);
    Refresh(name);
    CHECK(Known(name) == size, "%ld instead of %ld", Known(name), size);
  }
}

void ReplacedAndExpired() {
  const std::string name = g_covered + "/b/expires";
  Put("/b/expires", 20);
  Refresh(g_covered + "/b");
  CHECK(Known(name) == 20);
  Put("/b/expires", 21);
  Becomes("the new size", [&] { return Size(name) == 21; });
  CHECK(Known(name) == 21);
  CHECK(rename((g_plain + "/b/expires").c_str(), (g_plain + "/b/renamed").c_str()) == 0);
  Becomes("the old name's absence", [&] { return Size(name) == -ENOENT; });
  Becomes("the new name", [&] { return Size(g_covered + "/b/renamed") == 21; });
}

void AppearsAndGoes() {
  const std::string name = g_covered + "/a/appears";
  CHECK(Known(name) == -ENOENT);
  Put("/a/appears", 30);
  Becomes("the name", [&] { return Size(name) == 30; });
  CHECK(Known(name) == 30);
  CHECK(unlink((g_plain + "/a/appears").c_str()) == 0);
  Becomes("its absence", [&] { return Size(name) == -ENOENT; });
  CHECK(mkdir((g_plain + "/a/appears").c_str(), 0755) == 0);
  struct stat info;
  Becomes("a folder of that name",
          [&] { return stat(name.c_str(), &info) == 0 && S_ISDIR(info.st_mode); });
  CHECK(rmdir((g_plain + "/a/appears").c_str()) == 0);
}

// A link outside that leads in: its text is no name of ours, and it can be turned elsewhere at any
// time.
void ThroughLinks() {
  const std::string link = g_plain + "/../link";
  struct stat info;
  for (int i = 0; i < 4; ++i) {
    const std::string to = g_covered + (i % 2 == 0 ? "/a/x" : "/b/x");
    unlink(link.c_str());
    CHECK(symlink(to.c_str(), link.c_str()) == 0);
    CHECK(Known(link) == (i % 2 == 0 ? 1 : 3), "link %d: %ld", i, Size(link));
    CHECK(lstat(link.c_str(), &info) == 0 && S_ISLNK(info.st_mode));
    CHECK(lstat(to.c_str(), &info) == 0 && S_ISREG(info.st_mode));
  }
  unlink(link.c_str());
  const std::string folder = g_plain + "/../folder";
  for (int i = 0; i < 4; ++i) {
    unlink(folder.c_str());
    CHECK(symlink((g_covered + (i % 2 == 0 ? "/a" : "/b")).c_str(), folder.c_str()) == 0);
    CHECK(Known(folder + "/sub/x") == (i % 2 == 0 ? 4 : 5));
  }
  unlink(folder.c_str());
}

void FromFolders() {
  for (int i = 0; i < 3; ++i) {
    CHECK(chdir((g_covered + "/a").c_str()) == 0);
    CHECK(Known("x") == 1 && Known("sub/x") == 4 && Known("inner/x") == 2 && Known("../b/x") == 3);
    CHECK(chdir((g_covered + "/b").c_str()) == 0);
    CHECK(Known("x") == 3 && Known("sub/x") == 5 && Known("inner/x") == -ENOENT);
    CHECK(chdir("/") == 0);
    CHECK(Known("x") == -ENOENT);
    CHECK(Known(g_covered + "/a/x") == 1 && Known(g_covered.substr(1) + "/a/x") == 1);
  }
  int fd = open((g_covered + "/b").c_str(), O_RDONLY | O_DIRECTORY);
  struct stat info;
  CHECK(fd >= 0 && fstatat(fd, "x", &info, 0) == 0 && info.st_size == 3);
  CHECK(fstatat(fd, (g_covered + "/a/x").c_str(), &info, 0) == 0 && info.st_size == 1);
  close(fd);
}

void LongNames() {
  const std::string folder = "/a/" + std::string(60, 'd');
  CHECK(mkdir((g_plain + folder).c_str(), 0755) == 0);
  const size_t before = (g_covered + folder + "/").size();
  for (size_t len = 150; len < 170; ++len) {
    const std::string name = folder + "/" + std::string(len - before, 'n');
    Put(name, static_cast<long>(len));
    Put(name.substr(0, name.size() - 1) + "m", static_cast<long>(1000 + len));
  }
  Put(folder + "/" + std::string(250, 'n'), 9);
  Refresh(g_covered + folder);
  Refresh(g_covered + "/a");
  for (int round = 0; round < 3; ++round) {
    for (size_t len = 150; len < 170; ++len) {
      const std::string name = g_covered + folder + "/" + std::string(len - before, 'n');
      CHECK(Size(name) == static_cast<long>(len), "%zu: %ld", len, Size(name));
      CHECK(Size(name.substr(0, len - 1) + "m") == static_cast<long>(1000 + len));
      CHECK(Size(name.substr(0, len - 1) + "o") == -ENOENT);
    }
    CHECK(Size(g_covered + folder + "/" + std::string(250, 'n')) == 9);
    CHECK(Size(g_covered + folder + "/" + std::string(256, 'n')) == -ENAMETOOLONG);
  }
}

// A child knows what its parent knew, and both learn what changes later.
void AcrossFork() {
  const std::string name = g_covered + "/a/forked";
  Put("/a/forked", 40);
  Refresh(g_covered + "/a");
  CHECK(Known(name) == 40);
  int go[2];
  CHECK(pipe(go) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    char byte;
    close(go[1]);
    CHECK(Size(name) == 40);
    if (read(go[0], &byte, 1) != 1) _exit(1);
    CHECK(Known(name) == 41, "the child sees %ld", Size(name));
    CHECK(Known(g_covered + "/b/x") == 3);
    _exit(g_failures == 0 ? 0 : 1);
  }
  Put("/a/forked", 41);
  Refresh(name);
  CHECK(Known(name) == 41);
  CHECK(write(go[1], "g", 1) == 1);
  int status = -1;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%x", status);
  close(go[0]);
  close(go[1]);
}

// The origin changes while nobody serves it: what was known may be shown for its time to live, then
// the new sidecar's word counts.
void AcrossRestart() {
  const std::string name = g_covered + "/b/restarted";
  Put("/b/restarted", 50);
  Refresh(g_covered + "/b");
  CHECK(Known(name) == 50);
  CHECK(kill(atoi(getenv("PENSTOCK_TEST_SIDECAR")), SIGKILL) == 0);
  Put("/b/restarted", 51);
  CHECK(system(getenv("PENSTOCK_TEST_RESTART")) == 0);
  Becomes("the new size", [&] {
    const long size = Size(name);
    CHECK(size == 50 || size == 51 || size == -EIO, "%ld", size);
    return size == 51;
  });
  CHECK(Known(name) == 51);
  EachMountHasItsOwn();
  Put("/b/restarted", 52);
  Refresh(name);
  CHECK(Known(name) == 52);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  EachMountHasItsOwn();
  TextsThatAreNotClean();
  ReplacedAndRefreshed();
  ReplacedAndExpired();
  AppearsAndGoes();
  ThroughLinks();
  FromFolders();
  LongNames();
  AcrossFork();
  AcrossRestart();
  return g_failures == 0 ? 0 : 1;
}
