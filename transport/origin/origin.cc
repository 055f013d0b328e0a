#include "transport/origin/origin.h"

#include <semaphore>

#include "transport/base/clock.h"

namespace penstock::origin {

void Origin::Put(PutOp* op) {
  op->error = {Code::kReadOnly, false, 0, "writing to an origin that is only read"};
  op->done(op);
}

Result<void> Origin::Probe(std::int64_t timeout_ms, std::string* explanation) {
  std::binary_semaphore over(0);
  ProbeOp op;
  op.deadline_ns = SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  op.user = &over;
  op.done = [](Op* done_op) { static_cast<std::binary_semaphore*>(done_op->user)->release(); };
  StartProbe(&op);
  over.acquire();
  *explanation = std::move(op.explanation);
  if (!op.ok()) return std::unexpected(op.error);
  return {};
}

}  // namespace penstock::origin
