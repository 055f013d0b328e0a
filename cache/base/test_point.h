// Named places where a test may let this process die as a kill -9 would: PENSTOCK_DIE_AT=name. They
// are at steps that happen once in a sidecar's life, never on a request's way.
//
// Thread safety: any thread.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace penstock::cache {

inline void TestPoint(const char* name) {
  const char* wanted = getenv("PENSTOCK_DIE_AT");
  if (wanted != nullptr && strcmp(wanted, name) == 0) kill(getpid(), SIGKILL);
}

}  // namespace penstock::cache
