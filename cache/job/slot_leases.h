// Who holds which open-file slot: leases, families and the order in which slots are used again.
// Pure bookkeeping, no system calls; what clients wrote comes in as an argument.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "shim/abi/open_file.h"

namespace penstock::cache {

class SlotLeases {
 public:
  // Says whether a dead session's slot may still be held by another process.
  using MaybeHeld = std::function<bool(std::uint64_t session, std::uint32_t slot)>;
  // Told of each slot that is nobody's any more.
  using Freed = std::function<void(std::uint64_t session, std::uint32_t slot)>;

  SlotLeases(MaybeHeld maybe_held, Freed freed);

  // Slots that an earlier run of the sidecar gave out: leased last, if `usable` then says so.
  void Quarantine(std::uint32_t slot);

  // False if the id is 0 or known.
  bool Join(std::uint64_t session, std::uint64_t parent);
  void Release(std::uint64_t session);
  bool IsLive(std::uint64_t session) const;

  // Takes the next slot for a live session; -1 if none is left. `usable` is asked about quarantined
  // slots only.
  std::int64_t Take(std::uint64_t session, const std::function<bool(std::uint32_t)>& usable);
  // Gives a slot that Take just returned out of the game: its socket cannot be made.
  void Discard(std::uint32_t slot);
  std::uint32_t CountOf(std::uint64_t session) const;
  // The session that a slot is leased to, dead ones with live families included; 0 none.
  std::uint64_t OwnerOf(std::uint32_t slot) const { return owner_[slot]; }
  // Does the slot's session live, or one of its family?
  bool IsHeld(std::uint32_t slot) const;

  std::uint64_t live_sessions() const { return live_sessions_; }
  std::uint64_t leased() const { return leased_; }
  std::uint64_t orphaned() const;

 private:
  struct Node {
    std::uint64_t parent = 0;  // 0 none
    std::vector<std::uint64_t> children;
    std::vector<std::uint32_t> slots;
    std::uint32_t live_in_family = 0;  // itself and its descendants
    bool live = false;
    bool in_orphans = false;
  };

  void FreeSlot(std::uint64_t session, std::uint32_t slot);
  void AddLive(std::uint64_t session, std::int32_t change);
  void Settle(std::uint64_t session);  // after its family's count may have become 0
  void Splice(std::uint64_t session);  // removes a node, children go to its parent
  bool ReclaimOrphan();

  MaybeHeld maybe_held_;
  Freed freed_;
  std::unordered_map<std::uint64_t, Node> nodes_;
  std::deque<std::uint64_t> orphans_;  // dead families with slots, oldest first; may be stale
  std::vector<std::uint32_t> free_;    // clean, used again first
  std::uint32_t next_fresh_ = 0;       // below it: given out at least once, or quarantined
  std::vector<bool> quarantined_;
  std::deque<std::uint32_t> quarantine_;
  std::vector<std::uint64_t> owner_;
  std::uint64_t live_sessions_ = 0;
  std::uint64_t leased_ = 0;
};

}  // namespace penstock::cache
