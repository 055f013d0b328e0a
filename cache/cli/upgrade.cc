// `penstock upgrade`: another penstockd takes the place of the one that serves, under running
// programs.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cache/admin/client.h"
#include "cache/cli/command.h"
#include "cache/daemon/handover.h"
#include "transport/base/clock.h"

namespace penstock::cli {
namespace {

using cache::AdminClient;
using cache::Json;

constexpr std::int64_t kMarginMs = 15'000;

std::string Who(const Json& status) {
  return fmt::format("penstockd {} (process {})", cache::JsonString(status, "version"),
                     cache::JsonNumber(status, "pid"));
}

// Whoever serves, within a limit: programs wait in the same queue.
std::optional<Json> WhoServes(const cache::Config& config, std::int64_t deadline_ms) {
  while (NowMs() < deadline_ms) {
    auto client = AdminClient::Connect(config.sidecar.socket, kConnectMs);
    if (client) {
      auto status = client->Ask({{"op", "status"}}, kAnswerMs);
      if (status) return *std::move(status);
    }
    poll(nullptr, 0, 20);
  }
  return std::nullopt;
}

int Upgrade(const std::string& config_file, std::string program) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  if (program.empty()) program = FindSidecarProgram();
  if (program.empty() || program[0] != '/') {
    Complain(program.empty() ? "penstockd is not beside this program; name one by --binary"
                             : fmt::format("{}: --binary takes an absolute path", program));
    return kUsage;
  }
  auto client = AdminClient::Connect(config->sidecar.socket, kConnectMs);
  if (!client) {
    Complain(client.error().text);
    return kFailed;
  }
  const auto before = client->Ask({{"op", "status"}}, kAnswerMs);
  if (!before) {
    Complain(before.error().text);
    return kFailed;
  }
  fmt::print("{} serves; starting {}\n", Who(*before), program);
  (void)std::fflush(stdout);
  const auto reply =
      client->Ask({{"op", "upgrade"}, {"program", program}}, cache::kReadyMs + kMarginMs);
  if (!reply || !cache::JsonBool(*reply, "ok")) {
    Complain(reply ? cache::JsonString(*reply, "error") : reply.error().text);
    return kFailed;
  }
  const std::int64_t begun_ms = NowMs();
  fmt::print("process {} is ready; handing over\n", cache::JsonNumber(*reply, "pid"));
  (void)std::fflush(stdout);
  (void)client->WaitForEnd(kAnswerMs);
  const auto after = WhoServes(*config, begun_ms + cache::kServingMs + 2 * kMarginMs);
  if (!after) {
    Complain("nobody serves: programs wait and then get EIO; see the sidecar's log");
    return kFailed;
  }
  if (cache::JsonNumber(*after, "pid") != cache::JsonNumber(*reply, "pid")) {
    const std::string why = cache::JsonString(*after, "upgrade_problem");
    Complain(fmt::format("{} serves: the upgrade did not take place{}{}", Who(*after),
                         why.empty() ? "" : ": ", why));
    return kFailed;
  }
  fmt::print("{} serves, after {} ms\n", Who(*after), NowMs() - begun_ms);
  return kDone;
}

}  // namespace

Command UpgradeCommand() {
  struct Options {
    std::string config_file;
    std::string program;
  };
  auto options = std::make_shared<Options>();
  return {"upgrade",
          "Replace the running sidecar by another version, under running programs",
          "Example:\n  penstock upgrade -c job.toml --binary /opt/penstock-2/bin/penstockd\n"
          "The new one reads the configuration anew. Programs see a pause. If it does not come up, "
          "the old one "
          "goes on,\nand the exit code is 1. In Kubernetes change the container's image instead.",
          {ConfigArgument(&options->config_file),
           {"--binary", &options->program,
            "The new penstockd; default: the one beside this program", false, "PATH"}},
          [options] { return Upgrade(options->config_file, options->program); },
          {}};
}

}  // namespace penstock::cli
