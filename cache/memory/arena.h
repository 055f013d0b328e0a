// The sidecar's shared memory: the index and the arena (shim/abi/index.h).
//
// Two memfds, mapped for writing once and then sealed with F_SEAL_FUTURE_WRITE (and against
// shrinking, growing and further seals): whoever receives the descriptors can map them for reading only,
// the same user id included. Nothing may ask for another writable mapping afterwards.
//
// Or, with `folder`, two files on tmpfs that a successor adopts (cache/memory/arena_files.h): for programs of
// other users. What is adopted keeps its incarnation, its generations go on, and programs that have it
// mapped notice nothing.
//
// Memory is taken segment by segment (2 MiB), so the resident size follows what is in use. A helper
// thread prepares a few segments ahead: it makes each one a huge page (hugetlb where the node has them,
// else MADV_COLLAPSE, which needs no privilege), zeroed and charged to this process. Where that fails
// the segment works with small pages.
//
// Who fills the segments is MemoryTier (cache/memory/memory_tier.h); this class only owns the memory.
//
// Thread safety: one owner thread (the core thread); index_fd(), arena_fd() and sizes from any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cache/memory/arena_files.h"
#include "shim/abi/index.h"
#include "transport/base/result.h"

namespace penstock::cache {

enum class HugePages : std::uint8_t {
  kAuto,  // hugetlb if the node has enough free ones for the whole arena, else MADV_COLLAPSE
  kOn,    // hugetlb or an error
  kOff,   // small pages
};

inline constexpr std::uint64_t kMinArenaBytes = 8ull * PST_SEGMENT_BYTES;  // 16 MiB
inline constexpr std::uint32_t kPreparedSegments = 4;                      // kept in hand

// What clients see of a mount. `path` is absolute and normalised, at most PST_MOUNT_PATH_MAX - 1 bytes;
// uid and gid UINT32_MAX mean the program's own. The namespace is PST_NS_FILES | index.
pst_mount DescribeMount(std::uint32_t index, std::string_view path, bool writable, std::uint32_t uid,
                        std::uint32_t gid);

struct ArenaConfig {
  std::uint64_t arena_bytes = 0;   // rounded down to whole segments; at least kMinArenaBytes
  HugePages huge_pages = HugePages::kAuto;
  std::vector<pst_mount> mounts;   // in the order of the engine's mounts; at most PST_MAX_MOUNTS
  std::string folder;              // "": memfds. Else files there, if it lies on tmpfs and has room
  std::string identity;            // with `folder`: what the cached bytes are of, mounts apart
};

struct ArenaStats {
  std::uint64_t segments_taken = 0;
  std::uint64_t segments_prepared = 0;  // taken or waiting, made ready by the helper thread
  std::uint64_t segments_huge = 0;      // of those, backed by a huge page
  std::uint64_t bytes_prepared = 0;     // now: made ready and in nobody's hands; they are resident
};

class Arena {
 public:
  // kInvalid for a bad configuration, kNoSpace if the kernel has no memory (or, for kOn, no huge pages).
  static Result<std::unique_ptr<Arena>> Create(const ArenaConfig& config);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Owned by the arena; to be sent to clients over SCM_RIGHTS.
  int index_fd() const { return files_ != nullptr ? files_->index_reader() : index_.fd; }
  int arena_fd() const { return files_ != nullptr ? files_->arena_reader() : arena_.fd; }
  std::uint64_t index_bytes() const { return index_.bytes; }
  std::uint64_t arena_bytes() const { return arena_.bytes; }
  std::uint64_t incarnation() const { return incarnation_; }
  std::uint32_t segment_count() const { return segment_count_; }
  bool hugetlb() const { return hugetlb_; }
  // A predecessor's memory. What its entries say has not been looked at: MemoryTier does that.
  bool adopted() const { return adopted_; }
  bool adoptable() const { return files_ != nullptr; }
  // Why `folder` was not used, or what was in it not adopted; "" if there is nothing to say.
  const std::string& explanation() const { return explanation_; }
  // Segments that a predecessor has taken: numbers below this.
  std::uint32_t adopted_segments() const { return adopted_segments_; }
  // A note for each segment: in the files, where it outlives us, or in memory of our own.
  SegmentNote* notes() { return files_ != nullptr ? files_->notes() : own_notes_.data(); }
  // New pages under a segment (ArenaFiles::Replace). Its generation must have been changed.
  bool ReplacePages(std::uint32_t number);
  // Nobody shall adopt this: a clean end. What is mapped stays until it is unmapped.
  void Discard();

