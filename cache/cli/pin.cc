// `penstock pin|unpin|evict`: what stays in the cache and what leaves it.
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

Command Keep(const std::string& op, const std::string& what) {
  struct Options {
    std::string config_file;
    std::vector<std::string> paths;
  };
  auto options = std::make_shared<Options>();
  return {op,
          what,
          "Example:\n  penstock " + op + " -c job.toml /data/train/shard-0001",
          {ConfigArgument(&options->config_file),
           {"PATH", &options->paths, "Covered files or folders", true}},
          [options, op] { return TellSidecar(options->config_file, op, options->paths); },
          {}};
}

}  // namespace

Command PinCommand() { return Keep("pin", "Keep files in the cache until they are unpinned"); }
Command UnpinCommand() { return Keep("unpin", "Let pinned files leave the cache again"); }
Command EvictCommand() { return Keep("evict", "Drop files from the cache"); }

}  // namespace penstock::cli
