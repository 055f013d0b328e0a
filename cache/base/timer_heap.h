// Timers of a loop, in a heap with lazy removal.
//
// Thread safety: the loop's thread only.
#pragma once

#include <cstdint>
#include <queue>
#include <unordered_map>
#include <vector>

#include "cache/base/loop.h"

namespace penstock::cache {

class TimerHeap {
 public:
  Loop::TimerId Add(std::int64_t at_ns, Loop::Task task);
  void Cancel(Loop::TimerId id);
  // Absolute time of the next timer; -1 if there is none.
  std::int64_t NextNs();
  // Runs what is due at `now_ns`, in order of time.
  void RunDue(std::int64_t now_ns);

 private:
  struct Item {
    std::int64_t at_ns;
    Loop::TimerId id;
    bool operator>(const Item& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : id > other.id;
    }
  };
  void DropCancelled();

  std::priority_queue<Item, std::vector<Item>, std::greater<>> heap_;
  std::unordered_map<Loop::TimerId, Loop::Task> tasks_;  // cancelled ones are absent
  Loop::TimerId last_id_ = 0;
};

}  // namespace penstock::cache
