#include "cache/session/tickets.h"

#include <algorithm>
#include <utility>

namespace penstock::cache {

Tickets::Tickets(Loop* loop, std::size_t limit)
    : loop_(loop), limit_(limit), random_(Random::FromEnvironment()) {}

Tickets::~Tickets() {
  if (timer_ != 0) loop_->CancelTimer(timer_);
}

std::uint64_t Tickets::Add(std::uint64_t session, Fd fd) {
  if (tickets_.size() >= limit_ || !fd.valid()) return 0;
  const auto held = count_of_.find(session);
  // Whatever one holds, as much is left for the others.
  if (held != count_of_.end() &&
      (held->second >= kMaxTicketsEach || held->second > limit_ - tickets_.size()))
    return 0;
  ++count_of_[session];
  std::uint64_t id = 0;
  while (id == 0 || tickets_.contains(id)) id = random_.Next();
  tickets_.emplace(id, Ticket{session, std::move(fd)});
  expiries_.push_back({MonotonicNs() + kTicketNs, id});
  if (timer_ == 0) timer_ = loop_->After(kTicketNs, [this] { Expire(); });
  return id;
}

Fd Tickets::Take(std::uint64_t session, std::uint64_t ticket) {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end() || found->second.session != session) return {};
  Fd fd = std::move(found->second.fd);
  tickets_.erase(found);
  Gone(session);
  return fd;
}

void Tickets::Drop(std::uint64_t session) {
  if (count_of_.erase(session) == 0) return;
  std::erase_if(tickets_, [&](const auto& entry) { return entry.second.session == session; });
}

void Tickets::Gone(std::uint64_t session) {
  const auto held = count_of_.find(session);
  if (held != count_of_.end() && --held->second == 0) count_of_.erase(held);
}

void Tickets::Expire() {
  timer_ = 0;
  const std::int64_t now_ns = MonotonicNs();
  while (!expiries_.empty() && expiries_.front().at_ns <= now_ns) {
    if (auto node = tickets_.extract(expiries_.front().ticket); !node.empty())
      Gone(node.mapped().session);
    expiries_.pop_front();
  }
  if (tickets_.empty()) {
    expiries_.clear();
    return;
  }
  timer_ = loop_->After(expiries_.front().at_ns - now_ns, [this] { Expire(); });
}

}  // namespace penstock::cache
