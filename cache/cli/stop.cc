// `penstock stop`: flush, then end the sidecar.
#include <fmt/format.h>

#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

int Stop(const std::string& config_file, bool force) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  auto client = cache::AdminClient::Connect(config->sidecar.socket, kConnectMs);
  if (!client) {
    Complain(client.error().text);
    return kFailed;
  }
  const auto reply = client->Ask({{"op", "stop"}, {"force", force}}, kAnswerMs);
  if (!reply) {
    Complain(reply.error().text);
    return kFailed;
  }
  if (!cache::JsonBool(*reply, "ok")) {
    Complain(cache::JsonString(*reply, "error"));
    return kFailed;
  }
  const std::int64_t wait_ms = config->sidecar.grace_ns / 1'000'000 + kAnswerMs;
  if (client->WaitForEnd(wait_ms)) return kDone;
  Complain(fmt::format("the sidecar (process {}) has not ended within {} s",
                       cache::JsonNumber(*reply, "pid"), wait_ms / 1000));
  return kFailed;
}

}  // namespace

void RegisterStop(CLI::App& app, Chosen* chosen) {
  struct Options {
    std::string config_file;
    bool force = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = AddCommand(app, "stop", "End the job's sidecar",
                                 "penstock stop -c job.toml\n"
                                 "Refuses while programs are joined, unless --force is given.");
  AddConfigOption(command, &options->config_file);
  command->add_flag("--force", options->force,
                    "Although programs are joined; their covered files then give EIO");
  command->callback([=] { *chosen = [=] { return Stop(options->config_file, options->force); }; });
}

}  // namespace penstock::cli
