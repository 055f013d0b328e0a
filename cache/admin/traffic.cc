#include "cache/admin/traffic.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace penstock::cache {
namespace {

using origin::AnswerClass;
using origin::KindCounts;
using origin::RequestCounts;
using origin::RequestKind;

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

std::uint64_t Billed(const KindCounts& kind) {
  std::uint64_t billed = 0;
  for (const AnswerClass answer : {AnswerClass::k2xx, AnswerClass::k3xx, AnswerClass::k4xx})
    billed += kind.answers[static_cast<std::size_t>(answer)];
  return billed;
}

double Price(std::uint64_t requests, double per_10k) {
  return static_cast<double>(requests) / 10'000.0 * per_10k;
}

// To a millionth: more digits than prices have, fewer than a double prints.
double Rounded(double money) { return std::round(money * 1e6) / 1e6; }

Json KindJson(const KindCounts& kind) {
  Json json = Json::object();
  for (std::size_t i = 0; i < origin::kAnswerClasses; ++i)
    if (kind.answers[i] > 0)
      json[origin::AnswerClassName(static_cast<AnswerClass>(i))] = kind.answers[i];
  json["mean_us"] = kind.latency.count == 0 ? 0 : kind.latency.sum_us / kind.latency.count;
  json["p50_us"] = kind.latency.QuantileUs(0.50);
  json["p99_us"] = kind.latency.QuantileUs(0.99);
  return json;
}

}  // namespace

TrafficCost CostOf(const RequestCounts& requests, const CostConfig& prices) {
  TrafficCost cost;
  cost.reads =
      Price(Billed(requests.of(RequestKind::kGet)) + Billed(requests.of(RequestKind::kHead)),
            prices.read_per_10k);
  cost.writes = Price(Billed(requests.of(RequestKind::kPut)), prices.write_per_10k);
  cost.lists = Price(Billed(requests.of(RequestKind::kList)), prices.list_per_10k);
  cost.transfer = static_cast<double>(requests.bytes_received) / kGib * prices.transfer_per_gib;
  return cost;
}

Json MountTrafficJson(const MountTraffic& traffic, const CostConfig& prices) {
  Json kinds = Json::object();
  for (std::size_t i = 0; i < origin::kRequestKinds; ++i)
    if (traffic.requests.kinds[i].requests() > 0)
      kinds[origin::RequestKindName(static_cast<RequestKind>(i))] =
          KindJson(traffic.requests.kinds[i]);
  return {{"requests", std::move(kinds)},
          {"bytes_received", traffic.requests.bytes_received},
          {"bytes_sent", traffic.requests.bytes_sent},
          {"retries", traffic.stats.retries},
          {"hedges", traffic.stats.hedges},
          {"hedges_won", traffic.stats.hedges_won},
          {"throttled", traffic.requests.throttled},
          {"connects", traffic.stats.connects},
          {"paced", traffic.requests.paced},
          {"paced_ms", traffic.requests.paced_us / 1'000},
          {"cost", Rounded(CostOf(traffic.requests, prices).total())}};
}

Json CostJson(const std::vector<MountTraffic>& traffic, const CostConfig& prices) {
  TrafficCost all;
  for (const MountTraffic& one : traffic) {
    const TrafficCost cost = CostOf(one.requests, prices);
    all.reads += cost.reads;
    all.writes += cost.writes;
    all.lists += cost.lists;
    all.transfer += cost.transfer;
  }
  return {{"currency", prices.currency},       {"reads", Rounded(all.reads)},
          {"writes", Rounded(all.writes)},     {"lists", Rounded(all.lists)},
          {"transfer", Rounded(all.transfer)}, {"total", Rounded(all.total())}};
}

}  // namespace penstock::cache
