// Runs a program to its end and collects what it prints: no shell, no descriptors of ours, its own
// process group, which is killed at the deadline.
//
// Thread safety: each call on its own; blocks the calling thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace penstock::identity {

struct ChildOutput {
  enum class End : std::uint8_t { kExited, kKilled, kDeadline, kTooMuch, kCancelled, kNotStarted };
  End end = End::kNotStarted;
  int status = 0;   // of the exit, or the signal, or the errno of a failed start
  std::string out;  // standard output
  std::string err;  // standard error, its beginning
};

// `wake_fd` becomes readable when `cancelled` is set.
ChildOutput RunChild(const std::vector<std::string>& argv,
                     const std::vector<std::string>& environment, std::size_t max_bytes,
                     std::int64_t deadline_ns, const std::atomic<bool>& cancelled, int wake_fd);

}  // namespace penstock::identity
