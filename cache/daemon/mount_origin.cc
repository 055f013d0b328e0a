#include "cache/daemon/mount_origin.h"

#include <algorithm>

#include "transport/base/clock.h"

namespace penstock::cache {

origin::OriginConfig OriginConfigOf(const MountConfig& mount) {
  origin::OriginConfig origin;
  origin.url = mount.origin;
  origin.endpoint = mount.endpoint;
  origin.dfs_endpoint = mount.dfs_endpoint;
  origin.auth_mode = mount.auth_mode;
  origin.identity = mount.identity;
  origin.request_timeout_ms = std::max<std::int64_t>(mount.deadline_ns / kNsPerMs, 1);
  origin.max_connections = mount.max_connections;
  origin.ca_file = mount.ca_file;
  return origin;
}

}  // namespace penstock::cache
