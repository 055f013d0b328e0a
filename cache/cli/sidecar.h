// Finding the job's sidecar, and starting it when there is none.
//
// Thread safety: one thread; blocks, always with a deadline.
#pragma once

#include <string>

#include "cache/config/config.h"

namespace penstock::cli {

// A sidecar that answers, asked not to end before a program has had time to join. Starts one if
// `start`; two callers at the same moment start one. Problems have been printed when it fails;
// mounts whose origin refuses are printed as warnings.
bool EnsureSidecar(const cache::Config& config, bool start);

}  // namespace penstock::cli
