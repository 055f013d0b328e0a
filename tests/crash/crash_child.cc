// Crashes in the way that its first argument names, with reports in the folder of the second.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "cache/crash/crash_report.h"
#include "transport/base/thread.h"

// Not inlined and with C names, so that the test knows what to look for.
extern "C" {

__attribute__((noinline, noclone)) int penstock_test_innermost(const char* how, int zero) {
  if (std::strcmp(how, "segv") == 0) *reinterpret_cast<volatile int*>(0x1234) = 1;
  if (std::strcmp(how, "ill") == 0) __builtin_trap();
  if (std::strcmp(how, "fpe") == 0) {
#if defined(__x86_64__)
    asm volatile("xorl %%edx, %%edx; movl $1, %%eax; divl %0" : : "r"(zero) : "eax", "edx");
#else
    ::raise(SIGFPE);
#endif
  }
  if (std::strcmp(how, "abort") == 0) std::abort();
  if (std::strcmp(how, "bus") == 0) {
    const int fd = ::memfd_create("short", 0);
    auto* map = static_cast<volatile char*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
    return map[0];
  }
  if (std::strcmp(how, "kill") == 0) return ::kill(::getpid(), SIGSEGV);
  return 0;
}

__attribute__((noinline, noclone)) int penstock_test_outer(const char* how) {
  const int rc = penstock_test_innermost(how, 0);
  asm volatile("");  // no tail call
  return rc + 1;
}

__attribute__((noinline, noclone)) int penstock_test_overflow(int depth) {
  volatile char page[2048];
  page[0] = static_cast<char>(depth);
  const int rc = depth < 0 ? 0 : penstock_test_overflow(depth + 1);
  return rc + page[0];
}
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string how = argv[1];
  if (!penstock::cache::InstallCrashReport({argv[2], "crash_child 1.2.3"})) return 3;
  if (how == "overflow") return penstock_test_overflow(0) == 77;
  if (how == "thread-overflow" || how == "thread") {
    std::thread([&] {
      ::pthread_setname_np(::pthread_self(), "victim");
      penstock::cache::UseAlternateStack();
      if (how == "thread") return penstock_test_outer("segv");
      return penstock_test_overflow(0);
    }).join();
  }
  if (how == "worker-overflow") {  // as penstockd's threads are started
    penstock::OnThreadStart(&penstock::cache::UseAlternateStack);
    penstock::StartThread("victim", [] { return penstock_test_overflow(0); }).join();
  }
  if (how == "two") {
    std::thread a([] { return penstock_test_outer("segv"); });
    std::thread b([] { return penstock_test_outer("ill"); });
    a.join();
    b.join();
  }
  return penstock_test_outer(argv[1]) == 1 ? 0 : 4;
}
