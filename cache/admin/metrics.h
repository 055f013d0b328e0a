// Counters in Prometheus' text format.
//
// Thread safety: pure function.
#pragma once

#include <string>
#include <vector>

#include "cache/admin/json.h"
#include "cache/admin/traffic.h"

namespace penstock::cache {

// From the answer to "stat": "counters" become counters, "now" gauges, all named penstock_*. From
// the traffic, each with the label mount: penstock_requests_total{kind, answer},
// penstock_request_seconds{kind} (a histogram), penstock_request_bytes_total{direction},
// penstock_requests_throttled_total, penstock_requests_paced_total,
// penstock_requests_paced_seconds_total, penstock_requests_cost_total{currency}. `latencies`: with
// the histograms.
std::string MetricsText(const Json& stat, const std::vector<MountTraffic>& traffic,
                        const CostConfig& prices, bool latencies = true);

}  // namespace penstock::cache
