// The sidecar's look at its origins: at the start, and when `penstock status` asks. Runs on a
// thread of its own, because Probe() blocks.
//
// Thread safety: core thread only; results come back through Loop::Post.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/loop.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

inline constexpr std::int64_t kProbeMs = 5'000;

struct ProbeResult {
  bool ok = false;
  std::string problem;  // for a person, with the way out; "" if ok
};

class Probes {
 public:
  struct Target {
    std::string path;  // of the mount
    origin::Origin* origin = nullptr;
  };
  Probes(Loop* loop, std::vector<Target> targets);
  ~Probes();  // waits for a probe that runs: kProbeMs at most for each mount
  Probes(const Probes&) = delete;
  Probes& operator=(const Probes&) = delete;

  // Calls `done` once every mount has been looked at, at once if that was less than `max_age_ns`
  // ago.
  void Ask(std::int64_t max_age_ns, std::move_only_function<void()> done);
  bool probed() const { return probed_ns_ != 0; }
  const std::vector<ProbeResult>& results() const { return results_; }

 private:
  void Finished(std::vector<ProbeResult> results);

  Loop* loop_;
  std::vector<Target> targets_;
  std::vector<ProbeResult> results_;
  std::vector<std::move_only_function<void()>> waiting_;
  std::int64_t probed_ns_ = 0;
  std::thread thread_;
  bool running_ = false;
};

}  // namespace penstock::cache
