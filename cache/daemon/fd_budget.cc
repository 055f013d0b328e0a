#include "cache/daemon/fd_budget.h"

#include <algorithm>

namespace penstock::cache {
namespace {

constexpr std::uint64_t kOwn = 64;         // memory, loop, log, job folder
constexpr std::uint64_t kFolderReads = 128 + 16;  // transport: reads of a ring, cursors of listings
constexpr std::uint64_t kEachSession = 3;
constexpr std::uint64_t kEachObject = 2;
constexpr std::uint64_t kAdmins = 64 + 16;  // and pidfds of programs that are announced
constexpr std::uint64_t kMostKept = 8192, kMostObjects = 256, kMostHandshakes = 1024;
constexpr std::uint64_t kLeast = 16;       // of anything: with a limit too small for it, calls fail

// What is needed whatever the shares; at most half of a small limit, the rest of which is for programs.
std::uint64_t Needed(const FdWish& wish) {
  return kOwn + kAdmins + wish.connections + wish.folders * kFolderReads;
}

// A quarter more for those who are told that they may not join.
std::uint64_t Handshakes(const FdBudget& budget) { return budget.handshakes + budget.handshakes / 4; }

std::uint32_t Share(std::uint64_t left, std::uint64_t parts_of_32, std::uint64_t each,
                    std::uint64_t most) {
  return static_cast<std::uint32_t>(
      std::clamp(left * parts_of_32 / 32 / each, std::min(kLeast, most), most));
}

}  // namespace

FdBudget ShareDescriptors(const FdWish& wish) {
  const std::uint64_t needed = std::min(Needed(wish), wish.limit / 2);
  const std::uint64_t left = wish.limit - needed;
  FdBudget budget;
  budget.kept_files = Share(left, 8, 1, kMostKept);
  budget.tickets = Share(left, 4, 1, wish.tickets);
  budget.objects = Share(left, 4, kEachObject, kMostObjects);
  budget.handshakes = Share(left, 2, 1, kMostHandshakes);
  // Sessions get their part, and what the others have no use for.
  const std::uint64_t used = budget.kept_files + budget.tickets + Handshakes(budget) +
                             kEachObject * budget.objects;
  const std::uint64_t rest = left > used ? left - used : 0;
  budget.sessions = static_cast<std::uint32_t>(
      std::clamp(rest / kEachSession, std::min(kLeast, wish.sessions), wish.sessions));
  budget.tight = budget.sessions < wish.sessions || budget.tickets < wish.tickets;
  return budget;
}

std::uint64_t DescriptorsFor(const FdWish& wish, const FdBudget& budget) {
  return std::min(Needed(wish), wish.limit / 2) + kEachSession * budget.sessions + budget.tickets +
         budget.kept_files + kEachObject * budget.objects + Handshakes(budget);
}

}  // namespace penstock::cache
