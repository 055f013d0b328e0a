#include "cache/daemon/probes.h"

#include <fmt/format.h>

#include <utility>

#include "transport/base/log.h"
#include "transport/base/thread.h"

namespace penstock::cache {

Probes::Probes(Loop* loop, std::vector<Target> targets)
    : loop_(loop), targets_(std::move(targets)), results_(targets_.size()) {}

Probes::~Probes() {
  if (thread_.joinable()) thread_.join();
}

void Probes::Ask(std::int64_t max_age_ns, std::move_only_function<void()> done) {
  if (probed_ns_ != 0 && MonotonicNs() - probed_ns_ < max_age_ns) return done();
  waiting_.push_back(std::move(done));
  if (std::exchange(running_, true)) return;
  if (thread_.joinable()) thread_.join();  // has posted its results already
  thread_ = StartThread("probe", [this] {
    std::vector<ProbeResult> results;
    for (const Target& target : targets_) {
      ProbeResult result;
      std::string explanation;
      const auto answer = target.origin->Probe(kProbeMs, &explanation);
      result.ok = answer.has_value();
      if (!result.ok)
        result.problem =
            fmt::format("{}: {}: {}", target.path, target.origin->Describe(),
                        explanation.empty() ? CodeName(answer.error().code) : explanation.c_str());
      results.push_back(std::move(result));
    }
    loop_->Post([this, results = std::move(results)]() mutable { Finished(std::move(results)); });
  });
}

void Probes::Finished(std::vector<ProbeResult> results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].problem == results_[i].problem && probed_ns_ != 0) continue;
    if (!results[i].ok)
      log::Error("{}", results[i].problem);
    else if (probed_ns_ != 0)
      log::Info("{}: the origin answers again", targets_[i].path);
  }
  results_ = std::move(results);
  probed_ns_ = MonotonicNs();
  running_ = false;
  for (auto& done : std::exchange(waiting_, {})) done();
}

}  // namespace penstock::cache
