// `penstock gen-config`: a configuration to start from.
#include "cache/config/gen_config.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cache/cli/command.h"

namespace penstock::cli {

namespace {

int GenConfig(const cache::GenConfigOptions& options) {
  const std::string text = cache::GenerateConfig(options);
  // What was given on the command line is checked as a file would be.
  const auto parsed = cache::ParseConfig(text, "gen-config");
  if (!parsed) {
    for (const cache::ConfigError& error : parsed.error()) Complain(error.ToString());
    return kUsage;
  }
  fmt::print("{}", text);
  return kDone;
}

}  // namespace

Command GenConfigCommand() {
  auto options = std::make_shared<cache::GenConfigOptions>();
  return {"gen-config",
          "Print a commented configuration for this machine",
          "Example:\n"
          "  penstock gen-config --mount /data/train --origin file:///srv/train > job.toml",
          {{"--mount", &options->mount, "The path that programs shall see"},
           {"--origin", &options->origin, "Where its data comes from"}},
          [options] { return GenConfig(*options); },
          {}};
}

}  // namespace penstock::cli
