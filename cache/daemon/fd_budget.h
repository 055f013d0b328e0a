// How the sidecar's descriptors are shared out: every pool that holds some is sized from RLIMIT_NOFILE, so
// that a small limit (1,024 is common in containers) means fewer programs at once and never a read that
// fails for want of a descriptor.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

namespace penstock::cache {

struct FdWish {
  std::uint64_t limit = 0;          // RLIMIT_NOFILE
  std::uint64_t connections = 0;    // to all origins together
  std::uint64_t folders = 0;        // origins that are folders
  std::uint64_t sessions = 0;       // limits.sessions
  std::uint64_t tickets = 0;        // limits.tickets
};

struct FdBudget {
  std::uint32_t sessions = 0;       // each holds three: socket, pidfd, doorbell
  std::uint32_t tickets = 0;
  std::uint32_t kept_files = 0;
  std::uint32_t objects = 0;        // open at once, each with two: its bytes and its .meta
  std::uint32_t handshakes = 0;
  bool tight = false;               // fewer sessions or tickets than were wished for
};

FdBudget ShareDescriptors(const FdWish& wish);
// All that these shares, the origins and the sidecar's own descriptors come to.
std::uint64_t DescriptorsFor(const FdWish& wish, const FdBudget& budget);

}  // namespace penstock::cache
