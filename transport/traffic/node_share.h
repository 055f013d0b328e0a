// The limits of a node, shared by its sidecars through a small file that all of them map.
//
// The file holds two moments of CLOCK_MONOTONIC (rate.h), one for requests and one for bytes, and
// nothing else that could be left behind: whoever wants to send takes the next place in line with
// one compare-and-swap and waits for that moment by himself. So there is no lock to die with, a
// dead sidecar costs the others one request's time, garbage or a moment from before a restart of
// the machine is forgotten at the next look, and nobody ever blocks. Every sidecar has one place in
// the line at a time, which is what makes the sharing fair among them.
//
// Sidecars with different limits each pay by their own: the tightest slows itself only.
//
// The file is 4 KiB, made with its blocks (no SIGBUS on a full disk) and mode 0660: whoever may
// write it is trusted not to truncate it. Sidecars in containers share it through a common volume.
// A time namespace with a monotonic offset does not see the same moments and must not share it.
//
// Thread safety: any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "transport/base/result.h"
#include "transport/traffic/rate.h"

namespace penstock::origin {

class NodeShare {
 public:
  // Opens or makes the file; its folder is made (mode 0755) if it is not there. Errors: what the
  // system says, or kInvalid for a file that is something else.
  static Result<std::unique_ptr<NodeShare>> Open(const std::string& path,
                                                 const TrafficLimits& limits);
  ~NodeShare();
  NodeShare(const NodeShare&) = delete;
  NodeShare& operator=(const NodeShare&) = delete;

  // The next place in line for one request of `bytes`: the moment when it may go.
  std::int64_t Take(std::uint64_t bytes, std::int64_t now_ns);
  // A request for `asked` bytes moved `moved`.
  void Correct(std::uint64_t asked, std::uint64_t moved, std::int64_t now_ns);

  const TrafficLimits& limits() const { return limits_; }

 private:
  struct Page;
  NodeShare(Page* page, const TrafficLimits& limits) : page_(page), limits_(limits) {}

  Page* const page_;
  const TrafficLimits limits_;
};

}  // namespace penstock::origin
