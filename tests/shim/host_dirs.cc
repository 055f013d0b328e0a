// Directory streams against the plain folder.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>
#include <vector>

#include "tests/shim/check.h"

namespace {

using Entries = std::map<std::string, unsigned char>;

Entries Drain(DIR* dir) {
  Entries entries;
  errno = 0;
  while (const dirent* entry = readdir(dir)) {
    CHECK(entries.emplace(entry->d_name, entry->d_type).second, "%s twice", entry->d_name);
    CHECK(entry->d_ino != 0);
  }
  CHECK(errno == 0);
  return entries;
}

Entries Names(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  CHECK(dir != nullptr, "%s", path.c_str());
  if (dir == nullptr) return {};
  Entries entries = Drain(dir);
  CHECK(closedir(dir) == 0);
  return entries;
}

void Positions(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  std::vector<std::string> order;
  std::vector<long> places;
  places.push_back(telldir(dir));
  while (const dirent* entry = readdir(dir)) {
    order.push_back(entry->d_name);
    places.push_back(telldir(dir));
  }
  rewinddir(dir);
  for (const std::string& name : order) {
    const dirent* entry = readdir(dir);
    CHECK(entry != nullptr && name == entry->d_name);
  }
  for (size_t i : {order.size() - 1, size_t{0}, order.size() / 2, size_t{1}, order.size()}) {
    seekdir(dir, places[i]);
    const dirent* entry = readdir(dir);
    if (i == order.size()) {
      CHECK(entry == nullptr);
    } else {
      CHECK(entry != nullptr && order[i] == entry->d_name, "place %zu", i);
    }
  }
  CHECK(closedir(dir) == 0);
}

void Descriptors(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  int fd = dirfd(dir);
  CHECK(fd >= 0);
  struct stat a, b;
  CHECK(fstat(fd, &a) == 0 && stat(path.c_str(), &b) == 0 && a.st_ino == b.st_ino && S_ISDIR(a.st_mode));
  CHECK(faccessat(fd, "hello", R_OK, 0) == 0);
  CHECK(fstatat(fd, "hello", &a, 0) == 0 && a.st_size == 6);
  CHECK(closedir(dir) == 0);
  CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
  fd = open(path.c_str(), O_RDONLY | O_DIRECTORY);
  dir = fdopendir(fd);
  CHECK(dir != nullptr && dirfd(dir) == fd);
  CHECK(Drain(dir) == Names(path));
  CHECK(closedir(dir) == 0);
  fd = open((path + "/hello").c_str(), O_RDONLY);
  CHECK(fdopendir(fd) == nullptr && errno == ENOTDIR);
  close(fd);
}

void Scan(const std::string& path, const Entries& want) {
  dirent** list = nullptr;
  int n = scandir(path.c_str(), &list, nullptr, alphasort);
  CHECK(n == static_cast<int>(want.size()), "%d", n);
  Entries got;
  for (int i = 0; i < n; ++i) {
    if (i > 0) CHECK(strcoll(list[i - 1]->d_name, list[i]->d_name) <= 0);
    got.emplace(list[i]->d_name, list[i]->d_type);
    free(list[i]);
  }
  free(list);
  CHECK(got == want);
}

void RawEntries(const std::string& path, const Entries& want) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY);
  char buffer[1000];
  std::set<std::string> got;
  for (ssize_t n; (n = getdents64(fd, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      auto* entry = reinterpret_cast<dirent64*>(buffer + at);
      CHECK(got.insert(entry->d_name).second, "%s twice", entry->d_name);
      at += entry->d_reclen;
    }
  }
  CHECK(got.size() == want.size(), "%zu of %zu", got.size(), want.size());
  close(fd);
}

// Standing above the mount, where nothing is on disk, and from there on: relative names are what
// the absolute ones would be, and nothing is ever made in a place that only we know.
void StandingAbove() {
  const int home = open(".", O_RDONLY | O_DIRECTORY);
  struct stat info;
  char link[] = "/tmp/penstock-link-XXXXXX";
  CHECK(mkdtemp(link) != nullptr);
  const std::string name = std::string(link) + "/link";
  CHECK(symlink("nowhere", name.c_str()) == 0);
  const int above = open("/penstock-test", O_RDONLY | O_DIRECTORY);
  CHECK(above >= 0 && chdir("/penstock-test") == 0);
  CHECK(open("made", O_CREAT | O_RDWR, 0600) == -1 && errno == ENOENT);
  CHECK(openat(above, "made", O_CREAT | O_RDWR, 0600) == -1 && errno == ENOENT);
  CHECK(mkdir("made", 0700) == -1 && errno == ENOENT);
  CHECK(mkdirat(above, "made", 0700) == -1 && errno == ENOENT);
  CHECK(symlink("nowhere", "made") == -1 && errno == ENOENT);
  CHECK(fopen("made", "w") == nullptr && errno == ENOENT);
  CHECK(lstat("made", &info) == -1 && errno == ENOENT);
  CHECK(access("data/hello", R_OK) == 0 && faccessat(above, "data/hello", R_OK, 0) == 0);
  // ".." leads to the disk, where a link is a link.
  CHECK(stat("../tmp", &info) == 0 && S_ISDIR(info.st_mode));
  CHECK(lstat((".." + name).c_str(), &info) == 0 && S_ISLNK(info.st_mode), "mode %o", info.st_mode);
  CHECK(fstatat(above, (".." + name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(info.st_mode));
  CHECK(chdir("data/sub") == 0);
  CHECK(lstat(("../../.." + name).c_str(), &info) == 0 && S_ISLNK(info.st_mode), "mode %o",
        info.st_mode);
  CHECK(stat(("../../.." + name).c_str(), &info) == -1 && errno == ENOENT);
  CHECK(chdir("../..") == 0 && access("data/hello", R_OK) == 0);
  CHECK(chdir("..") == 0 && access("tmp", F_OK) == 0);
  CHECK(fchdir(home) == 0);
  CHECK(unlink(name.c_str()) == 0 && rmdir(link) == 0);
  close(home);
  close(above);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  for (const char* name : {"", "/sub", "/many", "/sub/deep", "/sub/../many", "/many/"}) {
    Entries covered = Names(g_covered + name), plain = Names(g_plain + name);
    if (strcmp(name, "") == 0) {  // a folder without a file in it: an object store may not know it
      covered.erase("none-in-here");
      plain.erase("none-in-here");
    }
    CHECK(covered == plain, "%s: %zu names, plain %zu", name, covered.size(), plain.size());
  }
  Entries many = Names(g_plain + "/many");
  Positions(g_covered + "/many");
  Descriptors(g_covered);
  Scan(g_covered + "/many", many);
  RawEntries(g_covered + "/many", many);
  CHECK(opendir((g_covered + "/hello").c_str()) == nullptr && errno == ENOTDIR);
  CHECK(opendir((g_covered + "/missing").c_str()) == nullptr && errno == ENOENT);
  // Above the mount, where nothing is on disk.
  Entries above = Names("/penstock-test");
  CHECK(above.size() == 3 && above.count("data") == 1);
  CHECK(Names("/").size() > 5);
  StandingAbove();
  return g_failures == 0 ? 0 : 1;
}
