// `penstock stop`: flush, then end the sidecar.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cache/admin/client.h"
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

Command StopCommand() {
  struct Options {
    std::string config_file;
    bool force = false;
  };
  auto options = std::make_shared<Options>();
  return {"stop",
          "End the job's sidecar",
          "Example:\n  penstock stop -c job.toml\n"
          "Refuses while programs are joined, unless --force is given.",
          {ConfigArgument(&options->config_file),
           {"--force", &options->force,
            "Although programs are joined; their covered files then give EIO"}},
          [options] { return Stop(options->config_file, options->force); },
          {}};
}

}  // namespace penstock::cli
