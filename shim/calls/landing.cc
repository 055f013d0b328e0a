#include "shim/calls/landing.h"

#include <fcntl.h>
#include <unistd.h>

#include "shim/core/raw.h"

namespace penstock {

OnDisk g_prefixes_on_disk;

bool PstLooksOnDisk() {
  auto* known = (uint8_t*)&g_prefixes_on_disk;  // clang's atomics take no enum
  auto found = (OnDisk)__atomic_load_n(known, __ATOMIC_RELAXED);
  if (found != OnDisk::kUnknown) return found == OnDisk::kSome;
  found = OnDisk::kNone;
  for (uint32_t i = 0; i < g_config.prefix_count; ++i) {
    const Prefix& prefix = g_config.prefixes[i];
    if (prefix.len > 0 && Raw(SYS_faccessat, AT_FDCWD, prefix.path, F_OK) == 0) found = OnDisk::kSome;
  }
  __atomic_store_n(known, (uint8_t)found, __ATOMIC_RELAXED);
  return found == OnDisk::kSome;
}

}  // namespace penstock
