// The benchmark program, run unchanged on every target: plain POSIX calls on whatever folder it is
// given, nothing about Penstock. bench/run prepares the folders and compares the targets.
//
//   pst_bench CASE DIR [--seed N] [--seconds S] [--procs N] [--count N] [-- COMMAND...]
//
// One line of JSON per measured case goes to stdout; see README.md in this folder for the cases.

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/dataset.h"
#include "bench/measure.h"

extern char** environ;

namespace penstock::bench {
namespace {

constexpr size_t kSmallReadBytes = 4096;
constexpr size_t kLargeReadBytes = 1 << 20;
constexpr size_t kBufferBytes = 1 << 20;

struct Options {
  std::string name;
  std::string dir;
  uint64_t seed = 1;
  double seconds = 0.5;
  int procs = 2;
  int64_t count = 1000;
  std::vector<char*> command;  // null-terminated
};

// A buffer as ordinary programs have it: malloc's, 16 bytes past a page boundary, touched once.
class Buffer {
 public:
  Buffer() : bytes_(static_cast<unsigned char*>(std::malloc(kBufferBytes))) {
    if (bytes_ == nullptr) Die("malloc");
    std::memset(bytes_, 1, kBufferBytes);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(bytes_); }
  unsigned char* get() const { return bytes_; }

 private:
  unsigned char* bytes_;
};

void ReadFully(int fd, unsigned char* buffer, size_t bytes, const std::string& path) {
  size_t have = 0;
  while (have < bytes) {
    const ssize_t n = read(fd, buffer + have, bytes - have);
    if (n <= 0) Die(path);
    have += static_cast<size_t>(n);
  }
}

void OpenReadClose(const std::string& path, unsigned char* buffer) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die(path);
  ReadFully(fd, buffer, kFileBytes, path);
  if (close(fd) != 0) Die(path);
}

std::vector<size_t> Shuffled(size_t count, uint64_t seed) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  return order;
}

