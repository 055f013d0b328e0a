// Threads that open, read and close files at once, and share one open file: every byte compared.

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

// From now on every dup3 of the calling thread takes that much longer.
// False: that cannot be had here.
bool SlowDup3(useconds_t longer_us = 2000) {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup3, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program = {sizeof code / sizeof code[0], code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (listener < 0) {
    printf("dup3 can't be made slow here (errno %d)\n", errno);
    return false;
  }
  std::thread([listener, longer_us] {
    for (;;) {
      seccomp_notif call = {};
      if (ioctl(static_cast<int>(listener), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
      usleep(longer_us);
      seccomp_notif_resp answer = {};
      answer.id = call.id;
      answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      ioctl(static_cast<int>(listener), SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
  }).detach();
  return true;
}

// Numbers become real files (locks) while others read them: at no moment may a number seem closed, or its
// file be anything but a file.
void ReadWhileMadeReal() {
  std::atomic<int> current{-1};
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> readers;
  std::vector<int> open_ones;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      char byte;
      struct stat info;
      while (!stop) {
        const int fd = current;
        if (fd < 0) continue;
        if (t == 0) {
          CHECK(fstat(fd, &info) == 0 && S_ISREG(info.st_mode), "mode %o", info.st_mode);
        } else {
          CHECK(pread(fd, &byte, 1, 0) == 1);
        }
        ++reads;
      }
    });
  }
  SlowDup3();
  for (int i = 0; i < 100; ++i) {
    const int fd = open((g_covered + "/sub/t" + std::to_string(i % kFiles)).c_str(), O_RDONLY);
    CHECK(fd >= 0);
    const int before = reads;
    current = fd;
    while (reads < before + 4) sched_yield();
    struct flock lock = {};
    lock.l_type = F_RDLCK;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    open_ones.push_back(fd);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  for (int fd : open_ones) close(fd);
}

// A number that is covered again and again by another file, by dup2 from covered and plain numbers in turn:
// who reads it always gets one of those files' first bytes, and never an error. At the same time two threads
// dup2 in opposite directions, and duplicate what is being replaced.
void ReadWhileReplaced() {
  constexpr int kSources = 6;
  std::vector<int> sources;
  for (int i = 0; i < kSources; ++i) {
    // The last two are not covered.
    const std::string& root = i < kSources - 2 ? g_covered : g_plain;
    sources.push_back(open((root + "/sub/t" + std::to_string(i)).c_str(), O_RDONLY));
    CHECK(sources.back() >= 0);
  }
  const int target = dup(sources[0]), other = dup(sources[1]);
  std::atomic<bool> stop{false};
  auto one_of = [&](const unsigned char* got) {
    for (int i = 0; i < kSources; ++i)
      if (memcmp(got, g_bytes[static_cast<size_t>(i)].data(), 64) == 0) return true;
    return false;
  };
  std::vector<std::thread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&, t] {
      unsigned char got[64];
      struct stat info;
      while (!stop) {
        if (t == 0) {
          CHECK(fstat(target, &info) == 0 && S_ISREG(info.st_mode), "mode %o", info.st_mode);
        } else if (t == 1) {
          const int copy = dup(target);
          CHECK(copy >= 0 && pread(copy, got, sizeof got, 0) == 64 && one_of(got));
          CHECK(close(copy) == 0);
        } else if (t == 2) {
          CHECK(lseek(target, 0, SEEK_SET) == 0 && read(target, got, 1) >= 0);
        } else {
          CHECK(pread(target, got, sizeof got, 0) == 64 && one_of(got));
        }
      }
    });
  }
  std::thread opposite([&] {
    for (int i = 0; i < 3000; ++i) CHECK(dup2(other, target) == target);
  });
  SlowDup3();
  for (int i = 0; i < 3000; ++i) {
    // Through covered files only while a reader may have seen an uncovered target (fd_table.h).
    if (i % 10 == 0) {
      CHECK(dup3(sources[static_cast<size_t>(i / 10 % (kSources - 2))], target, O_CLOEXEC) == target);
    } else {
      CHECK(dup2(sources[static_cast<size_t>(i % (kSources - 2))], target) == target);
    }
    if (i % 7 == 0) CHECK(dup2(target, other) == other);
  }
  opposite.join();
  // From covered to plain: once, so that nobody meets the way back.
  CHECK(dup2(sources[kSources - 1], target) == target);
  usleep(1000);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(dup2(-1, target) == -1 && errno == EBADF);
  unsigned char got[64];
  CHECK(pread(target, got, sizeof got, 0) == 64 && memcmp(got, g_bytes[kSources - 1].data(), 64) == 0);
  for (int fd : sources) close(fd);
  close(target);
  close(other);
}

