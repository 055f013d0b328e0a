// `penstock run`: start or join the job's sidecar, preload the shim, become the program.
#include <errno.h>
#include <fmt/format.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/cli/command.h"
#include "cache/cli/sidecar.h"
#include "cache/cli/stat_text.h"
#include "cache/config/units.h"
#include "cache/doctor/doctor.h"

namespace penstock::cli {
namespace {

constexpr int kNotExecutable = 126;

// As in shim/supervise/start.h.
constexpr const char* kRunOption = "--penstock-run";
constexpr char kMaskedLetter = '\1';

struct RunOptions {
  std::string config_file;
  bool join = false;
  bool strict = false;
  bool stats = false;
};

// The dynamic loader that this program was started with.
std::string Loader() {
  std::string path;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* out) {
        for (int i = 0; i < object->dlpi_phnum; i++) {
          const ElfW(Phdr)& segment = object->dlpi_phdr[i];
          if (segment.p_type == PT_INTERP)
            *static_cast<std::string*>(out) =
                reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);
        }
        return 1;  // the first object is the program
      },
      &path);
  return path;
}

// Variables of the loader are for the program and not for the library that starts it.
void MaskLoaderVariables(char** environment) {
  for (char** variable = environment; *variable != nullptr; variable++)
    if (strncmp(*variable, "LD_", 3) == 0) **variable = kMaskedLetter;
}

// The library finds the program (it may lie in a mount), sees whether it has to be supervised, and becomes it
// (shim/supervise/start.h). Gives 126 or 127 with a line on stderr; does not come back otherwise.
int Exec(const std::vector<std::string>& program, const std::string& shim, bool strict) {
  const std::string loader = Loader();
  std::vector<std::string> words{program[0], shim, kRunOption, strict ? "strict" : "-"};
  words.insert(words.end(), program.begin(), program.end());
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  MaskLoaderVariables(environ);
  execv(loader.c_str(), argv.data());
  Complain(fmt::format("{}: cannot be run: {}", loader, strerror(errno)));
  return kNotExecutable;
}

std::atomic<pid_t> g_program_pid{0};

// A signal that a terminal sends goes to the whole foreground group, so the program has it already.
void Forward(int signal, siginfo_t* info, void*) {
  const pid_t pid = g_program_pid.load();
  if (pid > 0 && info->si_code <= 0) kill(pid, signal);
}

constexpr std::array kForwarded = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
                                   SIGUSR2, SIGCONT, SIGWINCH, SIGALRM};

// Runs the program as a child, so that something can be printed after it.
template <class Become>
int ForkAndWait(Become become, int* signal) {
  struct sigaction action{};
  action.sa_sigaction = Forward;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  std::array<struct sigaction, kForwarded.size()> before{};
  sigset_t all;
  sigset_t mask;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &mask);  // until both sides know who is who
  for (std::size_t i = 0; i < kForwarded.size(); ++i) sigaction(kForwarded[i], &action, &before[i]);
  const pid_t pid = fork();
  if (pid == 0) {
    for (std::size_t i = 0; i < kForwarded.size(); ++i)
      sigaction(kForwarded[i], &before[i], nullptr);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    _exit(become());
  }
  g_program_pid = pid;
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  if (pid < 0) {
    Complain(fmt::format("fork: {}", strerror(errno)));
    return kNotExecutable;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  g_program_pid = 0;
  if (WIFSIGNALED(status)) *signal = WTERMSIG(status);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Ends as the program ended: by the same signal, without a second core dump.
[[noreturn]] void DieBySignal(int number) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  raise(number);
  _exit(128 + number);
}

int Run(const RunOptions& options, const std::vector<std::string>& program) {
  const auto config = ReadConfig(options.config_file);
  if (!config) return kUsage;
  if (program.empty()) {
    Complain("nothing to run: penstock run -c job.toml -- CMD...");
    return kUsage;
  }
  const std::string shim = FindShim();
  if (shim.empty()) {
    Complain("libpenstock.so is not in ../lib beside this program, nor where PENSTOCK_LIB says");
    return kFailed;
  }
  if (shim.find_first_of(": ") != std::string::npos) {
    Complain(
        fmt::format("{}: LD_PRELOAD cannot name a path with a space or a colon; set "
                    "PENSTOCK_LIB to a copy elsewhere",
                    shim));
    return kFailed;
  }
  if (!EnsureSidecar(*config, !options.join)) {
    if (!options.join) return kFailed;
    Complain(fmt::format("covered paths will wait up to {} for a sidecar and then fail with EIO",
                         cache::FormatDuration(config->sidecar.wait_ns)));
  }
  for (const cache::MountConfig& mount : config->mounts) {
    if (const std::string local = cache::LocalFilesUnder(mount.path, mount.origin); !local.empty())
      Complain(local);
  }
  std::optional<cache::Json> before;
  if (options.stats) before = AskSidecar(*config, {{"op", "stat"}});
  for (const auto& [name, value] : ProgramEnvironment(*config, shim))
    setenv(name.c_str(), value.c_str(), 1);
  const auto become = [&] { return Exec(program, shim, options.strict); };
  if (!options.stats) return become();
  int signal = 0;
  const int code = ForkAndWait(become, &signal);
  // Our own environment must not make the question below go through the shim: it does not, since
  // the shim is loaded at exec only.
  if (const auto after = AskSidecar(*config, {{"op", "stat"}}); before && after)
    fmt::print(stderr, "{}", StatDifferenceText(*before, *after));
  if (signal != 0) DieBySignal(signal);
  return code;
}

}  // namespace

Command RunCommand(const std::vector<std::string>* program) {
  auto options = std::make_shared<RunOptions>();
  return {"run",
          "Run a program with the covered paths served from the cache",
          "Example:\n  penstock run -c job.toml -- python train.py --epochs 3\n"
          "What stands after \"--\" is the program; the exit code is the program's. A "
          "sidecar is started\n"
          "if none answers, and ends by itself `linger` after the last program.",
          {ConfigArgument(&options->config_file),
           {"--join", &options->join, "Only join a sidecar; never start one"},
           {"--strict", &options->strict, "Supervise every program, not only static and Go ones"},
           {"--stats", &options->stats, "Print the counters on stderr afterwards"}},
          [options, program] { return Run(*options, *program); },
          {}};
}

}  // namespace penstock::cli
