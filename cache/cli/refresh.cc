// `penstock refresh`: forget what is known about names, so that the origin is asked again.
#include <fmt/format.h>

#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

int Refresh(const std::string& config_file, const std::vector<std::string>& paths) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const auto absolute = AbsolutePaths(paths);
  if (!absolute) return kUsage;
  const auto reply = AskSidecar(*config, {{"op", "refresh"}, {"paths", *absolute}});
  return reply ? kDone : kFailed;
}

}  // namespace

void RegisterRefresh(CLI::App& app, Chosen* chosen) {
  struct Options {
    std::string config_file;
    std::vector<std::string> paths;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      AddCommand(app, "refresh", "See at once what has changed in the origin, before metadata_ttl",
                 "penstock refresh -c job.toml /data/train/new-shards");
  AddConfigOption(command, &options->config_file);
  command->add_option("PATH", options->paths, "Covered files or folders")->required();
  command->callback(
      [=] { *chosen = [=] { return Refresh(options->config_file, options->paths); }; });
}

}  // namespace penstock::cli
