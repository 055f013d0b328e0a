// Every way to read a file, at random places and lengths, against the plain file.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "tests/shim/check.h"

namespace {

const char* const kFiles[] = {"empty", "hello", "one byte", "sub/r-1", "sub/r", "sub/r+1", "sub/deep/big"};

struct Pair {
  int covered;
  int plain;
};

Pair OpenBoth(const std::string& name, std::mt19937_64& random) {
  const std::string covered = g_covered + "/" + name, plain = g_plain + "/" + name;
  Pair pair = {-1, open(plain.c_str(), O_RDONLY)};
  switch (random() % 4) {
    case 0: pair.covered = open(covered.c_str(), O_RDONLY); break;
    case 1: pair.covered = openat(AT_FDCWD, (g_covered + "//./sub/../" + name).c_str(), O_RDONLY | O_CLOEXEC); break;
    case 2: pair.covered = open64(covered.c_str(), O_RDONLY | O_NOFOLLOW); break;
    default: {
      int folder = open(g_covered.c_str(), O_RDONLY | O_DIRECTORY);
      CHECK(folder >= 0, "%s", g_covered.c_str());
      pair.covered = openat(folder, name.c_str(), O_RDONLY);
      close(folder);
    }
  }
  CHECK(pair.covered >= 0 && pair.plain >= 0, "%s", name.c_str());
  return pair;
}

// One operation on both; same result, same errno, same bytes.
void Operate(const Pair& pair, off_t size, std::mt19937_64& random) {
  static std::vector<unsigned char> a(1 << 20), b(1 << 20);
  const size_t lengths[] = {0, 1, 7, 64, 511, 4096, 5000, 65536, 65537, 200000, 1 << 20};
  const size_t n = lengths[random() % 11];
  const off_t at = static_cast<off_t>(random() % static_cast<uint64_t>(size + 70000)) - (random() % 50 == 0 ? 100000 : 0);
  memset(a.data(), 0xAA, n + 1 < a.size() ? n + 1 : n);
  memset(b.data(), 0xAA, n + 1 < b.size() ? n + 1 : n);
  ssize_t x = 0, y = 0;
  int ex = 0, ey = 0;
  const int op = static_cast<int>(random() % 8);
  auto vectors = [n](std::vector<unsigned char>& to, iovec* iov) {
    size_t third = n / 3;
    iov[0] = {to.data(), third};
    iov[1] = {to.data() + third, 0};
    iov[2] = {to.data() + third, third};
    iov[3] = {to.data() + 2 * third, n - 2 * third};
  };
  iovec iov[4];
  auto run = [&](int fd, std::vector<unsigned char>& to) -> ssize_t {
    vectors(to, iov);
    switch (op) {
      case 0: return read(fd, to.data(), n);
      case 1: return pread(fd, to.data(), n, at);
      case 2: return pread64(fd, to.data(), n, at);
      case 3: return readv(fd, iov, 4);
      case 4: return preadv(fd, iov, 4, at);
      case 5: return preadv2(fd, iov, 4, at < 0 ? -1 : at, 0);
      case 6: return lseek(fd, at, static_cast<int>((n + static_cast<size_t>(at)) % 3));
      default: return lseek64(fd, at < size ? at : size, (at & 1) != 0 ? SEEK_DATA : SEEK_HOLE);
    }
  };
  errno = 0;
  x = run(pair.covered, a);
  ex = errno;
  errno = 0;
  y = run(pair.plain, b);
  ey = errno;
  CHECK(x == y && ex == ey, "op %d at %ld n %zu: %zd/%d, plain %zd/%d", op, static_cast<long>(at), n, x, ex, y, ey);
  CHECK(memcmp(a.data(), b.data(), n) == 0, "op %d at %ld n %zu: bytes differ", op, static_cast<long>(at), n);
  CHECK(lseek(pair.covered, 0, SEEK_CUR) == lseek(pair.plain, 0, SEEK_CUR), "offset after op %d", op);
}

void BadArguments(const Pair& pair) {
  char byte[16];
  iovec huge[2] = {{byte, static_cast<size_t>(-1)}, {byte, 1}};
  static iovec many[1025];
  for (iovec& part : many) part = {byte, 1};
  volatile int below_zero = -1;  // the compiler would refuse to make these calls
  errno = 0;
  CHECK(write(pair.covered, "x", 1) == -1 && errno == EBADF);
  CHECK(pread(pair.covered, byte, 1, -1) == -1 && errno == EINVAL);
  CHECK(readv(pair.covered, huge, 2) == -1 && errno == EINVAL);
  CHECK(readv(pair.covered, many, below_zero) == -1 && errno == EINVAL);
  CHECK(readv(pair.covered, many, 1025) == -1 && errno == EINVAL);
  CHECK(readv(pair.covered, many, 0) == 0);
  CHECK(lseek(pair.covered, 0, 77) == -1 && errno == EINVAL);
  CHECK(ftruncate(pair.covered, 0) == -1, "a file was changed");
  int path_only = open((g_covered + "/hello").c_str(), O_PATH);
  CHECK(path_only >= 0);
  CHECK(read(path_only, byte, 1) == -1 && errno == EBADF);
  struct stat info;
  CHECK(fstat(path_only, &info) == 0 && info.st_size == 6);
  close(path_only);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  std::mt19937_64 random(Seed());
  for (int round = 0; round < 6; ++round) {
    for (const char* name : kFiles) {
      const Pair pair = OpenBoth(name, random);
      struct stat a, b;
      CHECK(fstat(pair.covered, &a) == 0 && fstat(pair.plain, &b) == 0);
      CHECK(a.st_size == b.st_size && S_ISREG(a.st_mode) && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
            a.st_mtim.tv_nsec == b.st_mtim.tv_nsec, "%s", name);
      for (int i = 0; i < 150; ++i) Operate(pair, b.st_size, random);
      if (round == 0) BadArguments(pair);
      CHECK(close(pair.covered) == 0 && close(pair.plain) == 0);
    }
  }
  return g_failures == 0 ? 0 : 1;
}
