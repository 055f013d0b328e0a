#include "cache/admin/service.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "cache/admin/metrics.h"
#include "cache/config/version.h"
#include "shim/abi/handshake.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kSessionsAtOnce = 200;
constexpr std::size_t kMaxWarmJobs = 16;
constexpr std::int64_t kProbeFreshNs = 1'000'000'000;
// What ends the job's sidecar or changes what it keeps.
constexpr std::array<std::string_view, 8> kAdminsOnly = {"stop", "refresh", "warm",  "warm_cancel",
                                                         "pin",  "unpin",   "evict", "upgrade"};

Json Ok() { return {{"ok", true}}; }
Json No(std::string why) { return {{"ok", false}, {"error", std::move(why)}}; }

// An answer that is too long loses what is least needed rather than the whole.
std::string Serialised(const Json& json) {
  std::string text = JsonText(json);
  if (text.size() <= PST_ADMIN_MAX) return text;
  return JsonText(No("the answer is too long for one message"));
}

}  // namespace

void AdminService::Handle(AdminRequest request, AdminReply reply) {
  const auto json = ParseJson(request.text);
  if (!json || !json->is_object()) return reply(Serialised(No("the request is no JSON object")));
  const std::string op = JsonString(*json, "op");
  if (std::find(kAdminsOnly.begin(), kAdminsOnly.end(), op) != kAdminsOnly.end() &&
      !sidecar_->registry().MayAdminister(request.peer.uid))
    return reply(Serialised(
        No(fmt::format("user {} may not ask this sidecar to {}: its own user, root and "
                       "sidecar.admin_uids may",
                       request.peer.uid, op == "warm_cancel" ? "end a warm" : op))));
  if (op == "status") {
    const std::int64_t max_age_ns = JsonBool(*json, "fresh") ? kProbeFreshNs : INT64_MAX;
    if (max_age_ns == INT64_MAX) return reply(Serialised(Status()));
    return sidecar_->Probe(
        max_age_ns, [this, reply = std::move(reply)]() mutable { reply(Serialised(Status())); });
  }
  if (op == "upgrade") {
    const std::string program = JsonString(*json, "program");
    if (!program.empty() && request.peer.uid != 0 && request.peer.uid != geteuid())
      return reply(Serialised(No("only the sidecar's own user and root may say which program it is to become")));
    return sidecar_->Upgrade(program, [reply = std::move(reply)](std::int64_t pid, const std::string& problem) mutable {
      reply(Serialised(pid == 0 ? No(problem) : Json{{"ok", true}, {"pid", pid}}));
    });
  }
  Json answer;
  if (op == "stat")
    answer = sidecar_->StatJson();
  else if (op == "metrics")
    answer = Metrics();
  else if (op == "sessions")
    answer = Sessions(*json);
  else if (op == "hold")
    answer = Hold(request);
  else if (op == "stop")
    answer = Stop(*json);
  else if (op == "warm")
    answer = Warm(*json);
  else if (op == "warm_status" || op == "warm_cancel")
    answer = WarmStatus(*json);
  else if (op == "refresh")
    answer = Refresh(*json);
  else if (op == "flush")
    answer = Ok();  // nothing is writable, so nothing waits to be committed
  else
    answer = Later(*json, op);
  reply(Serialised(answer));
}

// Of many mounts the histograms do not fit into a message: the counters matter more.
Json AdminService::Metrics() {
  constexpr std::size_t kEscapes = PST_ADMIN_MAX / 8;  // what quotes and line ends add
  const Json stat = sidecar_->StatJson();
  const std::vector<MountTraffic> traffic = sidecar_->Traffic();
  std::string text = MetricsText(stat, traffic, sidecar_->config().cost);
  if (text.size() > PST_ADMIN_MAX - kEscapes)
    text = MetricsText(stat, traffic, sidecar_->config().cost, /*latencies=*/false);
  return {{"ok", true}, {"text", std::move(text)}};
}

Json AdminService::Status() {
  Json status = sidecar_->StatusJson();
  status["ok"] = true;
  return status;
}

Json AdminService::Sessions(const Json& request) {
  Json list = Json::array();
  for (const SessionInfo& one :
       sidecar_->registry().Sessions(JsonNumber(request, "after"), kSessionsAtOnce))
    list.push_back({{"id", one.id},
                    {"pid", one.pid},
                    {"uid", one.uid},
                    {"hits_memory", one.counters.hits_memory},
                    {"bytes_memory", one.counters.bytes_memory},
                    {"misses", one.counters.misses},
                    {"hits_name", one.counters.hits_name},
                    {"passthrough", one.counters.passthrough},
                    {"requests", one.counters.requests},
                    {"waiting", one.waiting}});
  return {{"ok", true}, {"sessions", std::move(list)}};
}

