#include "shim/core/fork_gate.h"

#include "shim/core/hook.h"
#include "shim/core/signals.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr int64_t kPatienceNs = 1'000'000'000, kNapNs = 20'000;

// Each side announces itself before it looks at the other one: all of it sequentially consistent.
uint32_t g_holders, g_forks;
// Handlers of pthread_atfork run between close and open: their dup2 is not what the fork must wait
// for.
__thread uint32_t t_forks;

void Leave(uint32_t* count) {
  uint32_t have = __atomic_load_n(count, __ATOMIC_RELAXED);
  // Zero: a child of a handler's fork goes on inside its parent's outer fork.
  while (have != 0 && !__atomic_compare_exchange_n(count, &have, have - 1, true, __ATOMIC_SEQ_CST,
                                                   __ATOMIC_RELAXED)) {
  }
}

}  // namespace

uint64_t PstHoldEnter() {
  int64_t deadline_ns = 0;
  for (;;) {
    uint64_t signals = PstBlockSignals();
    __atomic_fetch_add(&g_holders, 1, __ATOMIC_SEQ_CST);
    if (PST_LIKELY(__atomic_load_n(&g_forks, __ATOMIC_SEQ_CST) == 0) || t_forks != 0)
      return signals;
    int64_t now_ns = PstMonotonicNs();
    if (deadline_ns == 0) deadline_ns = now_ns + kPatienceNs;
    if (now_ns > deadline_ns) return signals;
    PstHoldLeave(signals);
    PstSleepNs(kNapNs);
  }
}

void PstHoldLeave(uint64_t signals) {
  Leave(&g_holders);
  PstRestoreSignals(signals);
}

bool PstHolds() { return __atomic_load_n(&g_holders, __ATOMIC_RELAXED) != 0; }

void PstForkGateClose() {
  ++t_forks;
  __atomic_fetch_add(&g_forks, 1, __ATOMIC_SEQ_CST);
  int64_t deadline_ns = 0;
  while (PST_UNLIKELY(__atomic_load_n(&g_holders, __ATOMIC_SEQ_CST) != 0)) {
    int64_t now_ns = PstMonotonicNs();
    if (deadline_ns == 0) deadline_ns = now_ns + kPatienceNs;
    if (now_ns > deadline_ns) return;
    PstSleepNs(kNapNs);
  }
}

void PstForkGateOpen() {
  if (t_forks != 0) --t_forks;
  Leave(&g_forks);
}

void PstForkGateReset() {
  t_forks = 0;
  __atomic_store_n(&g_forks, 0u, __ATOMIC_SEQ_CST);
  __atomic_store_n(&g_holders, 0u, __ATOMIC_SEQ_CST);
}

}  // namespace penstock
