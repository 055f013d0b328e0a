#include "cache/base/loop.h"

#include <cstdlib>
#include <cstring>

#include "cache/base/loop_epoll.h"
#include "cache/base/loop_uring.h"
#include "transport/base/clock.h"

namespace penstock::cache {

std::int64_t MonotonicNs() { return SystemClock::Get().NowNs(); }

std::unique_ptr<Loop> MakeLoop(bool allow_io_uring) {
  const char* no = std::getenv("PENSTOCK_NO_IO_URING");
  if (allow_io_uring && (no == nullptr || std::strcmp(no, "1") != 0)) {
    if (auto loop = std::make_unique<UringLoop>(); loop->Usable()) return loop;
  }
  auto loop = std::make_unique<EpollLoop>();
  if (!loop->Usable()) std::abort();  // no descriptors at all: nothing can work
  return loop;
}

}  // namespace penstock::cache
