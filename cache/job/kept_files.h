// The one open file of each materialised slot, for all who share the slot.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <unordered_map>

#include "cache/job/fd.h"
#include "cache/job/job_folder.h"

namespace penstock::cache {

class KeptFiles {
 public:
  // The slot as its table has it now, in table number `table`.
  using Look = std::function<bool(std::uint32_t table, std::uint32_t slot, SlotState* state)>;
  // No `owner` (a session) may keep more than an eighth of `max_files`. Beyond that the older half
  // of its files that somebody has taken is given up: who has one keeps it, and only a sharer from
  // before, who never touched the file, finds it gone (kVersionChanged).
  KeptFiles(std::uint32_t max_files, Look look)
      : max_files_(max_files), max_each_(std::max(max_files / 8, 1u)), look_(std::move(look)) {}

  Result<int> Keep(std::uint64_t owner, std::uint32_t table, std::uint32_t slot, std::uint32_t generation,
                   const FileIdentity& file, Fd fd);
  int Find(std::uint32_t table, std::uint32_t slot, std::uint32_t generation,
           const FileIdentity& file);
  void Drop(std::uint32_t table, std::uint32_t slot);
  // A lock (flock) belongs to the open file and ends with its last descriptor, which must not be
  // ours: drops the file of a slot if it is locked. A sharer from before who never touched it then
  // finds it gone, as above.
  void DropLocked(std::uint32_t table, std::uint32_t slot, std::uint32_t generation);
  // The same for all slots that nobody holds, as far as is known.
  void DropLockedUnless(const std::function<bool(std::uint32_t slot)>& is_held);
  // Drops what its slot does not stand for any more.
  void Sweep();
  std::size_t size() const { return files_.size(); }

 private:
  struct Kept {
    std::uint32_t generation = 0;
    FileIdentity file;
    Fd fd;
    std::uint64_t owner = 0;
    std::uint64_t age = 0;  // the larger, the younger
  };
  using Files = std::unordered_map<std::uint64_t, Kept>;
  static std::uint64_t Place(std::uint32_t table, std::uint32_t slot) {
    return (static_cast<std::uint64_t>(table) << 32) | slot;
  }
  bool IsCurrent(std::uint64_t place, const Kept& kept) const;

  std::uint32_t max_files_;
  std::uint32_t max_each_;
  Look look_;
  Files::iterator Erase(Files::iterator at);
  void GiveUpOldest(std::uint64_t owner);

  Files files_;
  std::unordered_map<std::uint64_t, std::uint32_t> count_of_;  // by owner; no zeros
  std::uint32_t kept_since_sweep_ = 0;
  std::uint64_t last_age_ = 0;
};

}  // namespace penstock::cache