Json AdminService::Hold(AdminRequest& request) {
  if (sidecar_->registry().draining()) return No("the sidecar is ending");
  if (!sidecar_->registry().Announce(std::move(request.pidfd), request.peer))
    return No("too many programs are announced and have not joined");
  return Ok();
}

Json AdminService::Stop(const Json& request) {
  const std::uint64_t programs = sidecar_->registry().Programs();
  const bool force = JsonBool(request, "force");
  if (programs > 0 && !force) {
    std::string who;
    for (const SessionInfo& one : sidecar_->registry().Sessions(0, 10))
      who += fmt::format("{}{}", who.empty() ? "" : ", ", one.pid);
    return No(fmt::format("{} program(s) are joined{}; end them first, or use --force", programs,
                          who.empty() ? "" : fmt::format(" (process {})", who)));
  }
  sidecar_->loop().Post([this] { sidecar_->BeginStop("penstock stop"); });
  return {{"ok", true}, {"pid", getpid()}, {"programs", programs}};
}

Json AdminService::Warm(const Json& request) {
  std::erase_if(warm_, [this](const auto& entry) {
    return entry.second->done() && entry.first + kMaxWarmJobs < last_warm_;
  });
  if (sidecar_->registry().draining()) return No("the sidecar is ending");
  if (warm_.size() >= kMaxWarmJobs)
    return No("too many `penstock warm` at once; let one end first");
  const auto& mounts = sidecar_->config().mounts;
  std::vector<WarmTarget> targets;
  for (const std::string& path : JsonStrings(request, "paths")) {
    const auto match = MatchMount(mounts, path);
    if (!match) return No(fmt::format("{} is on no covered path", path));
    targets.push_back({static_cast<std::uint32_t>(match->mount), std::string(match->rest)});
  }
  if (targets.empty()) return No("no path was named");
  std::vector<std::string> mount_paths;
  for (const MountConfig& mount : mounts) mount_paths.push_back(mount.path);
  const std::uint64_t id = ++last_warm_;
  auto job =
      std::make_shared<WarmJob>(&sidecar_->engine(), std::move(targets), std::move(mount_paths));
  warm_.emplace(id, job);
  job->Start();
  return {{"ok", true}, {"id", id}};
}

Json AdminService::WarmStatus(const Json& request) {
  const auto found = warm_.find(JsonNumber(request, "id"));
  if (found == warm_.end()) return No("there is no such `penstock warm`");
  if (JsonString(request, "op") == "warm_cancel") found->second->Cancel();
  const WarmProgress p = found->second->Progress();
  Json answer = {{"ok", true},
                 {"files", p.files},
                 {"files_done", p.files_done},
                 {"bytes", p.bytes},
                 {"bytes_done", p.bytes_done},
                 {"failed", p.failed},
                 {"listing", p.listing},
                 {"done", p.done},
                 {"elapsed_ms", p.elapsed_ms},
                 {"problems", p.problems}};
  if (p.done) warm_.erase(found);
  return answer;
}

Json AdminService::Refresh(const Json& request) {
  const auto& mounts = sidecar_->config().mounts;
  const auto paths = JsonStrings(request, "paths");
  for (const std::string& path : paths) {
    if (!MatchMount(mounts, path)) return No(fmt::format("{} is on no covered path", path));
  }
  for (const std::string& path : paths) {
    const auto match = MatchMount(mounts, path);
    sidecar_->engine().Forget(static_cast<std::uint32_t>(match->mount), match->rest);
  }
  return Ok();
}

Json AdminService::Later(const Json& request, const std::string& op) {
  if (op != "pin" && op != "unpin" && op != "evict")
    return No(fmt::format("the sidecar knows no operation '{}'", op));
  for (const std::string& path : JsonStrings(request, "paths"))
    if (!MatchMount(sidecar_->config().mounts, path))
      return No(fmt::format("{} is on no covered path", path));
  return No(
      fmt::format("{} is not there yet: what is kept follows the mount's class; `penstock "
                  "warm` brings files in",
                  op));
}

bool AdminService::CancelAll() {
  bool all_done = true;
  for (auto& [id, job] : warm_) {
    job->Cancel();
    all_done &= job->done();
  }
  return all_done;
}

}  // namespace penstock::cache
