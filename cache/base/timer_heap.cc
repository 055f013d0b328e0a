#include "cache/base/timer_heap.h"

#include <utility>

namespace penstock::cache {

Loop::TimerId TimerHeap::Add(std::int64_t at_ns, Loop::Task task) {
  const Loop::TimerId id = ++last_id_;
  tasks_.emplace(id, std::move(task));
  heap_.push({at_ns, id});
  return id;
}

void TimerHeap::Cancel(Loop::TimerId id) {
  tasks_.erase(id);
  // Most timers are deadlines that are cancelled long before they are due: do not let them pile up.
  if (heap_.size() < 1024 || heap_.size() < 4 * tasks_.size()) return;
  std::vector<Item> alive;
  alive.reserve(tasks_.size());
  while (!heap_.empty()) {
    if (tasks_.contains(heap_.top().id)) alive.push_back(heap_.top());
    heap_.pop();
  }
  heap_ = std::priority_queue<Item, std::vector<Item>, std::greater<>>(std::greater<>{},
                                                                       std::move(alive));
}

void TimerHeap::DropCancelled() {
  while (!heap_.empty() && !tasks_.contains(heap_.top().id)) heap_.pop();
}

std::int64_t TimerHeap::NextNs() {
  DropCancelled();
  return heap_.empty() ? -1 : heap_.top().at_ns;
}

void TimerHeap::RunDue(std::int64_t now_ns) {
  // A timer that sets another at once must not run for ever: only ids known now.
  const Loop::TimerId last = last_id_;
  for (;;) {
    DropCancelled();
    if (heap_.empty() || heap_.top().at_ns > now_ns || heap_.top().id > last) return;
    const auto found = tasks_.find(heap_.top().id);
    Loop::Task task = std::move(found->second);
    tasks_.erase(found);
    heap_.pop();
    task();
  }
}

}  // namespace penstock::cache
