// `penstock status`: for probes. 0 only when covered paths work.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

int Status(const std::string& config_file, bool json) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  // The sidecar looks at each origin again before it answers, unless it has done so lately.
  const auto reply = AskSidecar(*config, {{"op", "status"}, {"fresh", true}}, 30'000);
  if (!reply) return kFailed;
  const auto problems = cache::JsonStrings(*reply, "problems");
  if (json) {
    fmt::print("{}\n", cache::JsonText(*reply, 2));
  } else {
    for (const std::string& problem : problems) Complain(problem);
    const auto mounts = reply->find("mounts");
    if (mounts != reply->end() && mounts->is_array()) {
      for (const cache::Json& mount : *mounts) {
        const auto snapshot = mount.find("snapshot");
        if (snapshot == mount.end()) continue;
        fmt::print("{}: names of the snapshot of {}, {}\n", cache::JsonString(mount, "path"),
                   cache::JsonString(*snapshot, "created"),
                   cache::JsonString(*snapshot, "digest"));
      }
    }
    if (problems.empty())
      fmt::print("ok: sidecar {} serves {} with {} program(s) joined\n",
                 cache::JsonNumber(*reply, "pid"), config->sidecar.socket,
                 cache::JsonNumber(*reply, "sessions"));
  }
  return problems.empty() ? kDone : kFailed;
}

}  // namespace

Command StatusCommand() {
  struct Options {
    std::string config_file;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  return {"status",
          "Exit 0 only when the covered paths work; for probes",
          "Example:\n  penstock status -c job.toml || echo not ready",
          {ConfigArgument(&options->config_file),
           {"--json", &options->json, "The sidecar's whole answer"}},
          [options] { return Status(options->config_file, options->json); },
          {}};
}

}  // namespace penstock::cli
