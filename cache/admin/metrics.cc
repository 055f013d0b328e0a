#include "cache/admin/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

namespace penstock::cache {
namespace {

void Append(const Json& stat, const char* group, prometheus::MetricType type,
            std::vector<prometheus::MetricFamily>* families) {
  const auto values = stat.find(group);
  if (values == stat.end() || !values->is_object()) return;
  const bool counter = type == prometheus::MetricType::Counter;
  for (const auto& [name, value] : values->items()) {
    if (!value.is_number_integer()) continue;
    prometheus::MetricFamily family;
    family.name = "penstock_" + name + (counter ? "_total" : "");
    family.help = name;
    family.type = type;
    prometheus::ClientMetric metric;
    (counter ? metric.counter.value : metric.gauge.value) = value.get<double>();
    family.metric.push_back(metric);
    families->push_back(std::move(family));
  }
}

}  // namespace

std::string MetricsText(const Json& stat) {
  std::vector<prometheus::MetricFamily> families;
  Append(stat, "counters", prometheus::MetricType::Counter, &families);
  Append(stat, "now", prometheus::MetricType::Gauge, &families);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace penstock::cache
