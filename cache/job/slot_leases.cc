#include "cache/job/slot_leases.h"

#include <algorithm>
#include <utility>

namespace penstock::cache {

namespace {
constexpr std::uint32_t kNone = UINT32_MAX;
}  // namespace

SlotLeases::SlotLeases(MaybeHeld maybe_held, Freed freed)
    : maybe_held_(std::move(maybe_held)),
      freed_(std::move(freed)),
      quarantined_(PST_OPEN_FILE_SLOTS, false),
      owner_(PST_OPEN_FILE_SLOTS, 0) {}

void SlotLeases::Quarantine(std::uint32_t slot) {
  if (slot >= PST_OPEN_FILE_SLOTS || quarantined_[slot]) return;
  quarantined_[slot] = true;
  quarantine_.push_back(slot);
}

bool SlotLeases::Join(std::uint64_t session, std::uint64_t parent) {
  if (session == 0 || parent == session || nodes_.contains(session)) return false;
  Node node;
  node.live = true;
  if (auto it = nodes_.find(parent); it != nodes_.end()) {
    node.parent = parent;
    it->second.children.push_back(session);
  }
  nodes_.emplace(session, std::move(node));
  AddLive(session, 1);
  live_sessions_++;
  return true;
}

bool SlotLeases::IsLive(std::uint64_t session) const {
  auto it = nodes_.find(session);
  return it != nodes_.end() && it->second.live;
}

bool SlotLeases::IsHeld(std::uint32_t slot) const {
  const auto it = nodes_.find(owner_[slot]);
  return it != nodes_.end() && it->second.live_in_family != 0;
}

std::uint32_t SlotLeases::CountOf(std::uint64_t session) const {
  auto it = nodes_.find(session);
  return it == nodes_.end() ? 0 : static_cast<std::uint32_t>(it->second.slots.size());
}

void SlotLeases::AddLive(std::uint64_t session, std::int32_t change) {
  // Parents exist before their children, so this chain has no circle.
  for (std::uint64_t at = session; at != 0;) {
    Node& node = nodes_.at(at);
    node.live_in_family += static_cast<std::uint32_t>(change);
    at = node.parent;
  }
}

void SlotLeases::Release(std::uint64_t session) {
  auto it = nodes_.find(session);
  if (it == nodes_.end() || !it->second.live) return;
  it->second.live = false;
  live_sessions_--;
  std::vector<std::uint32_t> kept;
  for (std::uint32_t slot : std::exchange(it->second.slots, {})) {
    if (maybe_held_(session, slot)) {
      kept.push_back(slot);
    } else {
      FreeSlot(session, slot);
    }
  }
  it->second.slots = std::move(kept);
  AddLive(session, -1);
  for (std::uint64_t at = session; at != 0;) {
    const std::uint64_t parent = nodes_.at(at).parent;
    Settle(at);
    at = parent;
  }
}

void SlotLeases::Settle(std::uint64_t session) {
  Node& node = nodes_.at(session);
  if (node.live) return;
  if (node.slots.empty()) {
    Splice(session);
  } else if (node.live_in_family == 0 && !node.in_orphans) {
    node.in_orphans = true;
    orphans_.push_back(session);
  }
}

void SlotLeases::Splice(std::uint64_t session) {
  auto it = nodes_.find(session);
  Node node = std::move(it->second);
  nodes_.erase(it);
  Node* parent = node.parent == 0 ? nullptr : &nodes_.at(node.parent);
  for (std::uint64_t child : node.children) {
    nodes_.at(child).parent = node.parent;
    if (parent != nullptr) parent->children.push_back(child);
  }
  if (parent != nullptr) std::erase(parent->children, session);
}

void SlotLeases::FreeSlot(std::uint64_t session, std::uint32_t slot) {
  owner_[slot] = 0;
  leased_--;
  free_.push_back(slot);
  freed_(session, slot);
}

bool SlotLeases::ReclaimOrphan() {
  while (!orphans_.empty()) {
    const std::uint64_t session = orphans_.front();
    orphans_.pop_front();
    auto it = nodes_.find(session);
    if (it == nodes_.end()) continue;
    it->second.in_orphans = false;
    if (it->second.live_in_family != 0) continue;  // a child joined after all
    for (std::uint32_t slot : std::exchange(it->second.slots, {})) FreeSlot(session, slot);
    Splice(session);
    return true;
  }
  return false;
}

std::int64_t SlotLeases::Take(std::uint64_t session,
                              const std::function<bool(std::uint32_t)>& usable) {
  auto it = nodes_.find(session);
  if (it == nodes_.end() || !it->second.live) return -1;
  while (next_fresh_ < PST_OPEN_FILE_SLOTS && quarantined_[next_fresh_]) next_fresh_++;
  std::uint32_t slot = kNone;
  if (free_.empty() && next_fresh_ >= PST_OPEN_FILE_SLOTS) ReclaimOrphan();
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else if (next_fresh_ < PST_OPEN_FILE_SLOTS) {
    slot = next_fresh_++;
  } else {
    for (std::size_t tries = quarantine_.size(); tries > 0; tries--) {
      const std::uint32_t candidate = quarantine_.front();
      quarantine_.pop_front();
      if (usable(candidate)) {
        slot = candidate;
        break;
      }
      quarantine_.push_back(candidate);
    }
  }
  if (slot == kNone) return -1;
  // ReclaimOrphan may have spliced other nodes, never this live one: find it anew all the same.
  nodes_.at(session).slots.push_back(slot);
  owner_[slot] = session;
  leased_++;
  return slot;
}

void SlotLeases::Discard(std::uint32_t slot) {
  auto it = nodes_.find(owner_[slot]);
  if (it == nodes_.end()) return;
  std::erase(it->second.slots, slot);
  owner_[slot] = 0;
  leased_--;
}

std::uint64_t SlotLeases::orphaned() const {
  std::uint64_t count = 0;
  for (std::uint64_t session : orphans_) {
    auto it = nodes_.find(session);
    if (it != nodes_.end() && it->second.live_in_family == 0) count += it->second.slots.size();
  }
  return count;
}

}  // namespace penstock::cache
