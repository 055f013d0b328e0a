// Random operations against a plain directory as the reference model.
//
//   random_ops --plain DIR --covered DIR [--ops N] [--seed S] [--workers N] [--slack 1]
//
// --workers: so many processes, each with its own seed (the first one's, and those that follow it)
// and N operations.
// --slack 1: one more thread reads other files and compares them meanwhile, so that threads meet.
//
// Both directories hold the same tree; the second lies under a covered prefix when this program
// runs through the shim. Each step does the same call on both sides and compares result, errno,
// bytes and the resulting offset. It knows nothing of Penstock: run without the shim on two copies
// it must pass too. The first difference ends the run with the seed and the step, exit 1.
#include <aio.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include <algorithm>
#include <atomic>
#include <clocale>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Options {
  std::string plain, covered, self;
  std::uint64_t ops = 20'000, seed = 0, workers = 1;
  bool slack = false;
};

std::mt19937_64 g_random;
std::uint64_t g_seed, g_step;
const char* g_what = "";

std::uint64_t Below(std::uint64_t n) { return n == 0 ? 0 : g_random() % n; }

[[noreturn]] void Differ(const std::string& text) {
  fprintf(stderr, "DIFFERENCE seed=%llu step=%llu in %s: %s\n", (unsigned long long)g_seed,
          (unsigned long long)g_step, g_what, text.c_str());
  exit(1);
}

void Same(long long plain, int plain_errno, long long covered, int covered_errno, const std::string& where) {
  if (plain != covered || (plain < 0 && plain_errno != covered_errno)) {
    Differ(where + ": plain " + std::to_string(plain) + " (" + strerror(plain < 0 ? plain_errno : 0) +
           "), covered " + std::to_string(covered) + " (" + strerror(covered < 0 ? covered_errno : 0) + ")");
  }
}

// One open file on both sides.
struct Pair {
  int plain, covered;
  std::string name;
  bool directory;
};
std::vector<Pair> g_open;
std::vector<std::string> g_files, g_directories, g_names;
Options g_options;

void Walk(const std::string& relative) {
  std::string path = g_options.plain + (relative.empty() ? "" : "/" + relative);
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) Differ("cannot read the plain tree " + path);
  while (dirent* entry = readdir(dir)) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    std::string child = relative.empty() ? name : relative + "/" + name;
    struct stat st;
    if (lstat((g_options.plain + "/" + child).c_str(), &st) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      g_directories.push_back(child);
      Walk(child);
    } else {
      g_files.push_back(child);
    }
  }
  closedir(dir);
}

const std::string& Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

// A name, sometimes written in an odd way, sometimes absent.
std::string PickName() {
  std::string name = Pick(g_names);
  switch (Below(12)) {
    case 0: return name + "/absent";
    case 1: return name + "x";
    case 2: return "./" + name;
    case 3: return name.empty() ? "." : name + "/.";
    case 4: return "absent/../" + name;
    case 5: return g_directories.empty() ? name : Pick(g_directories) + "/../" + name;
    case 6: return name + "/";
    case 7: return "/" + name;
    case 8: return name + "/" + std::string(256, 'n');
    default: return name;
  }
}
std::string Plain(const std::string& name) { return g_options.plain + "/" + name; }
std::string Covered(const std::string& name) { return g_options.covered + "/" + name; }

Pair* PickOpen() { return g_open.empty() ? nullptr : &g_open[Below(g_open.size())]; }

void CompareBytes(const std::vector<char>& a, const std::vector<char>& b, long long n, const std::string& where) {
  if (n <= 0) return;
  if (memcmp(a.data(), b.data(), static_cast<size_t>(n)) != 0) {
    long long at = 0;
    while (a[static_cast<size_t>(at)] == b[static_cast<size_t>(at)]) at++;
    Differ(where + ": bytes differ at " + std::to_string(at) + " of " + std::to_string(n));
  }
}

