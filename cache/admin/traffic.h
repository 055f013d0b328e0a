// What the mounts asked of their origins, as people and machines read it: requests by kind and
// answer, bytes, retries, throttling, latencies, and what it cost at the configured prices.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "cache/admin/json.h"
#include "cache/config/config.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

struct MountTraffic {
  std::string path;
  origin::OriginStats stats;
  origin::RequestCounts requests;
};

// In the currency of the configuration. An estimate: requests that were answered below 500 are
// taken as billed, those that were not answered or answered with 5xx as not; tokens and deletions
// cost nothing.
struct TrafficCost {
  double reads = 0;
  double writes = 0;
  double lists = 0;
  double transfer = 0;

  double total() const { return reads + writes + lists + transfer; }
};
TrafficCost CostOf(const origin::RequestCounts& requests, const CostConfig& prices);

// {"requests": {"get": {"2xx": 12, "p50_us": ..., "p99_us": ..., "mean_us": ...}, ...},
//  "bytes_received": ..., "bytes_sent": ..., "retries": ..., "throttled": ..., "connects": ...,
//  "paced": ..., "paced_ms": ..., "cost": ...}; kinds and classes without requests are left out.
Json MountTrafficJson(const MountTraffic& traffic, const CostConfig& prices);

// {"currency": "USD", "reads": ..., "writes": ..., "lists": ..., "transfer": ..., "total": ...} of
// all mounts.
Json CostJson(const std::vector<MountTraffic>& traffic, const CostConfig& prices);

}  // namespace penstock::cache
