#include "cache/crash/crash_report.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "cache/crash/modules.h"

namespace penstock::cache {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
constexpr std::size_t kStackBytes = 256 << 10;  // libunwind keeps paths and cursors on it
constexpr int kMaxFrames = 64;
constexpr unsigned kHangSeconds = 10;

// All that the handler reads; written at install, before it can run.
ModuleList g_modules;
char g_version[128];
int g_folder = -1;
std::atomic<int> g_crashing_thread{0};

// Formats into a small buffer and writes to stderr and the file. No allocation, no locale, no lock.
class Report {
 public:
  explicit Report(int file) : file_(file) {}
  ~Report() { Flush(); }

  Report& Text(const char* text) {
    while (*text != '\0') Put(*text++);
    return *this;
  }
  Report& Number(std::uint64_t value) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (count > 0) Put(digits[--count]);
    return *this;
  }
  Report& Hex(std::uint64_t value) {
    Text("0x");
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) Put("0123456789abcdef"[(value >> shift) & 15]);
    return *this;
  }
  Report& Bytes(const unsigned char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
      Put("0123456789abcdef"[bytes[i] >> 4]);
      Put("0123456789abcdef"[bytes[i] & 15]);
    }
    return *this;
  }
  void Line() {
    Put('\n');
    Flush();
  }

 private:
  void Put(char c) {
    if (used_ == sizeof buffer_) Flush();
    buffer_[used_++] = c;
  }
  void Flush() {
    for (int fd : {STDERR_FILENO, file_}) {
      if (fd >= 0 && used_ > 0) [[maybe_unused]]
        const ssize_t n = ::write(fd, buffer_, used_);
    }
    used_ = 0;
  }

  int file_;
  char buffer_[512];
  std::size_t used_ = 0;
};

const char* SignalName(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGILL:
      return "SIGILL";
    case SIGFPE:
      return "SIGFPE";
    case SIGABRT:
      return "SIGABRT";
    default:
      return "signal";
  }
}

int ThreadId() { return static_cast<int>(::syscall(SYS_gettid)); }

void WriteHead(Report& report, int signal, const siginfo_t* info) {
  char thread[17] = {};
  ::prctl(PR_GET_NAME, thread);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  report.Text("*** ")
      .Text(g_version)
      .Text(" crashed: ")
      .Text(SignalName(signal))
      .Text(" (")
      .Number(static_cast<std::uint64_t>(signal))
      .Text(")");
  if (info->si_code > 0 && signal != SIGABRT)
    report.Text(" at address ").Hex(reinterpret_cast<std::uintptr_t>(info->si_addr));
  else
    report.Text(" sent by process ").Number(static_cast<std::uint64_t>(info->si_pid));
  report.Line();
  report.Text("time ")
      .Number(static_cast<std::uint64_t>(now.tv_sec))
      .Text(" process ")
      .Number(static_cast<std::uint64_t>(::getpid()))
      .Text(" thread ")
      .Number(static_cast<std::uint64_t>(ThreadId()))
      .Text(" (")
      .Text(thread)
      .Text(")")
      .Line();
  if (const Module* program = g_modules.Program()) {
    report.Text("program ")
        .Text(program->path)
        .Text(" build id ")
        .Bytes(program->build_id, program->build_id_bytes)
        .Line();
  }
}

// Goes up the stack of the interrupted code; `names` decides whether libunwind's symbols are asked
// for.
void WriteStack(Report& report, ucontext_t* context, bool names) {
  unw_cursor_t cursor;
  if (unw_init_local2(&cursor, context, UNW_INIT_SIGNAL_FRAME) != 0) {
    report.Text("no stack").Line();
    return;
  }
  for (int frame = 0; frame < kMaxFrames; frame++) {
    unw_word_t pc = 0;
    if (unw_get_reg(&cursor, UNW_REG_IP, &pc) != 0 || (pc == 0 && frame > 0)) return;
    report.Text("#").Number(static_cast<std::uint64_t>(frame)).Text(" ").Hex(pc);
    if (names) {
      char name[256];
      unw_word_t offset = 0;
      const int rc = unw_get_proc_name(&cursor, name, sizeof name, &offset);
      if (rc == 0 || rc == -UNW_ENOMEM)
        report.Text(" ").Text(name).Text("+").Hex(offset);
      else
        report.Text(" ?");
    }
    if (const Module* module = g_modules.Find(pc))
      report.Text(" in ").Text(module->path).Text("+").Hex(pc - module->to_file);
    report.Line();
    if (unw_step(&cursor) <= 0) return;
  }
  report.Text("... more frames").Line();
}

