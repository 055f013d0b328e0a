// Who asks before a request goes onto the wire, and tells what it moved. One for each mount; those
// of a job share its limits (fair_pacer.h).
//
// Thread safety: each Pacer is used by one thread; different ones at the same time.
#pragma once

#include <cstdint>

namespace penstock::origin {

class Pacer {
 public:
  virtual ~Pacer() = default;

  // May the first of the waiting requests go now, which will move about `bytes` (0: not known)?
  // 0: yes, and it counts as sent. Else the nanoseconds after which to ask again, more than 0 and
  // at most kLongestWaitNs. `urgent`: somebody waits for it; the others let it pass.
  virtual std::int64_t Ask(bool urgent, std::uint64_t bytes, std::int64_t now_ns) = 0;
  static constexpr std::int64_t kLongestWaitNs = 50'000'000;

  // After a refusal: nothing waits any more, or nothing that could be sent. Nobody else needs to
  // wait for this mount's turn.
  virtual void Leave() = 0;

  // A request that was admitted for `asked` bytes is over and has moved `moved`.
  virtual void NoteMoved(std::uint64_t asked, std::uint64_t moved, std::int64_t now_ns) = 0;
};

}  // namespace penstock::origin
