// The errno of each call, compared with the plain folder's.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "tests/shim/check.h"

namespace {

std::string Long(size_t n) { return std::string(n, 'n'); }

int Try(const std::string& path, int flags) {
  errno = 0;
  int fd = open(path.c_str(), flags, 0600);
  int err = errno;
  if (fd >= 0) close(fd);
  return fd >= 0 ? 0 : err;
}

int TryStat(const std::string& path) {
  struct stat info;
  errno = 0;
  return stat(path.c_str(), &info) == 0 ? 0 : errno;
}

int TryAccess(const std::string& path, int mode) {
  errno = 0;
  return access(path.c_str(), mode) == 0 ? 0 : errno;
}

void SameAsPlain() {
  const std::vector<std::string> names = {
      "/hello", "/hello/", "/hello/.", "/hello/..", "/hello/x", "/hello/x/y", "/missing", "/missing/", "/missing/x",
      "/missing/../hello", "/sub", "/sub/", "/sub/.", "/sub/..", "/sub/../hello", "/sub/./r", "//sub///r", "/sub/r/..",
      "/sub/missing/../r", "/" + Long(255), "/" + Long(256), "/sub/" + Long(300) + "/x", "/" + Long(200) + "/" + Long(200),
      "", "/", "/.", "/sub/deep/../../hello", "/one byte",
  };
  for (const std::string& name : names) {
    for (int flags : {O_RDONLY, O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW, O_RDONLY | O_CREAT | O_EXCL, O_PATH,
                      O_PATH | O_DIRECTORY}) {
      if ((flags & O_CREAT) != 0 && TryStat(g_plain + name) != 0) continue;  // would create it
      int covered = Try(g_covered + name, flags), plain = Try(g_plain + name, flags);
      CHECK(covered == plain, "open(%s, %#o): %d, plain %d", name.c_str(), flags, covered, plain);
    }
    int covered = TryStat(g_covered + name), plain = TryStat(g_plain + name);
    CHECK(covered == plain, "stat(%s): %d, plain %d", name.c_str(), covered, plain);
    covered = TryAccess(g_covered + name, R_OK);
    plain = TryAccess(g_plain + name, R_OK);
    CHECK(covered == plain, "access(%s): %d, plain %d", name.c_str(), covered, plain);
  }
}

void ReadOnly() {
  const std::string file = g_covered + "/hello", folder = g_covered + "/sub", absent = g_covered + "/absent";
  CHECK(Try(file, O_WRONLY) == EROFS);
  CHECK(Try(file, O_RDWR) == EROFS);
  CHECK(Try(file, O_RDONLY | O_TRUNC) == EROFS);
  CHECK(Try(file, O_WRONLY | O_CREAT | O_APPEND) == EROFS);
  CHECK(Try(file, O_RDONLY | O_CREAT) == 0);
  CHECK(Try(file, O_RDWR | O_CREAT | O_EXCL) == EEXIST);
  CHECK(Try(absent, O_WRONLY | O_CREAT) == EROFS);
  CHECK(Try(absent, O_RDONLY | O_CREAT) == EROFS);
  CHECK(Try(absent + "/x", O_WRONLY | O_CREAT) == ENOENT);
  CHECK(Try(file + "/x", O_WRONLY | O_CREAT) == ENOTDIR);
  CHECK(Try(folder, O_WRONLY) == EISDIR);
  CHECK(Try(folder, O_RDONLY | O_CREAT) == EISDIR);
  CHECK(TryAccess(file, W_OK) == EROFS && TryAccess(folder, W_OK) == EROFS && TryAccess(folder, X_OK | R_OK) == 0);
  CHECK(TryAccess(file, F_OK) == 0 && TryAccess(absent, F_OK) == ENOENT && TryAccess(file, 64) == EINVAL);
  CHECK(creat(file.c_str(), 0600) == -1 && errno == EROFS);
  char byte;
  int fd = open(folder.c_str(), O_RDONLY);
  CHECK(read(fd, &byte, 1) == -1 && errno == EISDIR);
  CHECK(pread(fd, &byte, 1, 0) == -1 && errno == EISDIR);
  close(fd);
}

void PathsOutside() {
  CHECK(Try("/none-such/.." + g_covered + "/hello", O_RDONLY) == ENOENT);
  CHECK(Try("/usr/.." + g_covered + "/hello", O_RDONLY) == 0);
  CHECK(Try("/etc/passwd/.." + g_covered + "/hello", O_RDONLY) == ENOTDIR);
  CHECK(Try(g_covered + "/../data/hello", O_RDONLY) == 0);
  CHECK(Try(g_covered + "/../../penstock-test/data/hello", O_RDONLY) == 0);
  CHECK(Try(g_covered + "/../../etc/passwd", O_RDONLY) == 0);
  CHECK(TryStat(g_covered + "x") == ENOENT && TryStat("/penstock-test") == 0);
  // Relative to a folder above, and through a link outside.
  int root = open("/", O_RDONLY | O_DIRECTORY);
  int fd = openat(root, (g_covered + "/hello").c_str() + 1, O_RDONLY);
  CHECK(fd >= 0, "openat below /");
  close(fd);
  close(root);
  char link[] = "/tmp/penstock-link-XXXXXX";
  CHECK(mkdtemp(link) != nullptr);
  const std::string name = std::string(link) + "/into";
  CHECK(symlink(g_covered.c_str(), name.c_str()) == 0);
  CHECK(Try(name + "/hello", O_RDONLY) == 0);
  CHECK(Try(name + "/missing", O_RDONLY) == ENOENT);
  CHECK(TryStat(name + "/sub/r") == 0 && TryAccess(name + "/hello", R_OK) == 0);
  unlink(name.c_str());
  rmdir(link);
  // Relative to a working directory outside and inside.
  CHECK(chdir("/") == 0 && Try(g_covered.substr(1) + "/hello", O_RDONLY) == 0);
  CHECK(chdir((g_covered + "/sub").c_str()) == 0);
  CHECK(Try("r", O_RDONLY) == 0 && Try("../hello", O_RDONLY) == 0 && Try("../../../etc/passwd", O_RDONLY) == 0);
  CHECK(Try("nothing", O_RDONLY) == ENOENT && TryStat(".") == 0 && TryStat("..") == 0);
  // ".." out of the mount names the disk's own files, also where the kernel does the work.
  char made[] = "/tmp/penstock-out-XXXXXX";
  CHECK(mkdtemp(made) != nullptr);
  const std::string up = std::string("../../..") + made;
  CHECK(mkdir((up + "/new").c_str(), 0700) == 0 && access((std::string(made) + "/new").c_str(), X_OK) == 0);
  CHECK(rename((up + "/new").c_str(), (up + "/newer").c_str()) == 0 && rmdir((up + "/newer").c_str()) == 0);
  CHECK(rmdir(up.c_str()) == 0);
  char cwd[4096];
  CHECK(getcwd(cwd, sizeof cwd) != nullptr && g_covered + "/sub" == cwd, "%s", cwd);
  CHECK(chdir("/") == 0);
}

void ErrnoKept() {
  errno = 4711;
  int fd = open((g_covered + "/hello").c_str(), O_RDONLY);
  char byte;
  struct stat info;
  CHECK(read(fd, &byte, 1) == 1 && fstat(fd, &info) == 0 && stat((g_covered + "/sub").c_str(), &info) == 0);
  close(fd);
  CHECK(errno == 4711, "errno changed without a failure");
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  SameAsPlain();
  ReadOnly();
  PathsOutside();
  ErrnoKept();
  return g_failures == 0 ? 0 : 1;
}
