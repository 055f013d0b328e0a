// Brings ranges of files into the memory tier: one origin read for each missing range however many ask,
// straight from the origin into reserved arena space, checksummed and then published.
//
// Demand goes before prefetch; both are bounded in requests and bytes. Where the arena has no room
// because reads in flight hold all of it, a read waits until one of them is over.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/engine/engine.h"
#include "cache/engine/file_key.h"
#include "cache/engine/origin_calls.h"
#include "cache/memory/memory_tier.h"

namespace penstock::cache {

// What a read needs to know of a file's version.
struct FileInfo {
  FileKey key;
  std::string path;
  std::string token;                       // of the origin; "" if only its digest is known
  std::uint64_t size = 0;
  std::uint32_t Ranges() const {
    return static_cast<std::uint32_t>((size + PST_RANGE_BYTES - 1) >> PST_RANGE_SHIFT);
  }
  std::uint32_t RangeBytes(std::uint32_t range) const {
    const std::uint64_t at = static_cast<std::uint64_t>(range) << PST_RANGE_SHIFT;
    return static_cast<std::uint32_t>(size - at < PST_RANGE_BYTES ? size - at : PST_RANGE_BYTES);
  }
};

class Fetcher {
 public:
  using Done = std::move_only_function<void(int err)>;
  using Forget = std::function<void(std::uint32_t mount, const std::string& path)>;

  struct Stats {
    std::uint64_t fetches = 0;             // origin reads started
    std::uint64_t joins = 0;               // waits that found their range in flight
    std::uint64_t ranges = 0;              // published
  };

  Fetcher(Loop* loop, const std::vector<Mount>* mounts, MemoryTier* tier, OriginCalls* calls,
          const EngineOptions& options, Forget version_changed);
  ~Fetcher();

  // Makes sure that ranges [first, last] are present or in flight. A prefetch may be dropped.
  // `group` (not 0) names prefetches that DropPrefetch() can take back.
  void Want(const FileInfo& file, std::uint32_t first, std::uint32_t last, bool prefetch,
            std::uint64_t group = 0);
  // `done` runs when `range`, which Want() was called for, is published or has failed; at once if present.
  void WaitFor(const FileInfo& file, std::uint32_t range, Done done);
  // Puts the read-ahead flag on a range, now or when it is published.
  void Mark(const FileKey& file, std::uint32_t range);
  void Unmark(const FileKey& file, std::uint32_t range);
  // Forgets prefetches of the group that have not started.
  void DropPrefetch(std::uint64_t group);
  bool Present(const FileKey& file, std::uint32_t range) const;
  // What a finished read of `file` means: 0, or the errno for those who wait (ESTALE: another version).
  static int Outcome(const FileInfo& file, const ReadCall& call);
  // The largest single read, and the largest window, that the arena can take now, in ranges.
  std::uint32_t MaxReadRanges(std::uint32_t mount) const;
  std::uint32_t MaxWindowRanges(std::uint32_t mount) const;
  const Stats& stats() const { return stats_; }
  std::size_t running() const { return running_; }

 private:
  struct File;
  struct Flight {
    std::shared_ptr<File> file;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint64_t bytes = 0;
    std::uint64_t group = 0;
    bool prefetch = false;
    std::int64_t give_up_ns = 0;           // for a place in the arena
    std::vector<Space> spaces;
  };
  struct File {
    FileInfo info;
    std::unordered_map<std::uint32_t, Flight*> ranges;             // queued or in flight
    std::unordered_map<std::uint32_t, std::vector<Done>> waiters;
    std::unordered_set<std::uint32_t> marks;
  };

  DataClass ClassOf(std::uint32_t mount) const {
    return (*mounts_)[mount].mount_class == MountClass::kDataset ? DataClass::kDataset
                                                                 : DataClass::kGeneral;
  }
  void Promote(Flight* flight);
  void Pump();
  bool PumpQueue(std::deque<std::unique_ptr<Flight>>* queue, std::uint32_t max_running,
                 std::uint64_t max_bytes);
  bool ReserveAll(Flight* flight);
  void StartRead(std::unique_ptr<Flight> flight);
  void ReadDone(std::unique_ptr<Flight> flight, ReadCall& call);
  void Finish(Flight* flight, int err, const std::vector<std::uint32_t>& crcs);
  void RetryLater();

  Loop* loop_;
  const std::vector<Mount>* mounts_;
  MemoryTier* tier_;
  OriginCalls* calls_;
  EngineOptions options_;
  Forget version_changed_;
  std::unordered_map<FileKey, std::shared_ptr<File>, FileKeyHash> files_;
  std::deque<std::unique_ptr<Flight>> demand_;
  std::deque<std::unique_ptr<Flight>> prefetch_;
  std::uint32_t running_ = 0;
  std::uint64_t running_bytes_ = 0;
  std::uint64_t retry_timer_ = 0;
  bool pumping_ = false;
  bool pump_again_ = false;
  Stats stats_;
};

}  // namespace penstock::cache
