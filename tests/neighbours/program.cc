// A program with threads, streams, forks and memory of its own, for what else may be loaded beside
// the library: allocators, other preloaded libraries, sanitizers. Prints what it read; the plain
// folder must give the same.
//   program FOLDER
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string g_folder;

unsigned long SumOf(const char* bytes, size_t count) {
  unsigned long sum = 5381;
  for (size_t i = 0; i < count; ++i) sum = sum * 33 + static_cast<unsigned char>(bytes[i]);
  return sum;
}

std::string Slurp(const std::string& name) {
  const int fd = open((g_folder + "/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  std::string all;
  std::vector<char> block(5000);
  for (ssize_t n; fd >= 0 && (n = read(fd, block.data(), block.size())) > 0;)
    all.append(block.data(), static_cast<size_t>(n));
  if (fd >= 0) close(fd);
  return all;
}

void Threads() {
  // 64 at once, each with numbers, streams and folders of its own.
  std::atomic<unsigned long> total{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 64; ++t) {
    threads.emplace_back([&total, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string bytes = Slurp(t % 2 == 0 ? "numbers" : "big");
        total += SumOf(bytes.data(), bytes.size()) % 1000003;
        FILE* stream = fopen((g_folder + "/numbers").c_str(), "r");
        char* line = nullptr;
        size_t room = 0;
        for (int k = 0; k < 50 && getline(&line, &room, stream) > 0; ++k) total += strlen(line);
        free(line);
        fclose(stream);
        DIR* dir = opendir((g_folder + "/tree").c_str());
        while (readdir(dir) != nullptr) ++total;
        closedir(dir);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  printf("threads %lu\n", total.load());
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void Cancelled() {}  // a cancelled thread is more than they take by themselves
#else
// A thread that is cancelled between and inside its reads leaves nothing held: others go on.
void Cancelled() {
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> runs{false};
    pthread_t thread;
    auto body = [](void* flag) -> void* {
      const int fd = open((g_folder + "/big").c_str(), O_RDONLY);
      char bytes[3000];
      static_cast<std::atomic<bool>*>(flag)->store(true);
      for (;;) {
        if (read(fd, bytes, sizeof bytes) == 0) lseek(fd, 0, SEEK_SET);
        pthread_testcancel();
      }
      return nullptr;
    };
    if (pthread_create(&thread, nullptr, body, &runs) != 0) abort();
    while (!runs) sched_yield();
    usleep(static_cast<useconds_t>(i * 7));
    pthread_cancel(thread);
    void* result;
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED) printf("not cancelled\n");
  }
  printf("after cancelling %zu\n", Slurp("numbers").size());
}
#endif

std::atomic<unsigned long> g_handled;
int g_handler_fd;
void Handler(int) {
  char byte;
  if (pread(g_handler_fd, &byte, 1, 5) == 1) g_handled += static_cast<unsigned char>(byte);
  struct stat info;
  if (fstat(g_handler_fd, &info) == 0) ++g_handled;
}

// Handlers that read, in the middle of reads; a pipe's read is interrupted as ever.
void Signals() {
  g_handler_fd = open((g_folder + "/numbers").c_str(), O_RDONLY);
  struct sigaction action = {};
  action.sa_handler = Handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  struct itimerval often = {{0, 300}, {0, 300}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  unsigned long sum = 0;
  while (g_handled < 1500) {
    const std::string bytes = Slurp("big");
    sum = SumOf(bytes.data(), bytes.size());
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  action.sa_flags = 0;
  sigaction(SIGALRM, &action, nullptr);
  int ends[2];
  if (pipe(ends) != 0) abort();
  struct itimerval once = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &once, nullptr);
  char byte;
  const ssize_t got = read(ends[0], &byte, 1);
  printf("signals %lu, pipe %zd %s\n", sum, got, strerror(errno));
  close(ends[0]);
  close(ends[1]);
}

void Processes() {
  FILE* stream = fopen((g_folder + "/numbers").c_str(), "r");
  char line[64];
  if (fgets(line, sizeof line, stream) == nullptr) abort();
  fflush(stdout);
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      const std::string bytes = Slurp("big");
      printf("child %lu\n", SumOf(bytes.data(), bytes.size()));
      fflush(stdout);
      _exit(0);
    }
    waitpid(pid, nullptr, 0);
  }
  fclose(stream);
  fflush(stdout);
  const std::string command =
      "sort -n '" + g_folder + "/numbers' | tail -1; cat '" + g_folder + "/small'";
  printf("system %d\n", system(command.c_str()));
  FILE* pipe = popen(("wc -l <'" + g_folder + "/numbers'").c_str(), "r");
  printf("popen %s", fgets(line, sizeof line, pipe));
  pclose(pipe);
}

void Mapped() {
  const int fd = open((g_folder + "/big").c_str(), O_RDONLY);
  struct stat info;
  fstat(fd, &info);
  const auto size = static_cast<size_t>(info.st_size);
  auto* at = static_cast<char*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0));
  close(fd);
  printf("mapped %lu\n", SumOf(at, size));
  munmap(at, size);
}

// Reads where a program is at its very end.
struct Late {
  ~Late() {
    const std::string bytes = Slurp("small");
    dprintf(1, "destructor %zu\n", bytes.size());
  }
} g_late;
void AtExit() { dprintf(1, "atexit %zu\n", Slurp("numbers").size()); }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  g_folder = argv[1];
  atexit(AtExit);
  Threads();
  Cancelled();
  Signals();
  Processes();
  Mapped();
  fflush(stdout);
  return 0;
}