// Children that are forked while another thread is in the middle of a dup3 read both of its
// numbers, at once.
void ForkWhileReplaced() {
  const int source = open((g_covered + "/hello").c_str(), O_RDONLY);
  const int target = dup(source);
  CHECK(source >= 0 && target >= 0);
  std::atomic<bool> stop{false};
  std::atomic<int> replaced{0};
  std::thread replacer([&] {
    SlowDup3();
    for (; !stop; ++replaced) CHECK(dup3(source, target, 0) == target);
  });
  for (int i = 0; i < 30; ++i) {
    const int before = replaced;
    while (replaced == before) sched_yield();
    const pid_t pid = fork();
    if (pid == 0) {
      char got[6];
      _exit(pread(source, got, 6, 0) == 6 && pread(target, got, 6, 0) == 6 && close(target) == 0
                ? 0
                : 1);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "child %d: %x", i, status);
  }
  stop = true;
  replacer.join();
  close(source);
  close(target);
}

// The kernel takes long to close what is on a dup3's target (a lingering socket): whoever reads the
// source goes on, and whoever reads the target waits for the new file.
void ReplaceSlowly() {
  const int source = open((g_covered + "/sub/t1").c_str(), O_RDONLY);
  const int target = open((g_plain + "/sub/t2").c_str(), O_RDONLY);
  CHECK(source >= 0 && target >= 0);
  std::atomic<bool> starts{false}, done{false}, slow{true};
  std::thread replacer([&] {
    slow = SlowDup3(2'500'000);
    starts = true;
    CHECK(dup3(source, target, 0) == target);
    done = true;
  });
  while (!starts) usleep(100);
  if (!slow) {
    replacer.join();
    close(source);
    close(target);
    return;
  }
  usleep(300'000);
  CHECK(!done);
  unsigned char got[64];
  std::thread waits([&] {
    unsigned char bytes[64];
    CHECK(pread(target, bytes, sizeof bytes, 0) == 64 && memcmp(bytes, g_bytes[1].data(), 64) == 0);
  });
  int reads = 0;
  for (; !done; ++reads) {
    CHECK(pread(source, got, sizeof got, 0) == 64 && memcmp(got, g_bytes[1].data(), 64) == 0);
    usleep(1000);
  }
  CHECK(reads > 100, "%d reads", reads);
  replacer.join();
  waits.join();
  CHECK(pread(target, got, sizeof got, 0) == 64 && memcmp(got, g_bytes[1].data(), 64) == 0);
  // The same while the source is closed, and its number taken by another file: one of the two
  // files, or closed.
  std::thread again([&] {
    SlowDup3(400'000);
    const int onto = open((g_plain + "/sub/t2").c_str(), O_RDONLY);
    starts = false;
    const int result = dup3(source, onto, 0);
    unsigned char bytes[64];
    CHECK(result == onto && pread(onto, bytes, sizeof bytes, 0) == 64, "%d", result);
    CHECK(memcmp(bytes, g_bytes[1].data(), 64) == 0 || memcmp(bytes, g_bytes[3].data(), 64) == 0);
    close(onto);
  });
  while (starts) usleep(100);
  usleep(100'000);
  close(source);
  CHECK(open((g_covered + "/sub/t3").c_str(), O_RDONLY) == source);
  again.join();
  close(source);
  close(target);
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
  std::thread(ReadWhileReplaced).join();
  std::thread(ReadWhileMadeReal).join();
  ReplaceSlowly();
  ForkWhileReplaced();
  return g_failures == 0 ? 0 : 1;
}
