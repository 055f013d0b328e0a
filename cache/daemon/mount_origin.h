// How a mount of the configuration becomes an origin, for the sidecar and for commands that ask an
// origin themselves.
//
// Thread safety: pure functions; credentials are read from the environment.
#pragma once

#include "cache/config/config.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

origin::OriginConfig OriginConfigOf(const MountConfig& mount);

}  // namespace penstock::cache