  // The writer's view. The header does not change after Create().
  const pst_index_header* header() const;
  pst_bucket* buckets() { return buckets_; }
  std::uint64_t bucket_count() const { return bucket_count_; }
  std::uint64_t* generations() { return generations_; }
  std::byte* segment(std::uint32_t number) {
    return arena_.base + (static_cast<std::uint64_t>(number) << PST_SEGMENT_SHIFT);
  }
  // A reader's view over the sidecar's own mapping.
  pst_view View() const;

  // A segment that was never used; nullopt after the last, and for a moment while the helper is at work
  // on the last ones. Its generation is still 0. `prepared` tells whether the helper had made it ready.
  std::optional<std::uint32_t> TakeSegment(bool* prepared = nullptr);
  // Asks the helper to make a segment huge that was taken before it was prepared; once it is full.
  void CollapseLater(std::uint32_t number);
  // Never repeats, not after a restart either.
  std::uint64_t NextGeneration() { return ++generation_; }
  // CLOCK_MONOTONIC nanoseconds as `expires_ds` counts: at least 1; INT64_MAX gives 0 (never).
  std::uint32_t ExpiresDs(std::int64_t monotonic_ns) const;

  ArenaStats Stats() const;

 private:
  struct Mapping {
    int fd = -1;
    std::byte* base = nullptr;
    std::uint64_t bytes = 0;
    std::byte* reserved = nullptr;  // what was mapped to find an aligned place
    std::uint64_t reserved_bytes = 0;
  };

  Arena() = default;
  static Result<void> MapMemory(Mapping* mapping, const char* name, std::uint64_t bytes, bool hugetlb);
  static Result<void> MapFile(Mapping* mapping, int fd, std::uint64_t bytes);
  static Result<void> Seal(const Mapping& mapping);
  bool UseFiles(const ArenaConfig& config, std::uint64_t index_bytes, std::uint64_t arena_bytes);
  bool AdoptHeader(const ArenaConfig& config);
  void Place();
  static void Unmap(Mapping* mapping);
  Result<void> Init(const ArenaConfig& config);
  void FillHeader(const ArenaConfig& config);
  bool MakeHuge(std::uint32_t number, bool untouched);
  bool Allocate(std::uint32_t number);
  void HelperMain();

  std::unique_ptr<ArenaFiles> files_;  // null: memfds
  Mapping index_;
  Mapping arena_;
  std::vector<SegmentNote> own_notes_;
  std::string explanation_;
  std::uint32_t adopted_segments_ = 0;
  bool adopted_ = false;
  std::uint64_t incarnation_ = 0;
  std::uint64_t generation_ = 0;
  std::int64_t clock_base_ns_ = 0;
  std::uint64_t bucket_offset_ = 0;
  std::uint64_t segment_offset_ = 0;
  std::uint64_t bucket_count_ = 0;
  std::uint32_t segment_count_ = 0;
  bool hugetlb_ = false;
  bool collapse_ = false;
  pst_bucket* buckets_ = nullptr;
  std::uint64_t* generations_ = nullptr;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::uint32_t next_segment_ = 0;         // never handed to anybody
  std::deque<std::uint32_t> prepared_;
  std::deque<std::uint32_t> late_;
  ArenaStats stats_;
  bool stop_ = false;
  std::thread helper_;
};

}  // namespace penstock::cache
