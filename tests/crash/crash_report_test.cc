// Crashes a real child in every way and reads the report it leaves.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int status = 0;
  std::string on_stderr;
  std::string file;
  std::size_t files = 0;
};

Outcome Crash(const char* how) {
  char folder[] = "/tmp/penstock-crash-XXXXXX";
  EXPECT_NE(::mkdtemp(folder), nullptr);
  int pipe_fds[2];
  EXPECT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipe_fds[1], STDERR_FILENO);
    ::setenv("AZURE_STORAGE_KEY", "c2VjcmV0LW9mLXRoZS10ZXN0", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    ::execl(CRASH_CHILD, "crash_child", how, folder, nullptr);
    ::_exit(127);
  }
  ::close(pipe_fds[1]);
  Outcome outcome;
  char text[4096];
  for (ssize_t n; (n = ::read(pipe_fds[0], text, sizeof text)) > 0;)
    outcome.on_stderr.append(text, static_cast<std::size_t>(n));
  ::close(pipe_fds[0]);
  ::waitpid(child, &outcome.status, 0);
  for (const auto& entry : fs::directory_iterator(folder)) {
    outcome.files++;
    EXPECT_EQ(entry.path().filename(), "crash-" + std::to_string(child) + ".txt");
    std::ifstream in(entry.path());
    outcome.file.assign(std::istreambuf_iterator<char>(in), {});
  }
  fs::remove_all(folder);
  return outcome;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

void ExpectReport(const Outcome& outcome, int signal, const char* name) {
  EXPECT_TRUE(WIFSIGNALED(outcome.status)) << outcome.status;
  EXPECT_EQ(WTERMSIG(outcome.status), signal);
  EXPECT_EQ(outcome.files, 1u);
  EXPECT_EQ(outcome.file, outcome.on_stderr) << "the same in both places";
  EXPECT_TRUE(Has(outcome.file, std::string("crash_child 1.2.3 crashed: ") + name)) << outcome.file;
  EXPECT_TRUE(Has(outcome.file, "build id ")) << outcome.file;
  EXPECT_FALSE(Has(outcome.file, "build id \n")) << "an empty build id";
  EXPECT_TRUE(Has(outcome.file, "*** end of report")) << outcome.file;
  EXPECT_FALSE(Has(outcome.file, "c2VjcmV0")) << "no environment in a report";
}

struct Way {
  const char* how;
  int signal;
  const char* name;
};

class CrashReportTest : public testing::TestWithParam<Way> {};

TEST_P(CrashReportTest, NamesTheSignalAndTheStack) {
  const Way way = GetParam();
  const Outcome outcome = Crash(way.how);
  ExpectReport(outcome, way.signal, way.name);
  // Function + offset and module + file offset, innermost first.
  const std::size_t inner = outcome.file.find(" penstock_test_innermost+0x");
  const std::size_t outer = outcome.file.find(" penstock_test_outer+0x");
  const std::size_t main_at = outcome.file.find(" main+0x");
  ASSERT_NE(inner, std::string::npos) << outcome.file;
  ASSERT_NE(outer, std::string::npos) << outcome.file;
  ASSERT_NE(main_at, std::string::npos) << outcome.file;
  EXPECT_LT(inner, outer);
  EXPECT_LT(outer, main_at);
  EXPECT_TRUE(Has(outcome.file, std::string(" in ") + CRASH_CHILD + "+0x")) << outcome.file;
}

INSTANTIATE_TEST_SUITE_P(Signals, CrashReportTest,
                         testing::Values(Way{"segv", SIGSEGV, "SIGSEGV (11) at address 0x1234"},
                                         Way{"bus", SIGBUS, "SIGBUS (7) at address"},
                                         Way{"ill", SIGILL, "SIGILL (4) at address"},
                                         Way{"fpe", SIGFPE, "SIGFPE (8)"},
                                         Way{"abort", SIGABRT, "SIGABRT (6)"},
                                         Way{"kill", SIGSEGV, "SIGSEGV (11) sent by process"}),
                         [](const auto& param) { return std::string(param.param.how); });

TEST(CrashReport, StackOverflowIsReportedFromTheOtherStack) {
  for (const char* how : {"overflow", "thread-overflow", "worker-overflow"}) {
    const Outcome outcome = Crash(how);
    ExpectReport(outcome, SIGSEGV, "SIGSEGV");
    EXPECT_TRUE(Has(outcome.file, " penstock_test_overflow+0x")) << outcome.file;
    EXPECT_TRUE(Has(outcome.file, "... more frames"));
  }
}

TEST(CrashReport, NamesTheThread) {
  const Outcome outcome = Crash("thread");
  ExpectReport(outcome, SIGSEGV, "SIGSEGV");
  EXPECT_TRUE(Has(outcome.file, " (victim)")) << outcome.file;
}

TEST(CrashReport, TwoThreadsAtOnceGiveOneWholeReport) {
  for (int i = 0; i < 10; i++) {
    const Outcome outcome = Crash("two");
    ASSERT_TRUE(WIFSIGNALED(outcome.status));
    EXPECT_EQ(outcome.files, 1u);
    EXPECT_TRUE(Has(outcome.file, "*** end of report")) << outcome.file;
    EXPECT_EQ(outcome.file.find(" crashed: "), outcome.file.rfind(" crashed: ")) << outcome.file;
  }
}

TEST(CrashReport, AProgramThatDoesNotCrashLeavesNothing) {
  const Outcome outcome = Crash("nothing");
  EXPECT_TRUE(WIFEXITED(outcome.status));
  EXPECT_EQ(WEXITSTATUS(outcome.status), 0);
  EXPECT_EQ(outcome.files, 0u);
  EXPECT_EQ(outcome.on_stderr, "");
}

}  // namespace
}  // namespace penstock::cache
