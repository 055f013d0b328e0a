#pragma once

// The data set that every target serves: 2,000 files of 128 KiB, one of 256 MiB, a folder of 100
// entries. Each byte follows from the file's number and its offset, so that any reader can verify
// what it got. Header only; plain POSIX; errors end the program with a message.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace penstock::bench {

inline constexpr int kFileCount = 2000;
inline constexpr size_t kFileBytes = 128 << 10;
inline constexpr size_t kBigBytes = size_t{256} << 20;
inline constexpr int kListEntries = 100;
inline constexpr size_t kBlockBytes = 1 << 20;

[[noreturn]] inline void Die(const std::string& what) {
  std::fprintf(stderr, "pst_bench: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

inline uint64_t Mix(uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// What stands at [offset, offset + n) of file `number`; both multiples of 8.
inline void Expected(uint64_t number, size_t offset, unsigned char* out, size_t n) {
  for (size_t i = 0; i < n; i += 8) {
    const uint64_t word = Mix(number << 40 ^ (offset + i));
    std::memcpy(out + i, &word, 8);
  }
}

struct Dataset {
  explicit Dataset(std::string root) : dir(std::move(root)) {
    big = dir + "/big.bin";
    list = dir + "/list";
    files.reserve(kFileCount);
    char name[32];
    for (int i = 0; i < kFileCount; ++i) {
      std::snprintf(name, sizeof(name), "/files/%04d.bin", i);
      files.push_back(dir + name);
    }
  }

  std::string dir;
  std::string big;
  std::string list;
  std::vector<std::string> files;
};

inline constexpr uint64_t kBigNumber = kFileCount;

inline void WriteFile(const std::string& path, uint64_t number, size_t bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) Die(path);
  std::vector<unsigned char> block(std::min(bytes, kBlockBytes));
  for (size_t at = 0; at < bytes; at += block.size()) {
    Expected(number, at, block.data(), block.size());
    if (write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size())) Die(path);
  }
  if (close(fd) != 0) Die(path);
}

inline void Prepare(const Dataset& data) {
  for (const std::string& folder : {data.dir, data.dir + "/files", data.list}) {
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) Die(folder);
  }
  for (int i = 0; i < kFileCount; ++i) WriteFile(data.files[i], i, kFileBytes);
  WriteFile(data.big, kBigNumber, kBigBytes);
  for (int i = 0; i < kListEntries; ++i) {
    WriteFile(data.list + "/entry" + std::to_string(i), 0, 8);
  }
}

inline void VerifyFile(const std::string& path, uint64_t number, size_t bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die(path);
  std::vector<unsigned char> got(std::min(bytes, kBlockBytes)), want(got.size());
  for (size_t at = 0; at < bytes;) {
    size_t have = 0;
    while (have < got.size()) {
      const ssize_t n = read(fd, got.data() + have, got.size() - have);
      if (n < 0) Die(path);
      if (n == 0) break;
      have += static_cast<size_t>(n);
    }
    Expected(number, at, want.data(), want.size());
    if (have != got.size() || std::memcmp(got.data(), want.data(), got.size()) != 0) {
      errno = EIO;
      Die(path + ": wrong bytes in the block at " + std::to_string(at));
    }
    at += have;
  }
  if (read(fd, got.data(), 1) != 0) Die(path + ": longer than written");
  close(fd);
}

inline void Verify(const Dataset& data) {
  for (int i = 0; i < kFileCount; ++i) VerifyFile(data.files[i], i, kFileBytes);
  VerifyFile(data.big, kBigNumber, kBigBytes);
}

}  // namespace penstock::bench