int OpenBig(const Dataset& data) {
  const int fd = open(data.big.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die(data.big);
  return fd;
}

// ---- the cases ----

Summary Files(const Options& options, const Dataset& data, bool fresh) {
  const Buffer buffer;
  const std::vector<size_t> order = Shuffled(data.files.size(), options.seed);
  if (!fresh) {
    for (const size_t i : order) OpenReadClose(data.files[i], buffer.get());
  }
  Sampler sampler(1, options.seconds);
  do {
    for (const size_t i : order) {
      sampler.Begin();
      OpenReadClose(data.files[i], buffer.get());
      sampler.End();
    }
  } while (!fresh && !sampler.TimeIsOver());
  return sampler.Finish(options.name, options.seed, kFileBytes);
}

Summary Pread4k(const Options& options, const Dataset& data) {
  constexpr int64_t kBatch = 16;
  const Buffer buffer;
  const int fd = OpenBig(data);
  for (size_t at = 0; at < kBigBytes; at += kLargeReadBytes) {
    if (pread(fd, buffer.get(), kLargeReadBytes, static_cast<off_t>(at)) <= 0) Die(data.big);
  }
  const std::vector<size_t> order = Shuffled(kBigBytes / kSmallReadBytes, options.seed);
  Sampler sampler(kBatch, options.seconds);
  while (!sampler.TimeIsOver()) {
    for (size_t i = 0; i + kBatch <= order.size(); i += kBatch) {
      sampler.Begin();
      for (size_t k = i; k < i + kBatch; ++k) {
        const auto at = static_cast<off_t>(order[k] * kSmallReadBytes);
        if (pread(fd, buffer.get(), kSmallReadBytes, at) != ssize_t{kSmallReadBytes}) {
          Die(data.big);
        }
      }
      sampler.End();
    }
  }
  close(fd);
  return sampler.Finish(options.name, options.seed, kSmallReadBytes);
}

Summary Seq1m(const Options& options, const Dataset& data) {
  const Buffer buffer;
  const int fd = OpenBig(data);
  Sampler sampler(1, options.seconds);
  for (bool warm = false; !sampler.TimeIsOver(); warm = true) {
    if (lseek(fd, 0, SEEK_SET) != 0) Die(data.big);
    for (size_t at = 0; at < kBigBytes; at += kLargeReadBytes) {
      if (warm) sampler.Begin();
      ReadFully(fd, buffer.get(), kLargeReadBytes, data.big);
      if (warm) sampler.End();
    }
  }
  close(fd);
  return sampler.Finish(options.name, options.seed, kLargeReadBytes);
}

// `names` paths in shuffled order, again and again.
Summary Stat(const Options& options, const Dataset& data, size_t names) {
  constexpr int64_t kBatch = 40;
  std::vector<size_t> order = Shuffled(data.files.size(), options.seed);
  order.resize(names);
  struct stat info{};
  size_t next = 0;
  Sampler sampler(kBatch, options.seconds);
  while (!sampler.TimeIsOver()) {
    sampler.Begin();
    for (int64_t k = 0; k < kBatch; ++k) {
      if (stat(data.files[order[next]].c_str(), &info) != 0) Die("stat");
      if (info.st_size != off_t{kFileBytes}) Die("stat: size");
      if (++next == order.size()) next = 0;
    }
    sampler.End();
  }
  return sampler.Finish(options.name, options.seed, 0);
}

Summary List(const Options& options, const Dataset& data) {
  constexpr int64_t kBatch = 4;
  Sampler sampler(kBatch, options.seconds);
  while (!sampler.TimeIsOver()) {
    sampler.Begin();
    for (int64_t k = 0; k < kBatch; ++k) {
      DIR* const dir = opendir(data.list.c_str());
      if (dir == nullptr) Die(data.list);
      int seen = 0;
      while (const dirent* const entry = readdir(dir)) seen += entry->d_name[0] != '.';
      if (closedir(dir) != 0 || seen != kListEntries) Die(data.list + ": entries");
    }
    sampler.End();
  }
  return sampler.Finish(options.name, options.seed, 0);
}

// ---- streams of libc ----

FILE* OpenStream(const std::string& path) {
  FILE* const stream = fopen(path.c_str(), "re");
  if (stream == nullptr) Die(path);
  return stream;
}

// The big file from its beginning to its end by fread of 4 KiB, again and again.
Summary StdioFread(const Options& options, const Dataset& data) {
  constexpr int64_t kBatch = 16;
  const Buffer buffer;
  FILE* const stream = OpenStream(data.big);
  Sampler sampler(kBatch, options.seconds);
  for (bool warm = false; !sampler.TimeIsOver(); warm = true) {
    rewind(stream);
    for (size_t at = 0; at < kBigBytes && !sampler.TimeIsOver(); at += kBatch * kSmallReadBytes) {
      if (warm) sampler.Begin();
      for (int64_t k = 0; k < kBatch; ++k) {
        if (fread(buffer.get(), 1, kSmallReadBytes, stream) != kSmallReadBytes) Die(data.big);
      }
      if (warm) sampler.End();
    }
  }
  fclose(stream);
  return sampler.Finish(options.name, options.seed, kSmallReadBytes);
}

// The same by getline; a line of these bytes is some hundred bytes long.
Summary StdioGetline(const Options& options, const Dataset& data) {
  constexpr int64_t kBatch = 64;
  FILE* const stream = OpenStream(data.big);
  char* line = nullptr;
  size_t room = 0;
  Sampler sampler(kBatch, options.seconds);
  for (bool warm = false; !sampler.TimeIsOver(); warm = true) {
    rewind(stream);
    for (bool end = false; !end && !sampler.TimeIsOver();) {
      if (warm) sampler.Begin();
      for (int64_t k = 0; k < kBatch && !end; ++k) end = getline(&line, &room, stream) <= 0;
      if (warm && !end) sampler.End();
    }
  }
  if (ferror(stream) != 0) Die(data.big);
  free(line);
  fclose(stream);
  return sampler.Finish(options.name, options.seed, 0);
}

// Small files, each opened, read by fread of 4 KiB and closed.
Summary StdioFiles(const Options& options, const Dataset& data) {
  const Buffer buffer;
  const std::vector<size_t> order = Shuffled(data.files.size(), options.seed);
  Sampler sampler(1, options.seconds);
  for (bool warm = false; !sampler.TimeIsOver(); warm = true) {
    for (const size_t i : order) {
      if (warm) sampler.Begin();
      FILE* const stream = OpenStream(data.files[i]);
      size_t bytes = 0;
      while (const size_t got = fread(buffer.get(), 1, kSmallReadBytes, stream)) bytes += got;
      if (fclose(stream) != 0 || bytes != kFileBytes) Die(data.files[i]);
      if (warm) sampler.End();
    }
  }
  return sampler.Finish(options.name, options.seed, kFileBytes);
}

// ---- the limit: the same copies from a mapped arena, with libc's memcpy and nothing else ----

// A memfd of the given size, filled with the data set's big file and mapped read-only.
class Arena {
 public:
  explicit Arena(const Dataset& data) {
    fd_ = memfd_create("pst_bench", MFD_CLOEXEC);
    if (fd_ < 0 || ftruncate(fd_, kBigBytes) != 0) Die("memfd");
    void* const filling = mmap(nullptr, kBigBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (filling == MAP_FAILED) Die("mmap");
    const int from = OpenBig(data);
    ReadFully(from, static_cast<unsigned char*>(filling), kBigBytes, data.big);
    close(from);
    munmap(filling, kBigBytes);
    Map();
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    munmap(map_, kBigBytes);
    close(fd_);
  }
  const unsigned char* get() const { return static_cast<const unsigned char*>(map_); }

 private:
  void Map() {
    map_ = mmap(nullptr, kBigBytes, PROT_READ, MAP_SHARED, fd_, 0);
    if (map_ == MAP_FAILED) Die("mmap");
  }

  int fd_ = -1;
  void* map_ = nullptr;
};

Summary Memcpy(const Options& options, const Dataset& data, size_t bytes, int64_t batch,
               bool shuffled, bool fresh) {
  const Buffer buffer;
  const Arena arena(data);
  const auto step = static_cast<size_t>(batch);
  std::vector<size_t> order = Shuffled(kBigBytes / bytes, options.seed);
  if (!shuffled) std::sort(order.begin(), order.end());
  Sampler sampler(batch, options.seconds);
  for (bool warm = fresh; !sampler.TimeIsOver(); warm = true) {
    for (size_t i = 0; i + step <= order.size(); i += step) {
      sampler.Begin();
      for (size_t k = i; k < i + step; ++k) {
        std::memcpy(buffer.get(), arena.get() + order[k] * bytes, bytes);
        __asm__ volatile("" : : "r"(buffer.get()) : "memory");
      }
      if (warm) sampler.End();
    }
    if (fresh) break;
  }
  return sampler.Finish(options.name, options.seed, static_cast<int64_t>(bytes));
}

// ---- what bench/run needs for the other claims ----

// Forks `procs` readers that open, read and close files for `seconds`; prints the bytes moved.
void Procs(const Options& options, const Dataset& data) {
  struct Shared {
    int64_t bytes[256];
  };
  if (options.procs < 1 || options.procs > 256) Die("--procs: 1 to 256");
  auto* const shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (shared == MAP_FAILED) Die("mmap");
  int start[2];
  if (pipe(start) != 0) Die("pipe");
  for (int p = 0; p < options.procs; ++p) {
    const pid_t pid = fork();
    if (pid < 0) Die("fork");
    if (pid != 0) continue;
    const Buffer buffer;
    const std::vector<size_t> order = Shuffled(data.files.size(), options.seed + p);
    for (const size_t i : order) OpenReadClose(data.files[i], buffer.get());
    close(start[1]);
    char byte = 0;
    if (read(start[0], &byte, 1) < 0) _exit(1);  // the parent's closing starts everyone
    const int64_t end_ns = NowNs() + static_cast<int64_t>(options.seconds * 1e9);
    int64_t bytes = 0;
    for (size_t i = 0; NowNs() < end_ns; i = (i + 1) % order.size()) {
      OpenReadClose(data.files[order[i]], buffer.get());
      bytes += kFileBytes;
    }
    shared->bytes[p] = bytes;
    _exit(0);
  }
  close(start[0]);
  sleep(1);  // for the warm-up passes
  const int64_t begin_ns = NowNs();
  close(start[1]);
  for (int p = 0, status = 0; p < options.procs; ++p) {
    if (wait(&status) < 0 || status != 0) Die("a reader failed");
  }
  const double spent_s = static_cast<double>(NowNs() - begin_ns) / 1e9;
  int64_t bytes = 0;
  for (int p = 0; p < options.procs; ++p) bytes += shared->bytes[p];
  std::printf("{\"case\": \"procs\", \"procs\": %d, \"bytes\": %lld, \"bytes_per_s\": %.0f}\n",
              options.procs, static_cast<long long>(bytes), static_cast<double>(bytes) / spent_s);
}

// `count` one-byte reads of /dev/zero: what a read costs on a file that nobody covers.
void Uncovered(const Options& options) {
  const int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  if (fd < 0) Die("/dev/zero");
  char byte = 0;
  for (int64_t i = 0; i < options.count; ++i) {
    if (read(fd, &byte, 1) != 1) Die("/dev/zero");
  }
  close(fd);
}

// Starts a command `count` times, one after the other: the time from spawn to exit.
void Spawn(const Options& options) {
  if (options.command.size() < 2) Die("spawn: no command");
  Sampler sampler(1, 3600);
  for (int64_t i = 0; i < options.count; ++i) {
    pid_t pid = 0;
    int status = 0;
    sampler.Begin();
    if (posix_spawn(&pid, options.command[0], nullptr, nullptr, options.command.data(), environ) !=
            0 ||
        waitpid(pid, &status, 0) != pid) {
      Die(options.command[0]);
    }
    sampler.End();
    if (status != 0) Die(std::string(options.command[0]) + " failed");
  }
  sampler.Finish("spawn", 0, 0).PrintJson();
}

// Touches everything, says "ready", and after each line on stdin reads `count` times 4 KiB of hits
// and says "done": another process looks at this one's memory in between.
void Hold(const Options& options, const Dataset& data) {
  const Buffer buffer;
  const int fd = OpenBig(data);
  for (size_t at = 0; at < kBigBytes; at += kLargeReadBytes) {
    if (pread(fd, buffer.get(), kLargeReadBytes, static_cast<off_t>(at)) <= 0) Die(data.big);
  }
  for (const std::string& path : data.files) OpenReadClose(path, buffer.get());
  const std::vector<size_t> order = Shuffled(kBigBytes / kSmallReadBytes, options.seed);
  std::printf("ready\n");
  std::fflush(stdout);
  char line[16];
  while (read(0, line, sizeof(line)) > 0) {
    for (int64_t i = 0; i < options.count; ++i) {
      const auto at =
          static_cast<off_t>(order[static_cast<size_t>(i) % order.size()] * kSmallReadBytes);
      if (pread(fd, buffer.get(), kSmallReadBytes, at) <= 0) Die(data.big);
    }
    std::printf("done\n");
    std::fflush(stdout);
  }
}

// ---- command line ----

bool RunMeasured(const Options& options, const Dataset& data) {
  const std::string& name = options.name;
  Summary summary;
  if (name == "files")
    summary = Files(options, data, false);
  else if (name == "files-fresh")
    summary = Files(options, data, true);
  else if (name == "pread4k")
    summary = Pread4k(options, data);
  else if (name == "seq1m")
    summary = Seq1m(options, data);
  else if (name == "stat")
    summary = Stat(options, data, kFileCount);
  else if (name == "stat-one")
    summary = Stat(options, data, 1);
  else if (name == "stdio-fread")
    summary = StdioFread(options, data);
  else if (name == "stdio-getline")
    summary = StdioGetline(options, data);
  else if (name == "stdio-files")
    summary = StdioFiles(options, data);
  else if (name == "list")
    summary = List(options, data);
  else if (name == "memcpy-files")
    summary = Memcpy(options, data, kFileBytes, 1, true, false);
  else if (name == "memcpy-files-fresh")
    summary = Memcpy(options, data, kFileBytes, 1, true, true);
  else if (name == "memcpy-pread4k")
    summary = Memcpy(options, data, kSmallReadBytes, 16, true, false);
  else if (name == "memcpy-seq1m")
    summary = Memcpy(options, data, kLargeReadBytes, 1, false, false);
  else
    return false;
  summary.PrintJson();
  return true;
}

int Run(const Options& options) {
  const Dataset data(options.dir);
  if (RunMeasured(options, data)) return 0;
  if (options.name == "prepare")
    Prepare(data);
  else if (options.name == "verify")
    Verify(data);
  else if (options.name == "procs")
    Procs(options, data);
  else if (options.name == "uncovered")
    Uncovered(options);
  else if (options.name == "spawn")
    Spawn(options);
  else if (options.name == "hold")
    Hold(options, data);
  else {
    std::fprintf(stderr, "pst_bench: unknown case %s\n", options.name.c_str());
    return 2;
  }
  return 0;
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: pst_bench CASE DIR [--seed N] [--seconds S] [--procs N] [--count N] "
                 "[-- COMMAND...]\n");
    return 2;
  }
  Options options;
  options.name = argv[1];
  options.dir = argv[2];
  for (int i = 3; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--") {
      options.command.assign(argv + i + 1, argv + argc);
      options.command.push_back(nullptr);
      break;
    }
    const char* const value = i + 1 < argc ? argv[++i] : "";
    if (flag == "--seed")
      options.seed = std::strtoull(value, nullptr, 10);
    else if (flag == "--seconds")
      options.seconds = std::strtod(value, nullptr);
    else if (flag == "--procs")
      options.procs = static_cast<int>(std::strtol(value, nullptr, 10));
    else if (flag == "--count")
      options.count = std::strtoll(value, nullptr, 10);
    else {
      std::fprintf(stderr, "pst_bench: unknown option %s\n", argv[i - 1]);
      return 2;
    }
  }
  return Run(options);
}

}  // namespace
}  // namespace penstock::bench

int main(int argc, char** argv) { return penstock::bench::Main(argc, argv); }
