// Counters in Prometheus' text format.
//
// Thread safety: pure function.
#pragma once

#include <string>

#include "cache/admin/json.h"

namespace penstock::cache {

// From the answer to "stat": "counters" become counters, "now" gauges, all named penstock_*.
std::string MetricsText(const Json& stat);

}  // namespace penstock::cache
