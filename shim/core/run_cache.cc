#include "shim/core/run_cache.h"

namespace penstock {

RunLine g_run_lines[kRunSets][2];

namespace {

bool SamePlace(const RunLine& line, const FdEntry& entry, const pst_entry& found, uint64_t group, int64_t base) {
  return line.group == group && line.id.lo == entry.id.lo && line.id.hi == entry.id.hi &&
         line.version == entry.version && line.ns == entry.ns && line.segment == found.segment &&
         line.generation == found.generation && line.base == base;
}

}  // namespace

void RunKeep(const FdEntry& entry, const pst_entry& found) {
  const uint64_t start = (uint64_t)found.key.range << PST_RANGE_SHIFT;
  if (found.flags != 0 || start >= entry.size) return;
  const uint64_t whole = entry.size - start < PST_RANGE_BYTES ? entry.size - start : PST_RANGE_BYTES;
  if (found.length != whole) return;

  const uint64_t group = start >> kRunShift;
  const unsigned bit = found.key.range % kRunRanges;
  const int64_t base = (int64_t)found.offset - ((int64_t)bit << PST_RANGE_SHIFT);
  // 2 MiB of a file usually lie in two neighbouring segments: each has its line.
  RunLine& line = RunSet(entry, group)[found.segment % 2];
  uint32_t seq = __atomic_load_n(&line.seq, __ATOMIC_RELAXED);
  if ((seq & 1u) != 0 || !__atomic_compare_exchange_n(&line.seq, &seq, seq + 1, false, __ATOMIC_ACQUIRE,
                                                      __ATOMIC_RELAXED)) {
    return;
  }
  __atomic_thread_fence(__ATOMIC_RELEASE);
  const bool same = SamePlace(line, entry, found, group, base);
  const uint32_t present = (same ? line.present : 0) | 1u << bit;
  if (!same) {
    __atomic_store_n(&line.segment, found.segment, __ATOMIC_RELAXED);
    __atomic_store_n(&line.ns, entry.ns, __ATOMIC_RELAXED);
    __atomic_store_n(&line.generation, found.generation, __ATOMIC_RELAXED);
    __atomic_store_n(&line.base, base, __ATOMIC_RELAXED);
    __atomic_store_n(&line.id.lo, entry.id.lo, __ATOMIC_RELAXED);
    __atomic_store_n(&line.id.hi, entry.id.hi, __ATOMIC_RELAXED);
    __atomic_store_n(&line.version, entry.version, __ATOMIC_RELAXED);
    __atomic_store_n(&line.group, group, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&line.present, present, __ATOMIC_RELAXED);
  __atomic_store_n(&line.seq, seq + 2, __ATOMIC_RELEASE);
}

}  // namespace penstock
