// `penstock stat`: the counters.
#include <fmt/format.h>
#include <poll.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/cli/command.h"
#include "cache/cli/stat_text.h"

namespace penstock::cli {
namespace {

struct StatOptions {
  std::string config_file;
  bool json = false;
  bool watch = false;
  bool prometheus = false;
  bool sessions = false;
};

int Sessions(const cache::Config& config, bool json) {
  std::uint64_t after = 0;
  cache::Json all = cache::Json::array();
  for (;;) {  // in pages: a message has a limit
    const auto reply = AskSidecar(config, {{"op", "sessions"}, {"after", after}});
    if (!reply) return kFailed;
    const auto list = reply->find("sessions");
    if (list == reply->end() || !list->is_array() || list->empty()) break;
    for (const cache::Json& one : *list) {
      after = std::max(after, cache::JsonNumber(one, "id"));
      all.push_back(one);
    }
  }
  if (json) {
    fmt::print("{}\n", cache::JsonText(all, 2));
    return kDone;
  }
  fmt::print("{:>20} {:>8} {:>6} {:>12} {:>10} {:>9} {:>8}\n", "session", "pid", "uid",
             "hits_memory", "misses", "requests", "waiting");
  for (const cache::Json& one : all)
    fmt::print("{:>20} {:>8} {:>6} {:>12} {:>10} {:>9} {:>8}\n", cache::JsonNumber(one, "id"),
               cache::JsonNumber(one, "pid"), cache::JsonNumber(one, "uid"),
               cache::JsonNumber(one, "hits_memory"), cache::JsonNumber(one, "misses"),
               cache::JsonNumber(one, "requests"), cache::JsonNumber(one, "waiting"));
  return kDone;
}

int Watch(const cache::Config& config) {
  std::optional<cache::Json> before = AskSidecar(config, {{"op", "stat"}});
  if (!before) return kFailed;
  for (int line = 0;; ++line) {
    if (line % 20 == 0)
      fmt::print("{:>12} {:>13} {:>10} {:>12} {:>13} {:>11}\n", "hits/s", "from memory", "misses/s",
                 "requests/s", "from origin", "evictions/s");
    std::fflush(stdout);
    poll(nullptr, 0, 1'000);
    auto after = AskSidecar(config, {{"op", "stat"}});
    if (!after) return kFailed;
    fmt::print("{}\n", StatRateText(*before, *after, 1.0));
    before = std::move(after);
  }
}

int Stat(const StatOptions& options) {
  const auto config = ReadConfig(options.config_file);
  if (!config) return kUsage;
  if (options.sessions) return Sessions(*config, options.json);
  if (options.watch) return Watch(*config);
  if (options.prometheus) {
    const auto reply = AskSidecar(*config, {{"op", "metrics"}});
    if (!reply) return kFailed;
    fmt::print("{}", cache::JsonString(*reply, "text"));
    return kDone;
  }
  const auto reply = AskSidecar(*config, {{"op", "stat"}});
  if (!reply) return kFailed;
  if (!options.json) {
    fmt::print("{}", StatText(*reply));
    return kDone;
  }
  // The counters at the top level, by their names.
  cache::Json flat = cache::Json::object();
  for (const char* group : {"counters", "now"}) {
    const auto values = reply->find(group);
    if (values == reply->end() || !values->is_object()) continue;
    for (const auto& [name, value] : values->items()) flat[name] = value;
  }
  for (const char* group : {"mounts", "cost"})
    if (const auto found = reply->find(group); found != reply->end()) flat[group] = *found;
  if (const auto snapshots = reply->find("snapshots"); snapshots != reply->end())
    flat["snapshots"] = *snapshots;
  fmt::print("{}\n", cache::JsonText(flat, 2));
  return kDone;
}

}  // namespace

Command StatCommand() {
  auto options = std::make_shared<StatOptions>();
  return {"stat",
          "Show the counters",
          "Example:\n  penstock stat -c job.toml --json | jq .hits_memory",
          {ConfigArgument(&options->config_file),
           {"--json", &options->json, "As a JSON object"},
           {"--watch", &options->watch, "Rates, a line a second, until interrupted"},
           {"--prometheus", &options->prometheus, "In Prometheus' text format"},
           {"--sessions", &options->sessions, "One line for each program that is joined"}},
          [options] { return Stat(*options); },
          {}};
}

}  // namespace penstock::cli