std::uint64_t SizeOf(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
}
std::uint64_t PickLength() {
  static const std::uint64_t kLengths[] = {0, 1, 7, 511, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 1 << 20};
  return Below(3) == 0 ? Below(200'000) : kLengths[Below(std::size(kLengths))];
}
std::uint64_t PickOffset(std::uint64_t size) {
  switch (Below(6)) {
    case 0: return size;
    case 1: return size + Below(10'000);
    case 2: return size == 0 ? 0 : size - 1;
    case 3: return Below(size / 65536 + 1) * 65536;
    default: return Below(size + 1);
  }
}

void StepOpen() {
  g_what = "open";
  if (g_open.size() > 40) {
    Pair& victim = g_open[Below(g_open.size())];
    int a = close(victim.plain), b = close(victim.covered);
    Same(a, errno, b, errno, "close " + victim.name);
    victim = g_open.back();
    g_open.pop_back();
  }
  static const int kFlags[] = {O_RDONLY, O_RDONLY, O_RDONLY, O_RDONLY | O_CLOEXEC, O_RDONLY | O_DIRECTORY,
                               O_RDONLY | O_NOFOLLOW, O_RDONLY | O_NONBLOCK};
  int flags = kFlags[Below(std::size(kFlags))];
  std::string name = PickName();
  errno = 0;
  int a = open(Plain(name).c_str(), flags), ea = errno;
  errno = 0;
  int b = open(Covered(name).c_str(), flags), eb = errno;
  Same(a < 0 ? -1 : 0, ea, b < 0 ? -1 : 0, eb, "open " + name + " flags " + std::to_string(flags));
  if (a < 0) return;
  struct stat st;
  fstat(a, &st);
  g_open.push_back({a, b, name, S_ISDIR(st.st_mode)});
}

void StepClose() {
  g_what = "close";
  if (g_open.empty()) return;
  size_t i = Below(g_open.size());
  int a = close(g_open[i].plain), b = close(g_open[i].covered);
  Same(a, errno, b, errno, g_open[i].name);
  errno = 0;
  if (!g_options.slack && (fcntl(g_open[i].covered, F_GETFD) != -1 || errno != EBADF))
    Differ("number still open after close");
  g_open[i] = g_open.back();
  g_open.pop_back();
}

void StepRead() {
  g_what = "read";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  std::uint64_t n = PickLength();
  std::vector<char> a(n + 1), b(n + 1);
  long long x = read(p->plain, a.data(), n);
  int ex = errno;
  long long y = read(p->covered, b.data(), n);
  Same(x, ex, y, errno, "read " + std::to_string(n) + " of " + p->name);
  CompareBytes(a, b, x, p->name);
}

void StepPread() {
  g_what = "pread";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  std::uint64_t n = PickLength(), at = PickOffset(SizeOf(p->plain));
  if (Below(50) == 0) at = static_cast<std::uint64_t>(-1);
  std::vector<char> a(n + 1), b(n + 1);
  long long x = pread(p->plain, a.data(), n, static_cast<off_t>(at));
  int ex = errno;
  long long y = pread(p->covered, b.data(), n, static_cast<off_t>(at));
  Same(x, ex, y, errno, "pread " + std::to_string(n) + "@" + std::to_string(at) + " of " + p->name);
  CompareBytes(a, b, x, p->name);
}

void StepVector() {
  g_what = "readv/preadv";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  size_t parts = 1 + Below(5);
  std::vector<std::vector<char>> a(parts), b(parts);
  std::vector<iovec> va(parts), vb(parts);
  for (size_t i = 0; i < parts; i++) {
    std::uint64_t n = Below(3) == 0 ? 0 : PickLength() % 70'000;
    a[i].resize(n + 1);
    b[i].resize(n + 1);
    va[i] = {a[i].data(), n};
    vb[i] = {b[i].data(), n};
  }
  std::uint64_t at = PickOffset(SizeOf(p->plain));
  int how = static_cast<int>(Below(3)), count = static_cast<int>(parts);
  auto call = [&](int fd, iovec* v) -> long long {
    if (how == 0) return readv(fd, v, count);
    if (how == 1) return preadv(fd, v, count, static_cast<off_t>(at));
    return preadv2(fd, v, count, Below(2) == 0 ? static_cast<off_t>(at) : static_cast<off_t>(at), 0);
  };
  long long x = call(p->plain, va.data());
  int ex = errno;
  auto state = g_random;
  long long y = call(p->covered, vb.data());
  g_random = state;
  Same(x, ex, y, errno, p->name);
  for (size_t i = 0; i < parts; i++) {
    long long n = std::min<long long>(std::max<long long>(x, 0), static_cast<long long>(va[i].iov_len));
    CompareBytes(a[i], b[i], n, p->name);
    x -= n;
  }
}

void StepSeek() {
  g_what = "lseek";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  static const int kWhence[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_SET, 99, SEEK_DATA, SEEK_HOLE};
  int whence = kWhence[Below(std::size(kWhence))];
  auto size = static_cast<off_t>(SizeOf(p->plain));
  off_t to = whence == SEEK_SET ? static_cast<off_t>(PickOffset(SizeOf(p->plain)))
                                : static_cast<off_t>(Below(200'000)) - 100'000;
  if (whence == SEEK_END && Below(2) == 0) to = -static_cast<off_t>(Below(static_cast<std::uint64_t>(size) + 5));
  off_t x = lseek(p->plain, to, whence);
  int ex = errno;
  off_t y = lseek(p->covered, to, whence);
  Same(x, ex, y, errno, p->name + " to " + std::to_string(to) + " whence " + std::to_string(whence));
}

void CompareStat(int x, int ex, const struct stat& a, int y, int ey, const struct stat& b, const std::string& where) {
  Same(x, ex, y, ey, where);
  if (x != 0) return;
  if ((a.st_mode & S_IFMT) != (b.st_mode & S_IFMT)) Differ(where + ": file type differs");
  if (S_ISREG(a.st_mode) && a.st_size != b.st_size) Differ(where + ": size differs");
  if (S_ISREG(a.st_mode) && a.st_mtim.tv_sec != b.st_mtim.tv_sec) Differ(where + ": mtime differs");
}

void StepStat() {
  g_what = "stat";
  struct stat a{}, b{};
  std::string name = PickName();
  int how = static_cast<int>(Below(4));
  auto call = [&](const std::string& path, struct stat* st) {
    errno = 0;
    if (how == 0) return stat(path.c_str(), st);
    if (how == 1) return lstat(path.c_str(), st);
    if (how == 2) return fstatat(AT_FDCWD, path.c_str(), st, 0);
    return access(path.c_str(), R_OK);
  };
  int x = call(Plain(name), &a), ex = errno;
  int y = call(Covered(name), &b), ey = errno;
  if (how == 3) {
    Same(x, ex, y, ey, "access " + name);
  } else {
    CompareStat(x, ex, a, y, ey, b, name);
  }
}

void StepFstat() {
  g_what = "fstat";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  struct stat a{}, b{};
  int x = fstat(p->plain, &a), y = fstat(p->covered, &b);
  CompareStat(x, errno, a, y, errno, b, p->name);
  struct pollfd pa = {p->plain, POLLIN, 0}, pb = {p->covered, POLLIN, 0};
  x = poll(&pa, 1, 0);
  y = poll(&pb, 1, 0);
  if (x != y || pa.revents != pb.revents) Differ("poll of " + p->name);
  x = fcntl(p->plain, F_GETFL);
  y = fcntl(p->covered, F_GETFL);
  if ((x & O_ACCMODE) != (y & O_ACCMODE)) Differ("F_GETFL of " + p->name);
  char byte = 0;
  ssize_t wx = write(p->plain, &byte, 1);
  int ex = errno;
  ssize_t wy = write(p->covered, &byte, 1);
  Same(wx, ex, wy, errno, "write to a read-only fd of " + p->name);
}

void StepDup() {
  g_what = "dup";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  Pair copy = *p;
  switch (Below(4)) {
    case 0:
      copy.plain = dup(p->plain);
      copy.covered = dup(p->covered);
      break;
    case 1:
      copy.plain = fcntl(p->plain, F_DUPFD, 100);
      copy.covered = fcntl(p->covered, F_DUPFD, 100);
      break;
    case 2:
      copy.plain = fcntl(p->plain, F_DUPFD_CLOEXEC, 3);
      copy.covered = fcntl(p->covered, F_DUPFD_CLOEXEC, 3);
      break;
    default: {  // over another open pair: both sides replace what was there
      Pair& victim = g_open[Below(g_open.size())];
      if (victim.plain == p->plain) return;
      if (dup2(p->plain, victim.plain) != victim.plain || dup2(p->covered, victim.covered) != victim.covered)
        Differ("dup2");
      victim.name = p->name;
      victim.directory = p->directory;
      return;
    }
  }
  if (copy.plain < 0 || copy.covered < 0) Differ("dup failed");
  g_open.push_back(copy);
}

void StepList() {
  g_what = "readdir";
  if (g_directories.empty()) return;
  std::string name = Below(5) == 0 ? "" : Pick(g_directories);
  auto list = [](const std::string& path, std::vector<std::string>* names) {
    DIR* dir = opendir(path.c_str());
    if (dir == nullptr) return -1;
    while (dirent* entry = readdir(dir)) {
      names->push_back(std::string(entry->d_name) + (entry->d_type == DT_DIR ? "/" : ""));
    }
    long end = telldir(dir);
    rewinddir(dir);
    size_t again = 0;
    while (readdir(dir) != nullptr) again++;
    if (again != names->size()) Differ("rewinddir gave another count");
    seekdir(dir, end);
    if (readdir(dir) != nullptr) Differ("seekdir to the end is not the end");
    closedir(dir);
    std::sort(names->begin(), names->end());
    return 0;
  };
  std::vector<std::string> a, b;
  int x = list(Plain(name), &a), y = list(Covered(name), &b);
  Same(x, errno, y, errno, name);
  if (a != b) Differ("names of " + name + " differ: " + std::to_string(a.size()) + " and " + std::to_string(b.size()));
}

void StepMap() {
  g_what = "mmap";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  std::uint64_t size = SizeOf(p->plain);
  if (size == 0) return;
  std::uint64_t at = Below(size / 4096 + 1) * 4096, n = 1 + Below(200'000);
  int kind = Below(2) == 0 ? MAP_PRIVATE : MAP_SHARED;
  if (at >= size) return;
  void* a = mmap(nullptr, n, PROT_READ, kind, p->plain, static_cast<off_t>(at));
  void* b = mmap(nullptr, n, PROT_READ, kind, p->covered, static_cast<off_t>(at));
  if (a == MAP_FAILED || b == MAP_FAILED) Differ("mmap of " + p->name);
  if (memcmp(a, b, std::min<std::uint64_t>(n, size - at)) != 0) Differ("mapped bytes of " + p->name);
  munmap(a, n);
  munmap(b, n);
}

void StepSendfile() {
  g_what = "sendfile";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  int pa[2], pb[2];
  if (pipe(pa) != 0 || pipe(pb) != 0) Differ("pipe");
  std::uint64_t n = 1 + Below(40'000);
  bool own_offset = Below(2) == 0;
  off_t oa = static_cast<off_t>(PickOffset(SizeOf(p->plain))), ob = oa;
  ssize_t x = sendfile(pa[1], p->plain, own_offset ? &oa : nullptr, n);
  int ex = errno;
  ssize_t y = sendfile(pb[1], p->covered, own_offset ? &ob : nullptr, n);
  Same(x, ex, y, errno, p->name);
  if (oa != ob) Differ("sendfile's offset");
  if (x > 0) {
    std::vector<char> a(static_cast<size_t>(x)), b(static_cast<size_t>(x));
    if (read(pa[0], a.data(), a.size()) != x || read(pb[0], b.data(), b.size()) != x) Differ("pipe");
    CompareBytes(a, b, x, p->name);
  }
  for (int fd : {pa[0], pa[1], pb[0], pb[1]}) close(fd);
}

void StepStdio() {
  g_what = "stdio";
  std::string name = PickName();
  FILE* a = fopen(Plain(name).c_str(), "r");
  int ex = errno;
  FILE* b = fopen(Covered(name).c_str(), "r");
  Same(a == nullptr ? -1 : 0, ex, b == nullptr ? -1 : 0, errno, name);
  if (a == nullptr) return;
  for (int i = 0; i < 5; i++) {
    std::vector<char> x(70'000), y(70'000);
    size_t n = Below(60'000);
    switch (Below(4)) {
      case 0: {
        size_t r = fread(x.data(), 1, n, a), s = fread(y.data(), 1, n, b);
        if (r != s) Differ("fread of " + name);
        CompareBytes(x, y, static_cast<long long>(r), name);
        break;
      }
      case 1: {
        char* r = fgets(x.data(), static_cast<int>(n + 2), a);
        char* s = fgets(y.data(), static_cast<int>(n + 2), b);
        if ((r == nullptr) != (s == nullptr) || (r != nullptr && strcmp(r, s) != 0)) Differ("fgets of " + name);
        break;
      }
      case 2: {
        long to = static_cast<long>(Below(100'000));
        if (fseek(a, to, SEEK_SET) != fseek(b, to, SEEK_SET) || ftell(a) != ftell(b)) Differ("fseek of " + name);
        break;
      }
      default: {
        int r = fgetc(a), s = fgetc(b);
        if (r != s || ungetc(r, a) != ungetc(s, b)) Differ("fgetc of " + name);
      }
    }
  }
  fclose(a);
  fclose(b);
}

// A child reads on from the shared offset; the parent goes on where it stopped.
void StepFork() {
  g_what = "fork";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  size_t n = 1 + Below(5000);
  pid_t child = fork();
  if (child == 0) {
    std::vector<char> a(n), b(n);
    ssize_t x = read(p->plain, a.data(), n), y = read(p->covered, b.data(), n);
    if (x != y || (x > 0 && memcmp(a.data(), b.data(), static_cast<size_t>(x)) != 0)) _exit(1);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) Differ("a forked child read other bytes of " + p->name);
  if (lseek(p->plain, 0, SEEK_CUR) != lseek(p->covered, 0, SEEK_CUR)) Differ("offset after fork of " + p->name);
}

void StepRelative() {
  g_what = "relative paths";
  if (g_directories.empty()) return;
  std::string directory = Pick(g_directories);
  std::string name = Below(2) == 0 ? "../" + Pick(g_names) : Pick(g_names);
  int a = open(Plain(directory).c_str(), O_RDONLY | O_DIRECTORY);
  int b = open(Covered(directory).c_str(), O_RDONLY | O_DIRECTORY);
  if (a < 0 || b < 0) Differ("opening directory " + directory);
  struct stat x{}, y{};
  int r = fstatat(a, name.c_str(), &x, 0), er = errno;
  int s = fstatat(b, name.c_str(), &y, 0), es = errno;
  CompareStat(r, er, x, s, es, y, directory + " + " + name);
  int home = open(".", O_RDONLY | O_DIRECTORY);
  bool by_fd = Below(2) == 0;
  auto in = [&](int fd, const std::string& path) { return by_fd ? fchdir(fd) : chdir(path.c_str()); };
  int u = in(a, Plain(directory)), ru = access(name.c_str(), F_OK), eu = errno;
  int v = in(b, Covered(directory)), rv = access(name.c_str(), F_OK), ev = errno;
  char cwd[8192];
  if (getcwd(cwd, sizeof cwd) == nullptr || std::string(cwd) != Covered(directory))
    Differ(std::string("getcwd says ") + cwd + " in " + directory);
  Same(u, 0, v, 0, "chdir " + directory);
  Same(ru, eu, rv, ev, "access in " + directory + " of " + name);
  if (fchdir(home) != 0) Differ("fchdir home");
  for (int fd : {a, b, home}) close(fd);
}

// Mappings that are written to privately, grow, and outlive their number.
void StepRemap() {
  g_what = "mremap";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  std::uint64_t size = SizeOf(p->plain);
  if (size < 3 * 4096) return;
  const std::uint64_t at = Below(size / 4096 - 1) * 4096,
                      more = std::min<std::uint64_t>(size - at, 4096 + Below(300'000));
  auto* a = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, p->plain, static_cast<off_t>(at)));
  auto* b = static_cast<char*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, p->covered, static_cast<off_t>(at)));
  if (a == MAP_FAILED || b == MAP_FAILED) Differ("mmap of " + p->name);
  a[7] = b[7] = 'x';
  a = static_cast<char*>(mremap(a, 4096, more, MREMAP_MAYMOVE));
  b = static_cast<char*>(mremap(b, 4096, more, MREMAP_MAYMOVE));
  if (a == MAP_FAILED || b == MAP_FAILED) Differ("mremap of " + p->name);
  if (memcmp(a, b, more) != 0) Differ("remapped bytes of " + p->name);
  if (madvise(a, more, MADV_DONTNEED) != madvise(b, more, MADV_DONTNEED)) Differ("madvise");
  if (memcmp(a, b, more) != 0) Differ("bytes after MADV_DONTNEED of " + p->name);
  if (msync(a, more, MS_ASYNC) != msync(b, more, MS_ASYNC)) Differ("msync");
  munmap(a, more);
  munmap(b, more);
}

// Bytes by calls that copy inside the kernel; copy_file_range may say that it is between two file
// systems.
void StepCopies() {
  g_what = "splice, copy_file_range";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  const std::uint64_t n = 1 + Below(30'000);
  const auto from = static_cast<off_t>(PickOffset(SizeOf(p->plain)));
  int pa[2], pb[2];
  if (pipe(pa) != 0 || pipe(pb) != 0) Differ("pipe");
  off_t oa = from, ob = from;
  const bool own = Below(2) == 0;
  ssize_t x = splice(p->plain, own ? &oa : nullptr, pa[1], nullptr, n, SPLICE_F_NONBLOCK);
  int ex = errno;
  ssize_t y = splice(p->covered, own ? &ob : nullptr, pb[1], nullptr, n, SPLICE_F_NONBLOCK);
  const int ey = errno;
  // How much a pipe takes at once depends on how the pages lie: both are brought to the same place.
  if ((x < 0) != (y < 0) || (x == 0) != (y == 0)) Same(x, ex, y, ey, "splice of " + p->name);
  if (x > 0) {
    const auto same = static_cast<size_t>(std::min(x, y));
    std::vector<char> a(static_cast<size_t>(x)), b(static_cast<size_t>(y));
    if (read(pa[0], a.data(), a.size()) != x || read(pb[0], b.data(), b.size()) != y)
      Differ("pipe");
    CompareBytes(a, b, static_cast<long long>(same), p->name);
    if (!own) lseek(p->plain, y - x, SEEK_CUR);
  }
  const int memory = memfd_create("copy", MFD_CLOEXEC);
  oa = from;
  x = copy_file_range(p->covered, &oa, memory, nullptr, n, 0);
  if (x < 0 && errno != EXDEV) Differ("copy_file_range of " + p->name + ": " + strerror(errno));
  for (int fd : {pa[0], pa[1], pb[0], pb[1], memory}) close(fd);
  x = readahead(p->plain, from, n), y = readahead(p->covered, from, n);
  if (x != y) Differ("readahead of " + p->name);
  if (posix_fadvise(p->plain, from, 0, POSIX_FADV_WILLNEED) !=
      posix_fadvise(p->covered, from, 0, POSIX_FADV_WILLNEED))
    Differ("posix_fadvise of " + p->name);
}

void StepAio() {
  g_what = "aio_read";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  const std::uint64_t n = 1 + Below(20'000);
  std::vector<char> a(n), b(n);
  struct aiocb one{}, two{};
  one.aio_fildes = p->plain, two.aio_fildes = p->covered;
  one.aio_buf = a.data(), two.aio_buf = b.data();
  one.aio_nbytes = two.aio_nbytes = n;
  one.aio_offset = two.aio_offset = static_cast<off_t>(PickOffset(SizeOf(p->plain)));
  if (aio_read(&one) != 0 || aio_read(&two) != 0) Differ("aio_read of " + p->name);
  const struct aiocb* list[] = {&one, &two};
  while (aio_error(&one) == EINPROGRESS || aio_error(&two) == EINPROGRESS)
    aio_suspend(list, 2, nullptr);
  const ssize_t x = aio_return(&one), y = aio_return(&two);
  Same(x, 0, y, 0, "aio_read of " + p->name);
  CompareBytes(a, b, x, p->name);
}

void StepLocks() {
  g_what = "locks, select";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  struct flock lock{};
  lock.l_type = Below(4) == 0 ? F_WRLCK : F_RDLCK;
  lock.l_start = static_cast<off_t>(Below(100));
  int x, ex, y;
  if (Below(2) == 0) {
    x = fcntl(p->plain, F_SETLK, &lock), ex = errno;
    y = fcntl(p->covered, F_SETLK, &lock);
  } else {
    const int how = Below(2) == 0 ? LOCK_SH : LOCK_EX;
    x = flock(p->plain, how | LOCK_NB), ex = errno;
    y = flock(p->covered, how | LOCK_NB);
    // Two opens of one file meet each other, on both sides; which of them came first is the same
    // too.
    flock(p->plain, LOCK_UN), flock(p->covered, LOCK_UN);
  }
  Same(x, ex, y, errno, "lock of " + p->name);
  if (p->plain >= FD_SETSIZE || p->covered >= FD_SETSIZE) return;
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  for (int fd : {p->plain, p->covered}) FD_SET(fd, &in), FD_SET(fd, &out);
  struct timeval soon = {5, 0};
  if (select(std::max(p->plain, p->covered) + 1, &in, &out, nullptr, &soon) != 4)
    Differ("select of " + p->name);
}

// dup3, close_range and a raw system call on the same numbers.
void StepNumbers() {
  g_what = "numbers";
  Pair* p = PickOpen();
  if (p == nullptr) return;
  constexpr int kFree = 700;
  int x = dup3(p->plain, kFree, O_CLOEXEC), y = dup3(p->covered, kFree + 1, O_CLOEXEC);
  if (x != kFree || y != kFree + 1) Differ("dup3 of " + p->name);
  if (fcntl(kFree + 1, F_GETFD) != FD_CLOEXEC) Differ("close-on-exec");
  char a[64], b[64];
  long long m = syscall(SYS_pread64, kFree, a, sizeof a, 3);
  int em = errno;
  long long n = syscall(SYS_pread64, kFree + 1, b, sizeof b, 3);
  Same(m, em, n, errno, "pread64 of " + p->name);
  if (m > 0 && memcmp(a, b, static_cast<size_t>(m)) != 0) Differ("raw bytes of " + p->name);
  if (close_range(kFree, kFree + 1, 0) != 0) Differ("close_range");
  if (fcntl(kFree + 1, F_GETFD) != -1 || errno != EBADF) Differ("open after close_range");
}

// Streams in all their lives: a number's, another file's, wide.
void StepStreams() {
  g_what = "streams";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  FILE* a = fdopen(dup(p->plain), "r");
  FILE* b = fdopen(dup(p->covered), "r");
  if (a == nullptr || b == nullptr) Differ("fdopen of " + p->name);
  if (Below(3) == 0) {
    const int kind = Below(2) == 0 ? _IONBF : _IOFBF;
    const size_t room = 1 + Below(9000);
    if (setvbuf(a, nullptr, kind, room) != setvbuf(b, nullptr, kind, room)) Differ("setvbuf");
  }
  const bool wide = Below(4) == 0;
  for (int i = 0; i < 6; i++) {
    if (wide) {
      const wint_t c = fgetwc(a), d = fgetwc(b);
      if (c != d) Differ("fgetwc of " + p->name);
      continue;
    }
    if (Below(3) == 0) {
      // Not beyond the end: from there libc does not find back.
      const long to = static_cast<long>(Below(SizeOf(p->plain) + 1));
      if (fseek(a, to, SEEK_SET) != fseek(b, to, SEEK_SET)) Differ("fseek of " + p->name);
    }
    const int c = getc(a), d = getc(b);
    if (c != d || ftell(a) != ftell(b)) Differ("getc of " + p->name);
    if (c != EOF && Below(2) == 0 && ungetc(c, a) != ungetc(d, b)) Differ("ungetc of " + p->name);
  }
  if (Below(3) == 0) {
    const std::string& other = Pick(g_files);
    a = freopen(Plain(other).c_str(), "r", a);
    b = freopen(Covered(other).c_str(), "r", b);
    if (a == nullptr || b == nullptr) Differ("freopen of " + other);
    const int c = getc(a), d = getc(b);
    if (c != d) Differ("after freopen of " + other);
  }
  fflush(a), fflush(b);
  fclose(a), fclose(b);
  if (wide) lseek(p->plain, 0, SEEK_SET), lseek(p->covered, 0, SEEK_SET);
  if (lseek(p->plain, 0, SEEK_CUR) != lseek(p->covered, 0, SEEK_CUR))
    Differ("offset after a stream of " + p->name);
}

// Another program reads on at the shared offset, once with our library and a cleared environment.
void StepExec() {
  g_what = "exec";
  Pair* p = PickOpen();
  if (p == nullptr || p->directory) return;
  const std::string count = std::to_string(1 + Below(3000));
  std::string out[2];
  int fds[2] = {p->plain, p->covered}, ends[2];
  for (int side = 0; side < 2; side++) {
    if (pipe2(ends, O_CLOEXEC) != 0) Differ("pipe");
    const pid_t child = fork();
    if (child == 0) {
      dup2(fds[side], 0);
      dup2(ends[1], 1);
      char* empty[] = {nullptr};
      execle(g_options.self.c_str(), "random_ops", "--copy", count.c_str(),
             static_cast<char*>(nullptr), empty);
      _exit(127);
    }
    close(ends[1]);
    char bytes[4096];
    for (ssize_t n; (n = read(ends[0], bytes, sizeof bytes)) > 0;)
      out[side].append(bytes, static_cast<size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) Differ("the program that reads on failed");
  }
  if (out[0] != out[1]) Differ("another program read other bytes of " + p->name);
  if (lseek(p->plain, 0, SEEK_CUR) != lseek(p->covered, 0, SEEK_CUR))
    Differ("offset after exec of " + p->name);
}

// Positions of a directory's stream.
void StepSeekdir() {
  g_what = "seekdir";
  const std::string name = g_directories.empty() ? "" : Pick(g_directories);
  DIR* dir = opendir(Covered(name).c_str());
  if (dir == nullptr) Differ("opendir of " + name);
  std::vector<std::pair<long, std::string>> seen;
  for (long at = telldir(dir); dirent* entry = readdir(dir); at = telldir(dir))
    seen.emplace_back(at, entry->d_name);
  for (int i = 0; i < 4; i++) {
    const auto& one = seen[Below(seen.size())];
    seekdir(dir, one.first);
    const dirent* entry = readdir(dir);
    if (entry == nullptr || one.second != entry->d_name) Differ("seekdir in " + name);
  }
  closedir(dir);
}

// Reads whole files beside the random operations and compares them.
void ReadBeside(std::uint64_t seed, const std::atomic<bool>* stop) {
  std::mt19937_64 random(seed);
  std::vector<char> a(70'000), b(70'000);
  while (!*stop) {
    const std::string& name = g_files[random() % g_files.size()];
    const int x = open(Plain(name).c_str(), O_RDONLY), y = open(Covered(name).c_str(), O_RDONLY);
    for (;;) {
      const ssize_t n = read(x, a.data(), a.size()), m = read(y, b.data(), b.size());
      if (n != m || (n > 0 && memcmp(a.data(), b.data(), static_cast<size_t>(n)) != 0)) {
        fprintf(stderr, "DIFFERENCE seed=%llu beside the operations, in %s: %zd and %zd bytes\n",
                (unsigned long long)seed, name.c_str(), n, m);
        _exit(1);
      }
      if (n <= 0) break;
    }
    close(x), close(y);
    usleep(500);
  }
}

// --copy N: what StepExec starts.
int CopyBytes(size_t n) {
  std::vector<char> bytes(n);
  const ssize_t got = read(0, bytes.data(), n);
  return got < 0 || write(1, bytes.data(), static_cast<size_t>(got)) != got ? 1 : 0;
}

struct Step {
  void (*run)();
  unsigned weight;
};
constexpr Step kSteps[] = {{StepOpen, 12},    {StepClose, 6},  {StepRead, 25},    {StepPread, 25},
                           {StepVector, 10},  {StepSeek, 12},  {StepStat, 12},    {StepFstat, 6},
                           {StepDup, 4},      {StepList, 3},   {StepMap, 1},      {StepStdio, 2},
                           {StepSendfile, 1}, {StepFork, 1},   {StepRelative, 3}, {StepRemap, 1},
                           {StepCopies, 1},   {StepAio, 1},    {StepLocks, 1},    {StepNumbers, 3},
                           {StepStreams, 2},  {StepSeekdir, 1}};
constexpr unsigned kOpsPerExec = 2000;  // another program costs as much as a thousand reads

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string key = argv[i], value = argv[i + 1];
    if (key == "--plain") options.plain = value;
    else if (key == "--covered") options.covered = value;
    else if (key == "--ops") options.ops = strtoull(value.c_str(), nullptr, 10);
    else if (key == "--seed") options.seed = strtoull(value.c_str(), nullptr, 10);
    else if (key == "--workers")
      options.workers = strtoull(value.c_str(), nullptr, 10);
    else if (key == "--slack")
      options.slack = value == "1";
  }
  if (options.plain.empty() || options.covered.empty()) {
    fprintf(stderr,
            "usage: random_ops --plain DIR --covered DIR [--ops N] [--seed S] [--workers N] "
            "[--slack 1]\n");
    exit(2);
  }
  if (options.seed == 0) options.seed = std::random_device{}();
  return options;
}

}  // namespace

namespace {

int Work(std::uint64_t seed) {
  g_seed = seed;
  g_random.seed(seed);
  unsigned total = 0;
  for (const Step& step : kSteps) total += step.weight;
  std::atomic<bool> stop{false};
  std::thread beside;
  if (g_options.slack) beside = std::thread(ReadBeside, seed, &stop);
  for (g_step = 0; g_step < g_options.ops; g_step++) {
    if (g_step % kOpsPerExec == kOpsPerExec - 1) StepExec();
    std::uint64_t roll = Below(total);
    for (const Step& step : kSteps) {
      if (roll < step.weight) {
        step.run();
        break;
      }
      roll -= step.weight;
    }
  }
  stop = true;
  if (beside.joinable()) beside.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "--copy") == 0) return CopyBytes(strtoull(argv[2], nullptr, 10));
  setlocale(LC_ALL, "C.UTF-8");
  g_options = Parse(argc, argv);
  g_options.self = argv[0];
  fprintf(stderr, "random_ops: seed %llu, %llu operations in each of %llu processes\n",
          (unsigned long long)g_options.seed, (unsigned long long)g_options.ops,
          (unsigned long long)g_options.workers);
  Walk("");
  if (g_files.empty()) Differ("the plain tree has no files");
  g_names = g_files;
  g_names.insert(g_names.end(), g_directories.begin(), g_directories.end());
  g_names.push_back("");
  std::vector<pid_t> workers;
  for (std::uint64_t i = 1; i < g_options.workers; i++) {
    const pid_t worker = fork();
    if (worker == 0) return Work(g_options.seed + i);
    workers.push_back(worker);
  }
  int result = Work(g_options.seed), status = 0;
  for (pid_t worker : workers) {
    if (waitpid(worker, &status, 0) != worker || status != 0) result = 1;
  }
  if (result == 0)
    printf("random_ops: %llu operations, no difference\n",
           (unsigned long long)(g_options.ops * g_options.workers));
  return result;
}
