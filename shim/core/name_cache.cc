#include "shim/core/name_cache.h"

#include <string.h>

#include "shim/core/bytes.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr uint32_t kSets = 2048;
constexpr uint32_t kWays = 2;

struct alignas(64) Kept {
  uint32_t seq;            // odd while a thread writes
  uint32_t len;
  uint64_t epoch;          // 0: empty (an epoch is never 0: the incarnation is in it)
  pst_key128 id;
  int64_t expires_ns;
  uint32_t ns;
  uint32_t reserved0;
  uint64_t reserved1;
  pst_attr attr;
  char name[kNameCacheBytes];
};
static_assert(sizeof(Kept) == 192);

Kept g_kept[kSets][kWays];

PST_INLINE bool Matches(const Kept& kept, uint64_t epoch, uint32_t ns, const pst_key128& id, uint32_t len) {
  return ((kept.id.lo ^ id.lo) | (kept.id.hi ^ id.hi) | (kept.epoch ^ epoch) |
          (uint64_t)((kept.ns ^ ns) | (kept.len ^ len))) == 0;
}

}  // namespace

bool NameCacheFind(uint64_t epoch, uint32_t ns, const pst_key128& id, const char* rel, uint32_t len,
                   pst_attr* attr) {
  Kept* set = g_kept[id.lo % kSets];
  for (uint32_t way = 0; way < kWays; ++way) {
    const Kept& kept = set[way];
    uint32_t seq = __atomic_load_n(&kept.seq, __ATOMIC_ACQUIRE);
    if ((seq & 1u) != 0 || !Matches(kept, epoch, ns, id, len)) continue;
    bool same = SameBytes(kept.name, rel, len);
    *attr = kept.attr;
    int64_t expires_ns = kept.expires_ns;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&kept.seq, __ATOMIC_RELAXED) != seq || !same) continue;
    return expires_ns == INT64_MAX || PstCoarseNs() < expires_ns;
  }
  return false;
}

void NameCacheKeep(uint64_t epoch, uint32_t ns, const pst_key128& id, const char* rel, uint32_t len,
                   const pst_attr& attr, int64_t expires_ns) {
  if (len > kNameCacheBytes || epoch == 0) return;
  Kept* set = g_kept[id.lo % kSets];
  // An old one of this name, an outdated one, or the one that its own bits choose.
  uint32_t way = (uint32_t)(id.hi & 1u);
  for (uint32_t i = 0; i < kWays; ++i) {
    if (set[i].epoch != epoch || (set[i].id.lo == id.lo && set[i].id.hi == id.hi)) way = i;
  }
  Kept* kept = &set[way];
  uint32_t seq = __atomic_load_n(&kept->seq, __ATOMIC_RELAXED);
  if ((seq & 1u) != 0 || !__atomic_compare_exchange_n(&kept->seq, &seq, seq + 1, false, __ATOMIC_ACQUIRE,
                                                      __ATOMIC_RELAXED)) {
    return;
  }
  __atomic_thread_fence(__ATOMIC_RELEASE);
  kept->len = len;
  kept->epoch = epoch;
  kept->id = id;
  kept->expires_ns = expires_ns;
  kept->ns = ns;
  kept->attr = attr;
  memcpy(kept->name, rel, len);
  __atomic_store_n(&kept->seq, seq + 2, __ATOMIC_RELEASE);
}

}  // namespace penstock
