// Threads that open, read and close files at once, and share one open file: every byte compared.

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/shim/check.h"

namespace {

constexpr int kThreads = 6;
constexpr int kFiles = 64;

std::vector<std::vector<unsigned char>> g_bytes(kFiles);

std::vector<unsigned char> Slurp(const std::string& path) {
  std::vector<unsigned char> bytes;
  int fd = open(path.c_str(), O_RDONLY);
  unsigned char block[65536];
  for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;) bytes.insert(bytes.end(), block, block + n);
  close(fd);
  return bytes;
}

void OpenReadClose(int number, unsigned seed) {
  std::mt19937 random(seed + static_cast<unsigned>(number));
  std::vector<unsigned char> buffer(200000);
  for (int i = 0; i < 300; ++i) {
    const int k = static_cast<int>(random() % kFiles);
    const std::vector<unsigned char>& want = g_bytes[static_cast<size_t>(k)];
    const int fd = open((g_covered + "/sub/t" + std::to_string(k)).c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    const int other = random() % 3 == 0 ? dup(fd) : -1;
    size_t done = 0;
    while (done < want.size()) {
      const size_t n = 1 + random() % 90000;
      const ssize_t got = read(other >= 0 && random() % 2 ? other : fd, buffer.data(), n);
      CHECK(got > 0, "file %d at %zu: %zd", k, done, got);
      if (got <= 0) break;
      CHECK(memcmp(buffer.data(), want.data() + done, static_cast<size_t>(got)) == 0, "file %d at %zu", k, done);
      done += static_cast<size_t>(got);
    }
    CHECK(read(fd, buffer.data(), 1) == 0);
    CHECK(close(fd) == 0);
    if (other >= 0) CHECK(pread(other, buffer.data(), 10, 5) == 10 && close(other) == 0);
  }
}

// All threads read one open file; each byte is given out once.
void SharedOffset() {
  const std::vector<unsigned char> want = Slurp(g_plain + "/sub/deep/big");
  const int fd = open((g_covered + "/sub/deep/big").c_str(), O_RDONLY);
  std::atomic<size_t> total{0};
  std::atomic<uint64_t> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      unsigned char block[777];
      for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;) {
        total += static_cast<size_t>(n);
        uint64_t part = 0;
        for (ssize_t i = 0; i < n; ++i) part += block[i];
        sum += part;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t expected = 0;
  for (unsigned char byte : want) expected += byte;
  CHECK(total == want.size() && sum == expected, "%zu of %zu bytes", total.load(), want.size());
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  const auto seed = static_cast<unsigned>(Seed());
  for (int i = 0; i < kFiles; ++i) g_bytes[static_cast<size_t>(i)] = Slurp(g_plain + "/sub/t" + std::to_string(i));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([t, seed] { OpenReadClose(t, seed); });
  for (std::thread& thread : threads) thread.join();
  SharedOffset();
  return g_failures == 0 ? 0 : 1;
}
