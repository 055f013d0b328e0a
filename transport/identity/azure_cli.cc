#include "transport/identity/azure_cli.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/environment.h"
#include "transport/base/limits.h"
#include "transport/base/thread.h"
#include "transport/identity/child.h"

extern char** environ;

namespace penstock::identity {
namespace {

constexpr std::int64_t kTimeoutNs = 30 * kNsPerSecond;  // a cold Python on a busy machine

// The child's environment: ours without secrets and without what is meant for programs under the
// shim.
std::vector<std::string> ChildEnvironment(const std::string& ca_file) {
  std::vector<std::string> variables;
  bool has_bundle = false;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view variable = *at;
    const std::string_view name = variable.substr(0, variable.find('='));
    if (IsSecretName(name) || name == "LD_PRELOAD" || name.starts_with("PENSTOCK_")) continue;
    has_bundle = has_bundle || name == "REQUESTS_CA_BUNDLE";
    variables.emplace_back(variable);
  }
  if (!has_bundle && !ca_file.empty()) variables.push_back("REQUESTS_CA_BUNDLE=" + ca_file);
  return variables;
}

class AzureCli final : public TokenSource {
 public:
  explicit AzureCli(const AzureCliConfig& config)
      : config_(config), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  ~AzureCli() override {
    Cancel();
    if (thread_.joinable()) thread_.join();
    close(wake_fd_);
  }

  std::string Describe() const override { return "Azure CLI"; }

  void Fetch(std::int64_t deadline_ns, TokenDone done) override {
    if (thread_.joinable()) thread_.join();  // has called back already
    cancelled_.store(false, std::memory_order_release);
    std::uint64_t drained = 0;
    (void)!read(wake_fd_, &drained, sizeof(drained));
    const std::int64_t until_ns = std::min(deadline_ns, SystemClock::Get().NowNs() + kTimeoutNs);
    thread_ = StartThread(
        "pst-az", [this, until_ns, done = std::move(done)]() mutable { done(Run(until_ns)); });
  }

  void Cancel() override {
    cancelled_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    (void)!write(wake_fd_, &one, sizeof(one));
  }

 private:
  static TokenOutcome Failed(Code code, bool retryable, std::string explanation,
                             bool not_here = false) {
    TokenOutcome outcome;
    outcome.answer = std::unexpected(Error{code, retryable, 0, "asking the Azure CLI"});
    outcome.explanation = std::move(explanation);
    outcome.not_here = not_here;
    return outcome;
  }

  TokenOutcome Run(std::int64_t deadline_ns) const {
    const std::string program = FindAzureCli(config_.path);
    if (program.empty()) {
      return Failed(Code::kPermission, false, "there is no az on PATH", /*not_here=*/true);
    }
    std::vector<std::string> argv = {
        program, "account", "get-access-token", "--resource", std::string(kStorageResource),
        "-o",    "json"};
    if (!config_.tenant_id.empty()) argv.insert(argv.end(), {"--tenant", config_.tenant_id});
    const ChildOutput output =
        RunChild(argv, ChildEnvironment(config_.ca_file), limits::kMaxTokenBodyBytes, deadline_ns,
                 cancelled_, wake_fd_);
    return Judge(program, output);
  }

  static TokenOutcome Judge(const std::string& program, const ChildOutput& output) {
    switch (output.end) {
      case ChildOutput::End::kNotStarted:
        return Failed(Code::kPermission, false,
                      fmt::format("{} cannot be run: {}", program, std::strerror(output.status)));
      case ChildOutput::End::kDeadline:
        return Failed(Code::kUnavailable, true, program + " did not answer in time");
      case ChildOutput::End::kTooMuch:
        return Failed(Code::kUnavailable, true, program + " printed more than a token");
      case ChildOutput::End::kCancelled:
        return Failed(Code::kCancelled, false, "cancelled");
      case ChildOutput::End::kKilled:
        return Failed(Code::kUnavailable, true,
                      fmt::format("{} was ended by signal {}", program, output.status));
      case ChildOutput::End::kExited:
        break;
    }
    if (output.status != 0) {
      // "ERROR: Please run 'az login' to setup account."
      const std::string said = OneLine(output.err, 300);
      return Failed(Code::kPermission, false,
                    fmt::format("{} failed{}{}", program, said.empty() ? "" : ": ", said),
                    /*not_here=*/said.find("az login") != std::string::npos);
    }
    TokenOutcome outcome;
    outcome.answer = ParseTokenAnswer(output.out, TokenDialect::kCli, SystemClock::Get().WallNs(),
                                      &outcome.explanation);
    if (!outcome.answer) {
      return Failed(Code::kUnavailable, true, fmt::format("{}: {}", program, outcome.explanation));
    }
    return outcome;
  }

  const AzureCliConfig config_;
  const int wake_fd_;
  std::atomic<bool> cancelled_{false};
  std::thread thread_;
};

}  // namespace

std::string FindAzureCli(const std::string& path) {
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t end = rest.find(':');
    const std::string_view folder = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (!folder.starts_with('/')) continue;  // never from where we happen to be
    std::string candidate = fmt::format("{}/az", folder);
    struct stat status{};
    if (stat(candidate.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return "";
}

Result<std::unique_ptr<TokenSource>> MakeAzureCli(const AzureCliConfig& config,
                                                  std::string* explanation) {
  const bool safe = std::all_of(config.tenant_id.begin(), config.tenant_id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.';
  });
  if (!safe || config.tenant_id.starts_with('-')) {
    *explanation = "the tenant id is not one";
    return Fail(Code::kInvalid, "choosing the Azure CLI");
  }
  return std::make_unique<AzureCli>(config);
}

}  // namespace penstock::identity
