// `penstock pin|unpin|evict`: what stays in the cache and what leaves it.
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

int Ask(const std::string& op, const std::string& config_file,
        const std::vector<std::string>& paths) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const auto absolute = AbsolutePaths(paths);
  if (!absolute) return kUsage;
  return AskSidecar(*config, {{"op", op}, {"paths", *absolute}}) ? kDone : kFailed;
}

void Register(CLI::App& app, Chosen* chosen, const std::string& op, const std::string& what) {
  struct Options {
    std::string config_file;
    std::vector<std::string> paths;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      AddCommand(app, op, what, "penstock " + op + " -c job.toml /data/train/shard-0001");
  AddConfigOption(command, &options->config_file);
  command->add_option("PATH", options->paths, "Covered files or folders")->required();
  command->callback(
      [=] { *chosen = [=] { return Ask(op, options->config_file, options->paths); }; });
}

}  // namespace

void RegisterPin(CLI::App& app, Chosen* chosen) {
  Register(app, chosen, "pin", "Keep files in the cache until they are unpinned");
  Register(app, chosen, "unpin", "Let pinned files leave the cache again");
  Register(app, chosen, "evict", "Drop files from the cache");
}

}  // namespace penstock::cli
