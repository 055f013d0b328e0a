#include "transport/traffic/fair_pacer.h"

#include <algorithm>

namespace penstock::origin {
namespace {

constexpr std::int64_t kShortestWaitNs = 1'000'000;
// How long after the moment when it was to ask again a lane keeps its turn.
constexpr std::int64_t kGraceNs = 20'000'000;
// How far ahead of the first one a lane may run before it waits: turns change hands by timers of a
// millisecond, and at thousands of requests a second each turn has to carry several.
constexpr double kQuantumNs = 10e6;

}  // namespace

class FairPacer::Lane final : public Pacer {
 public:
  Lane(FairPacer* all, double its_weight) : weight(its_weight), all_(all) {}

  std::int64_t Ask(bool is_urgent, std::uint64_t bytes, std::int64_t now_ns) override {
    return all_->Ask(this, is_urgent, bytes, now_ns);
  }
  void Leave() override { all_->Leave(this); }
  void NoteMoved(std::uint64_t asked, std::uint64_t moved, std::int64_t now_ns) override {
    if (asked != moved) all_->NoteMoved(this, asked, moved, now_ns);
  }

  // The pacer's, with its mutex held.
  const double weight;
  double next_tag_ns = 0;  // what its next request starts from, if nobody has gone further
  bool waiting = false;
  bool urgent = false;
  double tag_ns = 0;               // of the request that waits
  std::int64_t turn_until_ns = 0;  // when it loses its turn

 private:
  FairPacer* const all_;
};

FairPacer::FairPacer(const TrafficLimits& job, std::unique_ptr<NodeShare> node)
    : job_(job), node_(std::move(node)) {}

FairPacer::~FairPacer() = default;

Pacer* FairPacer::MakePacer(std::uint32_t weight) {
  const std::lock_guard lock(mutex_);
  return &lanes_.emplace_back(this, static_cast<double>(std::max(weight, 1u)));
}

// The part of a second of whichever limit is the tightest for this request.
double FairPacer::FairCostNs(std::uint64_t bytes) const {
  std::int64_t cost_ns = 1;  // so that turns are taken whatever the limits
  const auto with = [&](const TrafficLimits& limits) {
    cost_ns = std::max(
        {cost_ns, CostNs(1, limits.requests_per_second), CostNs(bytes, limits.bytes_per_second)});
  };
  with(job_);
  if (node_ != nullptr) with(node_->limits());
  return static_cast<double>(cost_ns);
}

// Whose turn it is among those that wait.
FairPacer::Lane* FairPacer::First(std::int64_t now_ns) {
  Lane* first = nullptr;
  for (Lane& lane : lanes_) {
    if (!lane.waiting) continue;
    if (now_ns > lane.turn_until_ns) {
      lane.waiting = false;
      continue;
    }
    if (first == nullptr ||
        (lane.urgent != first->urgent ? lane.urgent : lane.tag_ns < first->tag_ns))
      first = &lane;
  }
  return first;
}

// When the next request may go, taking a place in the node's line if there is none yet.
std::int64_t FairPacer::ReadyNs(std::uint64_t bytes, std::int64_t now_ns) {
  std::int64_t ready_ns = 0;
  if (job_.requests_per_second > 0) ready_ns = FreeAt(requests_free_ns_, now_ns);
  if (job_.bytes_per_second > 0) ready_ns = std::max(ready_ns, FreeAt(bytes_free_ns_, now_ns));
  if (ready_ns > now_ns || node_ == nullptr) return ready_ns;
  if (!in_line_) {  // only once the job's own limits let it go: a place in line is not to be wasted
    in_line_ = true;
    line_bytes_ = bytes;
    line_ns_ = node_->Take(bytes, now_ns);
  }
  return std::max(ready_ns, line_ns_);
}

void FairPacer::Admit(Lane* lane, std::uint64_t bytes, std::int64_t now_ns) {
  // A lane that ran ahead must not take the others' start with it: they still wait further back.
  double served_ns = lane->tag_ns;
  for (const Lane& other : lanes_)
    if (other.waiting && other.urgent == lane->urgent)
      served_ns = std::min(served_ns, other.tag_ns);
  virtual_ns_ = std::max(virtual_ns_, served_ns);
  lane->next_tag_ns = lane->tag_ns + FairCostNs(bytes) / lane->weight;
  lane->waiting = false;
  requests_free_ns_ = FreeAt(requests_free_ns_, now_ns) + CostNs(1, job_.requests_per_second);
  bytes_free_ns_ = FreeAt(bytes_free_ns_, now_ns) + CostNs(bytes, job_.bytes_per_second);
  if (node_ == nullptr) return;
  node_->Correct(line_bytes_, bytes, now_ns);
  in_line_ = false;
}

std::int64_t FairPacer::Ask(Lane* lane, bool urgent, std::uint64_t bytes, std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (!lane->waiting || (urgent && !lane->urgent))
    lane->tag_ns = std::max(virtual_ns_, lane->next_tag_ns);
  lane->waiting = true;
  lane->urgent = urgent;
  lane->turn_until_ns = now_ns + kGraceNs;
  const Lane* first = First(now_ns);
  const bool its_turn = first == lane || (first->urgent == lane->urgent &&
                                          lane->tag_ns + FairCostNs(bytes) / lane->weight <=
                                              first->tag_ns + kQuantumNs);
  const std::int64_t ready_ns = ReadyNs(bytes, now_ns);
  if (its_turn && ready_ns <= now_ns) {
    Admit(lane, bytes, now_ns);
    return 0;
  }
  const std::int64_t wait_ns =
      std::clamp(ready_ns - now_ns, kShortestWaitNs, Pacer::kLongestWaitNs);
  lane->turn_until_ns = now_ns + wait_ns + kGraceNs;
  return wait_ns;
}

void FairPacer::Leave(Lane* lane) {
  const std::lock_guard lock(mutex_);
  lane->waiting = false;
}

void FairPacer::NoteMoved(Lane* lane, std::uint64_t asked, std::uint64_t moved,
                          std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  lane->next_tag_ns += (FairCostNs(moved) - FairCostNs(asked)) / lane->weight;
  bytes_free_ns_ = FreeAt(bytes_free_ns_, now_ns) + CostNs(moved, job_.bytes_per_second) -
                   CostNs(asked, job_.bytes_per_second);
  if (node_ != nullptr) node_->Correct(asked, moved, now_ns);
}

}  // namespace penstock::origin
