// `penstock refresh`: forget what is known about names, so that the origin is asked again.
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {

Command RefreshCommand() {
  struct Options {
    std::string config_file;
    std::vector<std::string> paths;
  };
  auto options = std::make_shared<Options>();
  return {"refresh",
          "See at once what has changed in the origin, before metadata_ttl",
          "Example:\n  penstock refresh -c job.toml /data/train/new-shards",
          {ConfigArgument(&options->config_file),
           {"PATH", &options->paths, "Covered files or folders", true}},
          [options] { return TellSidecar(options->config_file, "refresh", options->paths); },
          {}};
}

}  // namespace penstock::cli
