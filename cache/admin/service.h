// What the sidecar answers to `penstock stat`, `status`, `stop`, `warm` and their kin: JSON over
// the socket, role admin. Every answer is an object with "ok"; if that is false, "error" says why.
//
//   {"op": "status", "fresh": bool}          -> problems, mounts, sessions, ...
//   {"op": "stat"}                           -> counters, now, mounts, cost
//   {"op": "metrics"}                        -> text (Prometheus)
//   {"op": "sessions", "after": id}          -> sessions, a page of them
//   {"op": "hold"}                           the asking process is a program that will join
//   {"op": "stop", "force": bool}            then the connection ends with the sidecar
//   {"op": "warm", "paths": [...]}           -> id;  {"op": "warm_status", "id": n} -> progress
//   {"op": "warm_cancel", "id": n}           -> progress
//   {"op": "refresh"|"pin"|"unpin"|"evict", "paths": [...]}
//   {"op": "flush"}
//   {"op": "upgrade", "program": path}       -> pid of the successor that is ready, or error; then the
//                                            connection ends. To name a program is for our own user and root
//
// stop, upgrade, warm, warm_cancel, refresh, pin, unpin and evict are for the sidecar's own user, root and
// sidecar.admin_uids; the rest for all who may join.
//
// Thread safety: core thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "cache/admin/json.h"
#include "cache/admin/traffic.h"
#include "cache/admin/warm.h"
#include "cache/config/config.h"
#include "cache/session/registry.h"

namespace penstock::cache {

// The process that is ready to take over, or 0 and what is wrong.
using UpgradeReply = std::move_only_function<void(std::int64_t pid, const std::string& problem)>;

// What the service needs of the sidecar.
class SidecarControl {
 public:
  virtual ~SidecarControl() = default;
  virtual const Config& config() const = 0;
  virtual Json StatusJson() = 0;
  virtual Json StatJson() = 0;
  virtual std::vector<MountTraffic> Traffic() = 0;
  virtual void Probe(std::int64_t max_age_ns, std::move_only_function<void()> done) = 0;
  virtual Registry& registry() = 0;
  virtual Engine& engine() = 0;
  virtual Loop& loop() = 0;
  virtual void BeginStop(const char* why) = 0;
  // Lets `program` ("": our own, as it is on disk now) take over. `reply` comes when it is ready or has failed.
  virtual void Upgrade(const std::string& program, UpgradeReply reply) = 0;
};

class AdminService {
 public:
  explicit AdminService(SidecarControl* sidecar) : sidecar_(sidecar) {}

  void Handle(AdminRequest request, AdminReply reply);
  // Ends what runs in the background; true once nothing does.
  bool CancelAll();

 private:
  Json Status();
  Json Metrics();
  Json Sessions(const Json& request);
  Json Hold(AdminRequest& request);
  Json Stop(const Json& request);
  Json Warm(const Json& request);
  Json WarmStatus(const Json& request);
  Json Refresh(const Json& request);
  Json Later(const Json& request, const std::string& op);

  SidecarControl* sidecar_;
  std::unordered_map<std::uint64_t, std::shared_ptr<WarmJob>> warm_;
  std::uint64_t last_warm_ = 0;
};

}  // namespace penstock::cache
