// Where this process found the ranges of files, kept compactly: 2 MiB of a file (32 ranges) on one line of
// private memory. A hit then reads one line here instead of a bucket's tags and an entry, which a random
// reader finds in no processor cache; and ranges that lie side by side in the arena are copied at once,
// which is faster than one by one (shim/copy/copy.h).
//
// Why it is right: bytes that an entry named stay unchanged until their segment's generation changes (rule
// W3 in shim/abi/index.h), generations never repeat, and (id, version) names one content for ever. So a
// kept place is as good as the entry itself, and the same check after the copy decides.
//
// Entries with flags are not kept: their hits must be seen where the flags are.
//
// Thread safety: any thread, signal handlers, forked children; a writer that finds another one at work does
// not keep.
#pragma once

#include <stdint.h>

#include "shim/core/fd_table.h"
#include "shim/core/view.h"

namespace penstock {

inline constexpr unsigned kRunShift = PST_SEGMENT_SHIFT;  // of a file offset: which line
inline constexpr unsigned kRunRanges = 1u << (kRunShift - PST_RANGE_SHIFT);
inline constexpr unsigned kRunSets = 2048;                // of two lines each: 256 KiB, touched as needed

struct alignas(64) RunLine {
  uint32_t seq;         // odd while it changes
  uint32_t present;     // bit i: range i of the 32 was found there
  uint32_t segment;
  uint32_t ns;
  uint64_t generation;
  int64_t base;         // in the segment: where the first of the 32 ranges would begin
  pst_key128 id;
  uint64_t version;
  uint64_t group;       // file offset >> kRunShift
};
static_assert(sizeof(RunLine) == 64 && kRunRanges == 32);

extern RunLine g_run_lines[kRunSets][2];

// Bytes of a file that lie together in the arena.
struct Run {
  const unsigned char* bytes;
  uint64_t count;       // at most what was wanted; more than 0
  uint64_t generation;  // of `segment`, to be compared after the copy
  uint32_t segment;
};

// `entry` is whatever names the file: `id`, `version`, `ns`.
template <class File>
PST_INLINE RunLine* RunSet(const File& entry, uint64_t group) {
  const uint64_t mixed = (entry.id.lo ^ entry.version) + group * 0x9e3779b97f4a7c15ull;
  return g_run_lines[(mixed ^ mixed >> 29) % kRunSets];
}

// Does a line hold range `bit` of `group`? What the line says is taken out: sound if *seq did not
// move meanwhile.
template <class File>
PST_INLINE bool RunHolds(const RunLine& line, const File& entry, uint64_t group, unsigned bit,
                         uint32_t* seq, uint32_t* present) {
  *seq = __atomic_load_n(&line.seq, __ATOMIC_ACQUIRE);
  *present = __atomic_load_n(&line.present, __ATOMIC_RELAXED) >> bit;
  const uint64_t differs = (__atomic_load_n(&line.group, __ATOMIC_RELAXED) ^ group) |
                           (__atomic_load_n(&line.id.lo, __ATOMIC_RELAXED) ^ entry.id.lo) |
                           (__atomic_load_n(&line.id.hi, __ATOMIC_RELAXED) ^ entry.id.hi) |
                           (__atomic_load_n(&line.version, __ATOMIC_RELAXED) ^ entry.version) |
                           (__atomic_load_n(&line.ns, __ATOMIC_RELAXED) ^ entry.ns) | (*seq & 1u);
  return differs == 0 && (*present & 1u) != 0;
}

// `want` must not reach beyond the file's end. Hot.
template <class File>
PST_INLINE bool RunFind(const pst_view* view, const File& entry, uint64_t offset, uint64_t want, Run* run) {
  const uint64_t group = offset >> kRunShift;
  const unsigned bit = (offset >> PST_RANGE_SHIFT) % kRunRanges;
  const RunLine* lines = RunSet(entry, group);
  // A group's ranges lie half in one segment, half in the other: the first line says by its bits
  // which one to look at, without a branch that would be foretold wrongly half of the time.
  const RunLine* line = &lines[~(__atomic_load_n(&lines[0].present, __ATOMIC_RELAXED) >> bit) & 1u];
  uint32_t seq, present;
  if (PST_UNLIKELY(!RunHolds(*line, entry, group, bit, &seq, &present))) {
    line = &lines[line == lines ? 1 : 0];
    if (!RunHolds(*line, entry, group, bit, &seq, &present)) return false;
  }
  run->segment = __atomic_load_n(&line->segment, __ATOMIC_RELAXED);
  run->generation = __atomic_load_n(&line->generation, __ATOMIC_RELAXED);
  const int64_t base = __atomic_load_n(&line->base, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (PST_UNLIKELY(__atomic_load_n(&line->seq, __ATOMIC_RELAXED) != seq)) return false;
  const auto ranges = (unsigned)__builtin_ctzll(~(uint64_t)present);
  const uint64_t end = ((offset >> PST_RANGE_SHIFT) + ranges) << PST_RANGE_SHIFT;
  run->count = end - offset < want ? end - offset : want;
  const int64_t at = base + (int64_t)(offset & (PST_SEGMENT_BYTES - 1));
  // A rejoin may have brought a smaller arena.
  if (PST_UNLIKELY(run->segment >= view->segment_count || at < 0 ||
                   (uint64_t)at + run->count > PST_SEGMENT_BYTES)) {
    return false;
  }
  run->bytes = view->arena + ((uint64_t)run->segment << PST_SEGMENT_SHIFT) + at;
  return true;
}

// Is what was copied still what was meant?
PST_INLINE bool RunCurrent(const pst_view* view, const Run& run) {
  PST_FENCE_ACQUIRE();
  return PST_LOAD_RELAXED(&view->generations[run.segment]) == run.generation;
}

// Keeps where a whole range (or the file's last) was found.
void RunKeep(const FdEntry& entry, const pst_entry& found);

// The line of the file's beginning will be wanted soon.
PST_INLINE void RunPrefetch(const FdEntry& entry) {
  const RunLine* lines = RunSet(entry, 0);
  __builtin_prefetch(&lines[0]);
  __builtin_prefetch(&lines[1]);
}

}  // namespace penstock
