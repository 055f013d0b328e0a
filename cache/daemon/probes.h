// The sidecar's look at its origins: at the start, and when `penstock status` asks. All at once, each with
// its own deadline; one that answers nothing at all (a folder whose server is gone) is given up a little
// later and not asked again until it has come back.
//
// Thread safety: core thread only; answers come back through Loop::Post.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

inline constexpr std::int64_t kProbeMs = 5'000;
inline constexpr std::int64_t kProbeGiveUpMs = 1'000;  // beyond its deadline

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
  ~Probes();  // cancels what is under way and waits for the origins to let go of it
  Probes(const Probes&) = delete;
  Probes& operator=(const Probes&) = delete;

  // Calls `done` once every mount has been looked at, at once if that was less than `max_age_ns`
  // ago.
  void Ask(std::int64_t max_age_ns, std::move_only_function<void()> done);
  bool probed() const { return probed_ns_ != 0; }
  const std::vector<ProbeResult>& results() const { return results_; }

 private:
  struct Look;
  // What outlives this object in the loop's queue, and what the origins' threads touch.
  struct Shared {
    std::mutex mutex;
    std::condition_variable none;
    std::size_t outside = 0;   // guarded by mutex: looks that an origin still has
    Probes* owner = nullptr;   // core thread only; null after the end
  };

  void Start(std::size_t target);
  static void Answered(origin::Op* op);
  void Take(Look* look);
  void Settle(std::size_t target, ProbeResult result);
  void GiveUp();
  void Finished();

  Loop* loop_;
  std::vector<Target> targets_;
  std::vector<ProbeResult> results_;
  std::vector<std::unique_ptr<Look>> looks_;  // of each target, null if none is under way
  std::vector<bool> awaited_;                 // whose answer this round waits for
  std::size_t awaiting_ = 0;
  std::vector<std::move_only_function<void()>> waiting_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  Loop::TimerId give_up_ = 0;
  std::int64_t probed_ns_ = 0;
  bool running_ = false;
};

}  // namespace penstock::cache
