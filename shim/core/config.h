// What the environment says: all that the shim reads.
//
//   PENSTOCK_SOCKET  the sidecar's unix socket
//   PENSTOCK_PATHS   covered path prefixes, colon list, absolute
//   PENSTOCK_WAIT    how long a covered call waits for a sidecar ("60s", "1.5s", "500ms", "2m", "30")
//
// Filled once by the constructor, from its envp argument (libc's environ may not be set yet), and
// constant afterwards: any thread may read it. Without PENSTOCK_SOCKET or PENSTOCK_PATHS `active`
// stays false and everything is transparent.
#pragma once

#include <stdint.h>

#include "shim/abi/abi.h"

namespace penstock {

inline constexpr uint32_t kMaxPrefixes = PST_MAX_MOUNTS;
inline constexpr int64_t kDefaultWaitNs = 60'000'000'000;
inline constexpr int64_t kMaxWaitNs = 86'400'000'000'000;

struct Prefix {
  const char* path;  // normalised: absolute, no trailing slash; "" stands for "/"
  uint32_t len;
};

struct Config {
  bool active;
  uint32_t prefix_count;
  uint32_t shortest_prefix;  // bytes
  int64_t wait_ns;
  const char* socket_path;   // in the environment block, or copied if that is not ours to keep
  uint32_t socket_len;
  Prefix prefixes[kMaxPrefixes];
  char text[8192];           // storage of the prefixes and the socket's path
};

// Zero until the constructor ran.
extern Config g_config;

void ConfigInit(char** envp);

// "60s", "500ms", "2m", "1h" or plain seconds, each with a fraction or none; at most kMaxWaitNs. -1 if it is
// none of them.
int64_t ParseDurationNs(const char* text);

}  // namespace penstock
