// `penstock warm`: names and data present before the first program asks.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/admin/client.h"
#include "cache/cli/command.h"
#include "cache/cli/interrupt.h"
#include "cache/config/units.h"

namespace penstock::cli {
namespace {

constexpr int kPollMs = 100;
constexpr int kBarWidth = 24;

struct Progress {
  std::uint64_t files = 0, files_done = 0, bytes = 0, bytes_done = 0, failed = 0;
  bool listing = false, done = false;
  double seconds = 0;
};

Progress Read(const cache::Json& json) {
  Progress p;
  p.files = cache::JsonNumber(json, "files");
  p.files_done = cache::JsonNumber(json, "files_done");
  p.bytes = cache::JsonNumber(json, "bytes");
  p.bytes_done = cache::JsonNumber(json, "bytes_done");
  p.failed = cache::JsonNumber(json, "failed");
  p.listing = cache::JsonBool(json, "listing");
  p.done = cache::JsonBool(json, "done");
  p.seconds = static_cast<double>(cache::JsonNumber(json, "elapsed_ms")) / 1000.0;
  return p;
}

std::string Line(const Progress& p) {
  const double part = p.bytes == 0
                          ? (p.done ? 1.0 : 0.0)
                          : static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes);
  const int full = static_cast<int>(std::lround(std::min(part, 1.0) * kBarWidth));
  const double rate = p.seconds > 0 ? static_cast<double>(p.bytes_done) / p.seconds : 0;
  std::string left = "listing";
  if (p.done) {
    left = fmt::format("{:.1f} s", p.seconds);
  } else if (!p.listing && rate > 0) {
    left = fmt::format("{:.0f} s left", static_cast<double>(p.bytes - p.bytes_done) / rate);
  }
  return fmt::format("[{:#<{}}{:.<{}}] {}/{} files  {} of {}  {}/s  {}", "", full, "",
                     kBarWidth - full, p.files_done, p.files,
                     cache::FormatBytesForPeople(p.bytes_done),
                     cache::FormatBytesForPeople(p.bytes),
                     cache::FormatBytesForPeople(static_cast<std::uint64_t>(rate)), left);
}

int Follow(cache::AdminClient& client, std::uint64_t id, bool quiet) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  CatchInterrupts();
  for (;;) {
    const char* op = Interrupted() ? "warm_cancel" : "warm_status";
    const auto reply = client.Ask({{"op", op}, {"id", id}}, kAnswerMs);
    if (!reply || !cache::JsonBool(*reply, "ok")) {
      Complain(reply ? cache::JsonString(*reply, "error") : reply.error().text);
      return kFailed;
    }
    const Progress progress = Read(*reply);
    if (!quiet && (terminal || progress.done))
      fmt::print(stderr, "{}{}{}", terminal ? "\r" : "", Line(progress),
                 progress.done ? "\n"
                 : terminal    ? "\033[K"
                               : "");
    if (progress.done) {
      for (const std::string& problem : cache::JsonStrings(*reply, "problems")) Complain(problem);
      if (progress.failed > 0) Complain(fmt::format("{} could not be read", progress.failed));
      if (Interrupted()) Complain("interrupted; what was brought in stays");
      return !Interrupted() && progress.failed == 0 &&
                     cache::JsonStrings(*reply, "problems").empty()
                 ? kDone
                 : kFailed;
    }
    poll(nullptr, 0, kPollMs);
  }
}

int Warm(const std::string& config_file, const std::vector<std::string>& paths, bool quiet) {
  const auto config = ReadConfig(config_file);
  if (!config) return kUsage;
  const auto absolute = AbsolutePaths(paths);
  if (!absolute) return kUsage;
  auto client = cache::AdminClient::Connect(config->sidecar.socket, kConnectMs);
  if (!client) {
    Complain(client.error().text);
    return kFailed;
  }
  const auto reply = client->Ask({{"op", "warm"}, {"paths", *absolute}}, kAnswerMs);
  if (!reply || !cache::JsonBool(*reply, "ok")) {
    Complain(reply ? cache::JsonString(*reply, "error") : reply.error().text);
    return kFailed;
  }
  return Follow(*client, cache::JsonNumber(*reply, "id"), quiet);
}

}  // namespace

Command WarmCommand() {
  struct Options {
    std::string config_file;
    std::vector<std::string> paths;
    bool quiet = false;
  };
  auto options = std::make_shared<Options>();
  return {"warm",
          "Bring names and data into the cache before a program asks",
          "Example:\n  penstock warm -c job.toml /data/train '/data/val/shard-*.tar'\n"
          "Folders are walked; * and ? match within a name. Ctrl-C ends it and keeps what is "
          "there.",
          {ConfigArgument(&options->config_file),
           {"PATH", &options->paths, "Covered files, folders or patterns", true},
           {"-q,--quiet", &options->quiet, "No progress bar"}},
          [options] { return Warm(options->config_file, options->paths, options->quiet); },
          {}};
}

}  // namespace penstock::cli
