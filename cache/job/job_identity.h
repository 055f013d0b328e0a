// The file `job` in the job's folder: the job's random id and how often the sidecar has started.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>

#include "transport/base/result.h"

namespace penstock::cache {

struct JobIdentity {
  std::uint64_t id = 0;      // never 0
  std::uint64_t starts = 0;  // this one included
  bool resumed = false;      // the id is that of an earlier start since the machine booted
};

// Reads the file in `folder_fd`, counts this start and writes it back by rename. A missing, foreign
// or torn file, or one from before the last boot (no client can have lived through that), begins a
// new job.
Result<JobIdentity> OpenJobIdentity(int folder_fd);

inline constexpr char kJobFile[] = "job";

}  // namespace penstock::cache
