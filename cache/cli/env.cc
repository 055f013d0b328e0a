// `penstock env`: what a container or a job script must set itself.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/cli/command.h"

namespace penstock::cli {
namespace {

// In single quotes, as every shell reads it.
std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

int Env(const std::string& config_file, bool json) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const std::string shim = FindShim();
  if (shim.empty()) {
    Complain("libpenstock.so is not in ../lib beside this program, nor where PENSTOCK_LIB says");
    return kFailed;
  }
  cache::Json object = cache::Json::object();
  for (const auto& [name, value] : ProgramEnvironment(*config, shim)) {
    if (json)
      object[name] = value;
    else
      fmt::print("export {}={}\n", name, Quoted(value));
  }
  if (json) fmt::print("{}\n", cache::JsonText(object, 2));
  return kDone;
}

}  // namespace

Command EnvCommand() {
  struct Options {
    std::string config_file;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  return {"env",
          "Print the variables that a program needs in its environment",
          "Example:\n  eval \"$(penstock env -c job.toml)\" && python train.py",
          {ConfigArgument(&options->config_file), {"--json", &options->json, "As a JSON object"}},
          [options] { return Env(options->config_file, options->json); },
          {}};
}

}  // namespace penstock::cli