int OpenFile() {
  if (g_folder < 0) return -1;
  char name[40] = "crash-";
  char digits[12];
  int count = 0;
  for (auto pid = static_cast<unsigned>(::getpid()); pid != 0; pid /= 10)
    digits[count++] = static_cast<char>('0' + pid % 10);
  std::size_t at = 6;
  while (count > 0) name[at++] = digits[--count];
  std::memcpy(name + at, ".txt", 5);
  (void)::unlinkat(g_folder, name, 0);
  return ::openat(g_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

[[noreturn]] void EndBy(int signal) {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  (void)::sigaction(signal, &action, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  (void)::syscall(SYS_tgkill, ::getpid(), ThreadId(), signal);
  (void)::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);  // it is delivered here
  ::_exit(128 + signal);
}

void EndIfThisHangs() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  (void)::sigaction(SIGALRM, &action, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGALRM);
  (void)::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::alarm(kHangSeconds);
}

void OnCrash(int signal, siginfo_t* info, void* context) {
  const int self = ThreadId();
  int nobody = 0;
  if (!g_crashing_thread.compare_exchange_strong(nobody, self)) {
    if (nobody == self) EndBy(signal);  // the report itself crashed
    for (;;) ::pause();                 // the first one ends us all
  }
  EndIfThisHangs();
  const int file = OpenFile();
  {
    Report report(file);
    WriteHead(report, signal, info);
    report.Text("addresses:").Line();
    WriteStack(report, static_cast<ucontext_t*>(context), false);
    report.Text("stack:").Line();
    WriteStack(report, static_cast<ucontext_t*>(context), true);
    report.Text("*** end of report").Line();
  }
  if (file >= 0) {
    (void)::fsync(file);
    ::close(file);
  }
  EndBy(signal);
}

// A stack for handlers, with a page below that catches its overflow. Goes with its thread.
class AlternateStack {
 public:
  AlternateStack() {
    page_bytes_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    memory_ = ::mmap(nullptr, kStackBytes + page_bytes_, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) return;
    (void)::mprotect(memory_, page_bytes_, PROT_NONE);
    stack_t stack{};
    stack.ss_sp = static_cast<char*>(memory_) + page_bytes_;
    stack.ss_size = kStackBytes;
    (void)::sigaltstack(&stack, nullptr);
  }
  ~AlternateStack() {
    if (memory_ == MAP_FAILED) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    (void)::sigaltstack(&off, nullptr);
    ::munmap(memory_, kStackBytes + page_bytes_);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  void* memory_ = MAP_FAILED;
  std::size_t page_bytes_ = 0;
};

// Lets libunwind build its tables now, while it may allocate.
void WarmUnwinder() {
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return;
  do {
    char name[64];
    unw_word_t offset;
    (void)unw_get_proc_name(&cursor, name, sizeof name, &offset);
  } while (unw_step(&cursor) > 0);
}

}  // namespace

Result<void> InstallCrashReport(const CrashReportConfig& config) {
  std::strncpy(g_version, config.version.c_str(), sizeof g_version - 1);
  int folder = -1, folder_errno = 0;
  if (!config.folder.empty()) {
    folder = ::open(config.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    folder_errno = folder < 0 ? errno : 0;
  }
  if (g_folder >= 0) ::close(g_folder);
  g_folder = folder;
  g_modules.Take();
  WarmUnwinder();
  UseAlternateStack();
  for (int signal : kSignals) {
    struct sigaction action{};
    action.sa_sigaction = OnCrash;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (::sigaction(signal, &action, nullptr) != 0)
      return std::unexpected(ErrnoError(errno, "installing the crash handler"));
  }
  if (folder_errno != 0)
    return std::unexpected(ErrnoError(folder_errno, "opening the folder of crash reports"));
  return {};
}

void UseAlternateStack() { thread_local AlternateStack stack; }

}  // namespace penstock::cache
