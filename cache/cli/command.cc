#include "cache/cli/command.h"

#include <fmt/format.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cache/admin/client.h"
#include "cache/config/units.h"
#include "cache/session/socket_files.h"
#include "transport/base/clock.h"

namespace penstock::cli {
namespace {

// The folder that this program lies in.
std::string OwnFolder() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return "";
  const std::string whole(path, static_cast<std::size_t>(n));
  return whole.substr(0, whole.rfind('/'));
}

std::string IfThere(const std::string& path, int how) {
  char resolved[PATH_MAX];
  if (path.empty() || access(path.c_str(), how) != 0 || realpath(path.c_str(), resolved) == nullptr)
    return "";
  return resolved;
}

}  // namespace

std::int64_t NowMs() { return SystemClock::Get().NowNs() / kNsPerMs; }

void Complain(const std::string& text) { fmt::print(stderr, "penstock: {}\n", text); }

Argument ConfigArgument(std::string* file) {
  return {"-c,--config", file, "The job's configuration", true, "FILE"};
}

std::optional<cache::Config> ReadConfig(const std::string& file) {
  auto config = cache::LoadConfig(file);
  if (config) {
    std::string explanation;
    if (config->sidecar.socket != cache::DefaultSocketPath(config->file) ||
        cache::CheckDefaultFolder(config->sidecar.socket, &explanation))
      return *std::move(config);
    Complain(explanation);
    return std::nullopt;
  }
  for (const cache::ConfigError& error : config.error()) Complain(error.ToString());
  return std::nullopt;
}

std::optional<cache::Json> AskSidecar(const cache::Config& config, const cache::Json& request,
                                      std::int64_t timeout_ms) {
  auto client = cache::AdminClient::Connect(config.sidecar.socket, kConnectMs);
  if (!client) {
    Complain(client.error().text);
    return std::nullopt;
  }
  auto reply = client->Ask(request, timeout_ms);
  if (!reply) {
    Complain(reply.error().text);
    return std::nullopt;
  }
  if (!cache::JsonBool(*reply, "ok")) {
    Complain(cache::JsonString(*reply, "error", "the sidecar refused without a reason"));
    return std::nullopt;
  }
  return *std::move(reply);
}

int TellSidecar(const std::string& config_file, const std::string& op) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  return AskSidecar(*config, {{"op", op}}) ? kDone : kFailed;
}

int TellSidecar(const std::string& config_file, const std::string& op,
                const std::vector<std::string>& paths) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const auto absolute = AbsolutePaths(paths);
  if (!absolute) return kUsage;
  return AskSidecar(*config, {{"op", op}, {"paths", *absolute}}) ? kDone : kFailed;
}

std::optional<std::vector<std::string>> AbsolutePaths(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (std::string path : paths) {
    if (!path.starts_with('/')) {
      char here[PATH_MAX];
      if (getcwd(here, sizeof here) == nullptr) {
        Complain("the working directory is gone; give absolute paths");
        return std::nullopt;
      }
      path = std::string(here) + "/" + path;
    }
    auto normal = cache::NormalisePath(path);
    if (!normal) {
      Complain(fmt::format("{}: \"..\" is not allowed in a path here", path));
      return std::nullopt;
    }
    out.push_back(*std::move(normal));
  }
  return out;
}

std::string FindSidecarProgram() { return IfThere(OwnFolder() + "/penstockd", X_OK); }

std::string FindShim() {
  const char* named = getenv("PENSTOCK_LIB");
  if (named != nullptr && named[0] != 0) return IfThere(named, R_OK);
  return IfThere(OwnFolder() + "/../lib/libpenstock.so", R_OK);
}

std::vector<std::pair<std::string, std::string>> ProgramEnvironment(const cache::Config& config,
                                                                    const std::string& shim) {
  // After what is already preloaded: a sanitizer's library insists on being the first.
  std::string preload;
  const char* before = getenv("LD_PRELOAD");
  if (before != nullptr && before[0] != 0) preload = before;
  const auto already = [&] {
    const std::string padded = ":" + preload + ":";
    return padded.find(":" + shim + ":") != std::string::npos ||
           padded.find(" " + shim + ":") != std::string::npos ||
           padded.find(":" + shim + " ") != std::string::npos ||
           padded.find(" " + shim + " ") != std::string::npos;
  };
  if (!already()) preload += (preload.empty() ? "" : ":") + shim;
  std::string paths;
  for (const cache::MountConfig& mount : config.mounts)
    paths += (paths.empty() ? "" : ":") + mount.path;
  return {{"LD_PRELOAD", preload},
          {"PENSTOCK_SOCKET", config.sidecar.socket},
          {"PENSTOCK_PATHS", paths},
          {"PENSTOCK_WAIT", cache::FormatDuration(config.sidecar.wait_ns)}};
}

}  // namespace penstock::cli
