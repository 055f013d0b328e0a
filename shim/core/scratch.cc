#include "shim/core/scratch.h"

#include <sys/mman.h>

#include "shim/core/raw.h"

namespace penstock {
namespace {

constexpr uint32_t kAreas = 64;
constexpr uint64_t kAll = ~0ull;

char* g_areas;      // kAreas areas, null until the first use
uint64_t g_taken;   // one bit an area

char* Map(uint64_t bytes) {
  long at = Raw(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
  return at < 0 && at > -4096 ? nullptr : (char*)at;
}

char* Areas() {
  char* areas = __atomic_load_n(&g_areas, __ATOMIC_ACQUIRE);
  if (areas != nullptr) return areas;
  areas = Map(kAreas * (uint64_t)kScratchBytes);
  char* first = nullptr;
  if (areas == nullptr || __atomic_compare_exchange_n(&g_areas, &first, areas, false, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_ACQUIRE)) {
    return areas;
  }
  Raw(SYS_munmap, areas, kAreas * (uint64_t)kScratchBytes);
  return first;
}

}  // namespace

char* PstScratchTake() {
  char* areas = Areas();
  uint64_t taken = __atomic_load_n(&g_taken, __ATOMIC_RELAXED);
  while (areas != nullptr && taken != kAll) {
    int at = __builtin_ctzll(~taken);
    if (__atomic_compare_exchange_n(&g_taken, &taken, taken | 1ull << at, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      return areas + (uint64_t)at * kScratchBytes;
  }
  return Map(kScratchBytes);
}

void PstScratchGive(char* area) {
  const char* areas = __atomic_load_n(&g_areas, __ATOMIC_RELAXED);
  if (areas == nullptr || area < areas || area >= areas + kAreas * (uint64_t)kScratchBytes) {
    Raw(SYS_munmap, area, kScratchBytes);
    return;
  }
  uint64_t at = (uint64_t)(area - areas) / kScratchBytes;
  __atomic_fetch_and(&g_taken, ~(1ull << at), __ATOMIC_RELEASE);
}

}  // namespace penstock
