// How much stack the library takes from the program: calls are made in a signal handler on an
// alternate stack of a known pattern, as programs with stacks of a few KiB make them.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/shim/check.h"

namespace {

constexpr size_t kRoom = 256 * 1024;
constexpr unsigned char kPattern = 0x5a;

enum class Call {
  kNothing,
  kOpen,
  kStat,
  kAccess,
  kReadlink,
  kChdir,
  kGetcwd,
  kRealpath,
  kOpendir,
  kRead
};
Call g_call;
const char* g_path;
unsigned char* g_area;
char g_resolved[4096];

void Handler(int) {
  struct stat info;
  switch (g_call) {
    case Call::kNothing:
      break;
    case Call::kOpen: {
      const int fd = open(g_path, O_RDONLY);
      if (fd >= 0) close(fd);
      break;
    }
    case Call::kStat:
      stat(g_path, &info);
      break;
    case Call::kAccess:
      access(g_path, R_OK);
      break;
    case Call::kReadlink: {
      char name[64];
      if (readlink(g_path, name, sizeof name) < 0) break;
      break;
    }
    case Call::kChdir:
      if (chdir(g_path) != 0) break;
      break;
    case Call::kGetcwd: {
      char name[128];
      if (getcwd(name, sizeof name) == nullptr) break;
      break;
    }
    case Call::kRealpath:
      if (realpath(g_path, g_resolved) == nullptr) break;
      break;
    case Call::kOpendir: {
      DIR* dir = opendir(g_path);
      if (dir != nullptr) closedir(dir);
      break;
    }
    case Call::kRead: {
      const int fd = open(g_path, O_RDONLY);
      char byte;
      if (fd >= 0 && read(fd, &byte, 1) == 1) close(fd);
      break;
    }
  }
}

// Bytes of stack, the kernel's frame included.
size_t Used(Call call, const char* path, const char* first) {
  g_call = call;
  g_path = first;
  raise(SIGUSR1);  // binds symbols, fills caches
  g_path = path;
  memset(g_area, kPattern, kRoom);
  raise(SIGUSR1);
  size_t i = 0;
  while (i < kRoom && g_area[i] == kPattern) ++i;
  return kRoom - i;
}

// `first` is what the call is made on before it is measured: absent names in a folder are
// remembered.
void Expect(const char* what, Call call, const std::string& path, size_t limit_bytes,
            std::string first = "") {
  if (first.empty()) first = path;
  const size_t base = Used(Call::kNothing, "", ""), all = Used(call, path.c_str(), first.c_str());
  const size_t used = all > base ? all - base : 0;
  printf("%s: %zu bytes of stack\n", what, used);
  CHECK(used <= limit_bytes, "%s used %zu of %zu", what, used, limit_bytes);
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  g_area = static_cast<unsigned char*>(
      mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  stack_t stack = {};
  stack.ss_sp = g_area;
  stack.ss_size = kRoom;
  struct sigaction action = {};
  action.sa_handler = Handler;
  action.sa_flags = SA_ONSTACK;
  CHECK(g_area != MAP_FAILED && sigaltstack(&stack, nullptr) == 0 &&
        sigaction(SIGUSR1, &action, nullptr) == 0);
  Expect("open, not covered", Call::kOpen, "/proc/self/maps", 1536);
  Expect("open, not covered, absent", Call::kOpen, g_plain + "/many/not-there", 1536,
         g_plain + "/not-there");
  Expect("open, not covered, absent, with dots", Call::kOpen, g_plain + "/../not-there", 2048);
  Expect("stat, not covered", Call::kStat, "/proc/self", 1536);
  Expect("stat, not covered, absent", Call::kStat, g_plain + "/sub/not-there", 1536,
         g_plain + "/not-there");
  Expect("access, not covered, absent", Call::kAccess, g_plain + "/sub/deep/not-there", 1536,
         g_plain + "/not-there");
  Expect("readlink of /proc", Call::kReadlink, "/proc/self/exe", 1024);
  Expect("readlink of another process's number", Call::kReadlink, "/proc/1/fd/0", 1536);
  Expect("chdir, not covered", Call::kChdir, "/usr", 1536);
  Expect("chdir, not covered, absent", Call::kChdir, "/usr/not-there", 2048);
  Expect("getcwd", Call::kGetcwd, "", 1024);
  Expect("realpath, not covered", Call::kRealpath, "/usr/bin/../lib", 2048);
  Expect("opendir, not covered", Call::kOpendir, "/proc/self", 2048);
  Expect("chdir, covered", Call::kChdir, g_covered + "/sub", 2560);
  Expect("getcwd, covered", Call::kGetcwd, "", 1024);
  Expect("realpath, covered", Call::kRealpath, g_covered + "/sub/../hello", 3072);
  Expect("chdir back", Call::kChdir, "/", 1536);
  Expect("read, covered", Call::kRead, g_covered + "/hello", 2048);
  Expect("open, covered", Call::kOpen, g_covered + "/hello", 2048);
  Expect("stat, covered", Call::kStat, g_covered + "/hello", 2048);
  Expect("stat, covered, with dots", Call::kStat, g_covered + "/sub/../hello", 3072);
  return g_failures == 0 ? 0 : 1;
}
