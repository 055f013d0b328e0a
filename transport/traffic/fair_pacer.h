// The limits of a job, shared fairly among its mounts, and its place in the node's line.
//
// Fairness is start-time fair queueing (Goyal, Vin, Cheng 1996) over the mounts' first waiting
// requests. A mount's requests carry tags that grow by cost / weight, cost being the part of a
// second that a request takes of the tightest limit; the smallest tag goes first; a mount that
// comes back after a pause starts where the others are. So a mount with a thousand requests waiting
// and one with a single one take turns, by cost and not by number. A request that nobody waits for
// (prefetch) lets those of all mounts pass for which somebody does. Whoever was refused asks again
// by himself; one that does not (his requests were cancelled) loses his turn after a moment.
//
// Thread safety: MakePacer() before anything is asked; the pacers as pacer.h says, each at most as
// long as the FairPacer.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "transport/traffic/node_share.h"
#include "transport/traffic/pacer.h"
#include "transport/traffic/rate.h"

namespace penstock::origin {

class FairPacer {
 public:
  // `node` may be null.
  FairPacer(const TrafficLimits& job, std::unique_ptr<NodeShare> node);
  ~FairPacer();
  FairPacer(const FairPacer&) = delete;
  FairPacer& operator=(const FairPacer&) = delete;

  // The pacer of one mount, owned by this. `weight`: its part against the others', at least 1.
  Pacer* MakePacer(std::uint32_t weight);

 private:
  class Lane;

  std::int64_t Ask(Lane* lane, bool urgent, std::uint64_t bytes, std::int64_t now_ns);
  void Leave(Lane* lane);
  void NoteMoved(Lane* lane, std::uint64_t asked, std::uint64_t moved, std::int64_t now_ns);

  // All below with mutex_ held.
  Lane* First(std::int64_t now_ns);
  std::int64_t ReadyNs(std::uint64_t bytes, std::int64_t now_ns);
  void Admit(Lane* lane, std::uint64_t bytes, std::int64_t now_ns);
  double FairCostNs(std::uint64_t bytes) const;

  const TrafficLimits job_;
  const std::unique_ptr<NodeShare> node_;

  std::mutex mutex_;
  std::deque<Lane> lanes_;  // none leaves
  double virtual_ns_ = 0;   // the smallest tag of those that are served
  std::int64_t requests_free_ns_ = 0;
  std::int64_t bytes_free_ns_ = 0;
  // The job's place in the node's line, of whichever request is first when its moment comes.
  bool in_line_ = false;
  std::int64_t line_ns_ = 0;
  std::uint64_t line_bytes_ = 0;
};

}  // namespace penstock::origin
