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

using Labels = std::vector<std::pair<std::string, std::string>>;

prometheus::ClientMetric Labelled(const MountTraffic& mount, const Labels& labels) {
  prometheus::ClientMetric metric;
  metric.label.push_back({"mount", mount.path});
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

prometheus::MetricFamily Family(const char* name, const char* help, prometheus::MetricType type) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  return family;
}

// A counter of each mount, or several with labels of their own.
class Counters {
 public:
  Counters(const char* name, const char* help)
      : family_(Family(name, help, prometheus::MetricType::Counter)) {}
  void Add(const MountTraffic& mount, double value, const Labels& labels = {}) {
    prometheus::ClientMetric metric = Labelled(mount, labels);
    metric.counter.value = value;
    family_.metric.push_back(std::move(metric));
  }
  void Into(std::vector<prometheus::MetricFamily>* families) {
    families->push_back(std::move(family_));
  }

 private:
  prometheus::MetricFamily family_;
};

// Bounds that tell a cache from a near service, a far one and a bad day.
constexpr std::uint64_t kBoundsUs[] = {1'023,     2'047,     4'095,     8'191,   16'383,
                                       32'767,    65'535,    131'071,   262'143, 524'287,
                                       1'048'575, 4'194'303, 16'777'215};

void AppendLatencies(const std::vector<MountTraffic>& traffic,
                     std::vector<prometheus::MetricFamily>* families) {
  auto family =
      Family("penstock_request_seconds", "from sent to over", prometheus::MetricType::Histogram);
  for (const MountTraffic& mount : traffic) {
    for (std::size_t i = 0; i < origin::kRequestKinds; ++i) {
      const HistogramCounts& latency = mount.requests.kinds[i].latency;
      if (latency.count == 0) continue;
      auto metric =
          Labelled(mount, {{"kind", origin::RequestKindName(static_cast<origin::RequestKind>(i))}});
      metric.histogram.sample_count = latency.count;
      metric.histogram.sample_sum = static_cast<double>(latency.sum_us) / 1e6;
      for (const std::uint64_t bound_us : kBoundsUs)
        metric.histogram.bucket.push_back(
            {latency.CountUpTo(bound_us), static_cast<double>(bound_us + 1) / 1e6});
      family.metric.push_back(std::move(metric));
    }
  }
  families->push_back(std::move(family));
}

void AppendTraffic(const std::vector<MountTraffic>& traffic, const CostConfig& prices,
                   std::vector<prometheus::MetricFamily>* families) {
  Counters requests("penstock_requests_total", "requests to the origin");
  Counters bytes("penstock_request_bytes_total", "bytes of bodies");
  Counters throttled("penstock_requests_throttled_total", "answered 429 or 503");
  Counters retries("penstock_requests_retried_total", "sent once more");
  Counters paced("penstock_requests_paced_total", "waited for a limit of the configuration");
  Counters paced_s("penstock_requests_paced_seconds_total", "for so long, together");
  Counters cost("penstock_requests_cost_total", "at the configured prices");
  for (const MountTraffic& mount : traffic) {
    for (std::size_t i = 0; i < origin::kRequestKinds; ++i)
      for (std::size_t j = 0; j < origin::kAnswerClasses; ++j)
        if (const std::uint64_t n = mount.requests.kinds[i].answers[j]; n > 0)
          requests.Add(mount, static_cast<double>(n),
                       {{"kind", origin::RequestKindName(static_cast<origin::RequestKind>(i))},
                        {"answer", origin::AnswerClassName(static_cast<origin::AnswerClass>(j))}});
    bytes.Add(mount, static_cast<double>(mount.requests.bytes_received), {{"direction", "in"}});
    bytes.Add(mount, static_cast<double>(mount.requests.bytes_sent), {{"direction", "out"}});
    throttled.Add(mount, static_cast<double>(mount.requests.throttled));
    retries.Add(mount, static_cast<double>(mount.stats.retries));
    paced.Add(mount, static_cast<double>(mount.requests.paced));
    paced_s.Add(mount, static_cast<double>(mount.requests.paced_us) / 1e6);
    cost.Add(mount, CostOf(mount.requests, prices).total(), {{"currency", prices.currency}});
  }
  for (Counters* one : {&requests, &bytes, &throttled, &retries, &paced, &paced_s, &cost})
    one->Into(families);
}

}  // namespace

std::string MetricsText(const Json& stat, const std::vector<MountTraffic>& traffic,
                        const CostConfig& prices, bool latencies) {
  std::vector<prometheus::MetricFamily> families;
  Append(stat, "counters", prometheus::MetricType::Counter, &families);
  Append(stat, "now", prometheus::MetricType::Gauge, &families);
  AppendTraffic(traffic, prices, &families);
  if (latencies) AppendLatencies(traffic, &families);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace penstock::cache
