// Reads files as programs do, once and cold: plain POSIX, runs unchanged on any target. The list of
// files comes from a file of lines "number path"; the bytes of each follow from its number
// (bench/dataset.h). Prints one line of JSON.
//
//   cold_reader files LIST WORKERS [verify]   open, read, close of each; WORKERS processes take turns
//   cold_reader seq LIST [verify]             the first file in steps of 1 MiB
//   cold_reader random LIST COUNT SEED        COUNT reads of 4 KiB at random places of the first file
//   cold_reader open4k LIST                   open and the first 4 KiB of the first file
//   cold_reader make FIRST COUNT BYTES        writes the bytes of COUNT files to its output
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "bench/dataset.h"

namespace penstock::bench {
namespace {

struct Entry {
  uint64_t number = 0;
  std::string path;
};

std::vector<Entry> ReadList(const char* path) {
  std::ifstream in(path);
  std::vector<Entry> entries;
  Entry entry;
  while (in >> entry.number && std::getline(in >> std::ws, entry.path)) entries.push_back(entry);
  if (entries.empty()) Die(path);
  return entries;
}

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

int Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("open " + path);
  return fd;
}

void Compare(const Entry& entry, size_t offset, const std::vector<unsigned char>& got, size_t bytes) {
  std::vector<unsigned char> want((bytes + 7) / 8 * 8);
  Expected(entry.number, offset, want.data(), want.size());
  if (std::memcmp(got.data(), want.data(), bytes) == 0) return;
  errno = EIO;
  Die("wrong bytes in " + entry.path + " at " + std::to_string(offset));
}

// The whole file in steps of the buffer's size; returns its length.
size_t ReadAll(const Entry& entry, std::vector<unsigned char>* buffer, bool verify) {
  const int fd = Open(entry.path);
  size_t at = 0;
  while (true) {
    const ssize_t n = read(fd, buffer->data(), buffer->size());
    if (n < 0) Die("read " + entry.path);
    if (n == 0) break;
    if (verify) Compare(entry, at, *buffer, static_cast<size_t>(n));
    at += static_cast<size_t>(n);
  }
  close(fd);
  return at;
}

void Report(double seconds, size_t bytes, size_t operations) {
  std::printf("{\"seconds\": %.6f, \"bytes\": %zu, \"operations\": %zu}\n", seconds, bytes, operations);
}

void Files(const std::vector<Entry>& entries, int workers, bool verify) {
  auto* bytes = static_cast<std::atomic<size_t>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const double begin = Now();
  const auto work = [&](size_t first) {
    std::vector<unsigned char> buffer(kBlockBytes);
    for (size_t i = first; i < entries.size(); i += static_cast<size_t>(workers)) {
      bytes->fetch_add(ReadAll(entries[i], &buffer, verify));
    }
  };
  if (workers == 1) {
    work(0);
  } else {
    for (int i = 0; i < workers; ++i) {
      const pid_t child = fork();
      if (child < 0) Die("fork");
      if (child == 0) {
        work(static_cast<size_t>(i));
        _exit(0);
      }
    }
    for (int i = 0; i < workers; ++i) {
      int status = 0;
      if (wait(&status) < 0 || status != 0) Die("a worker failed");
    }
  }
  Report(Now() - begin, bytes->load(), entries.size());
}

void Random(const Entry& entry, int count, unsigned seed) {
  std::vector<unsigned char> buffer(4096);
  const double begin = Now();
  const int fd = Open(entry.path);
  struct stat info;
  if (fstat(fd, &info) != 0) Die("fstat " + entry.path);
  std::mt19937_64 random(seed);
  const auto blocks = static_cast<uint64_t>(info.st_size) / 4096;
  for (int i = 0; i < count; ++i) {
    const size_t at = random() % blocks * 4096;
    if (pread(fd, buffer.data(), 4096, static_cast<off_t>(at)) != 4096) Die("pread " + entry.path);
    Compare(entry, at, buffer, 4096);
  }
  close(fd);
  Report(Now() - begin, static_cast<size_t>(count) * 4096, static_cast<size_t>(count));
}

void OpenAndRead(const Entry& entry) {
  std::vector<unsigned char> buffer(4096);
  const double begin = Now();
  const int fd = Open(entry.path);
  if (read(fd, buffer.data(), 4096) != 4096) Die("read " + entry.path);
  const double seconds = Now() - begin;
  Compare(entry, 0, buffer, 4096);
  close(fd);
  Report(seconds, 4096, 1);
}

void Make(uint64_t number, size_t bytes) {
  std::vector<unsigned char> block(std::min(bytes, kBlockBytes));
  for (size_t at = 0; at < bytes; at += block.size()) {
    Expected(number, at, block.data(), block.size());
    if (std::fwrite(block.data(), 1, block.size(), stdout) != block.size()) Die("stdout");
  }
}

int Main(int count, char** arguments) {
  const std::string what = count > 2 ? arguments[1] : "";
  const bool verify = std::string(arguments[count - 1]) == "verify";
  if (what.empty()) {
    std::fprintf(stderr, "cold_reader files|seq|random|open4k|make ...\n");
    return 2;
  }
  if (what == "make") {
    if (count < 5) return 2;
    const auto number = [&](int at) { return std::strtoull(arguments[at], nullptr, 10); };
    for (uint64_t i = 0; i < number(3); ++i) Make(number(2) + i, number(4));
    return 0;
  }
  const std::vector<Entry> entries = ReadList(arguments[2]);
  if (what == "files" && count > 3) {
    Files(entries, std::atoi(arguments[3]), verify);
  } else if (what == "seq") {
    std::vector<unsigned char> buffer(kBlockBytes);
    const double begin = Now();
    const size_t bytes = ReadAll(entries[0], &buffer, verify);
    Report(Now() - begin, bytes, 1);
  } else if (what == "random" && count > 4) {
    Random(entries[0], std::atoi(arguments[3]), static_cast<unsigned>(std::atoi(arguments[4])));
  } else if (what == "open4k") {
    OpenAndRead(entries[0]);
  } else {
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace penstock::bench

int main(int argc, char** argv) { return penstock::bench::Main(argc, argv); }
