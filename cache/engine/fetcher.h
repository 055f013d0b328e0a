// Brings ranges of files into the memory tier: one read for each missing range however many ask, from the
// NVMe tier where it has them, else straight from the origin into reserved arena space, checksummed and
// then published. What came from the origin is offered to the NVMe tier.
//
// Demand goes before prefetch; both are bounded in requests and bytes. Mounts take turns, and one whose
// origin is slow holds never more of that than it leaves for the others. Where the arena has no room
// because reads in flight hold all of it, a read waits until one of them is over.
//
// Demand is somebody's: each flight knows its askers. When the last of them has given up, a flight that
// waits in the queue is dropped and one that runs is cancelled at the origin, unless read-ahead or a
// sibling prefetch wants the same ranges. When the last one has got its answer, what is still queued
// becomes a prefetch: no demand is left in the queue that no operation counts.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/engine/engine.h"
#include "cache/engine/file_key.h"
#include "cache/engine/origin_calls.h"
#include "cache/memory/memory_tier.h"
#include "cache/nvme/nvme_tier.h"

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
  // `from_nvme`: the range came from there.
  using Done = std::move_only_function<void(int err, bool from_nvme)>;
  using Asker = std::uint64_t;             // an operation that waits; 0 is nobody
  using Forget = std::function<void(std::uint32_t mount, const std::string& path)>;

  struct Stats {
    std::uint64_t fetches = 0;             // origin reads started
    std::uint64_t joins = 0;               // waits that found their range in flight
    std::uint64_t ranges = 0;              // published
  };

  Fetcher(Loop* loop, const std::vector<Mount>* mounts, MemoryTier* tier, OriginCalls* calls,
          const EngineOptions& options, NvmeTier* nvme, Forget version_changed);
  ~Fetcher();

  // Makes sure that ranges [first, last] are present or in flight. A prefetch may be dropped.
  // `group` (not 0) names prefetches that DropPrefetch() can take back.
  void Demand(const FileInfo& file, std::uint32_t first, std::uint32_t last, Asker asker);
  void Prefetch(const FileInfo& file, std::uint32_t first, std::uint32_t last, std::uint64_t group = 0);
  // `done` runs when `range`, which the asker demanded, is published or has failed; at once if present.
  void WaitFor(const FileInfo& file, std::uint32_t range, Asker asker, Done done);
  // The asker is over with ranges [first, last], which it demanded: with an answer, or because it gave up.
  void Leave(const FileKey& file, std::uint32_t first, std::uint32_t last, Asker asker, bool gave_up);
  // The file's first bytes, which came along with its attributes: whole ranges of them are published, unless
  // they are there already or on their way.
  void Offer(const FileInfo& file, std::span<const std::byte> head);
  // Puts the read-ahead flag on a range, now or when it is published.
  void Mark(const FileKey& file, std::uint32_t range);
  void Unmark(const FileKey& file, std::uint32_t range);
  // Forgets prefetches of the group that have not started.
  void DropPrefetch(std::uint64_t group);
  bool Present(const FileKey& file, std::uint32_t range) const;
  // What a finished read of `file` means: 0, or the errno for those who wait (ESTALE: another version).
  static int Outcome(const FileInfo& file, const ReadCall& call);
  // What NVMe knows the file as, and whether it has a range of it; never without a tier.
  ObjectKey ObjectOf(const FileKey& file) const {
    return {file.id, file.version, origin_digests_[file.mount]};
  }
  bool OnNvme(const FileKey& file, std::uint32_t range) const {
    return nvme_ != nullptr && nvme_->Has({ObjectOf(file), range});
  }
  // How many reads at once bring the mount's origin to its best, as it has measured.
  std::uint32_t Parallelism(std::uint32_t mount) const;
  // The largest single read that the arena can take now, and the largest window: twice as many such reads
  // as the origin takes at once, if the arena has room for that. In ranges.
  std::uint32_t MaxReadRanges(std::uint32_t mount) const;
  std::uint32_t MaxWindowRanges(std::uint32_t mount) const;
  const Stats& stats() const { return stats_; }
  std::size_t running() const { return running_; }
  std::size_t queued() const { return queued_demand_ + queued_prefetch_; }

 private:
  struct File;
  struct Flight;
  using Queue = std::list<std::unique_ptr<Flight>>;
  struct Flight {
    std::shared_ptr<File> file;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint64_t bytes = 0;
    std::uint64_t group = 0;
    bool prefetch = false;                 // in that queue
    bool guessed = false;                  // a policy wants it too: it stays when its askers go
    bool orphan = false;                   // cancelled: its ranges are no longer its own
    bool nvme = false;                     // comes from there
    bool running = false;                  // no longer in its queue
    std::unordered_set<Asker> askers;
    Queue::iterator at;                    // in its queue, while it does not run
    ReadCall* call = nullptr;              // at the origin
    NvmeRead read;
    std::int64_t nvme_until_ns = 0;        // then the origin is asked
    std::int64_t give_up_ns = 0;           // the mount's deadline, the wait for its turn included
    std::vector<Space> spaces;
  };
  struct File {
    FileInfo info;
    std::unordered_map<std::uint32_t, Flight*> ranges;             // queued or in flight
    std::unordered_map<std::uint32_t, std::map<Asker, Done>> waiters;
    std::unordered_set<std::uint32_t> marks;
  };

  DataClass ClassOf(std::uint32_t mount) const {
    return (*mounts_)[mount].mount_class == MountClass::kDataset ? DataClass::kDataset
                                                                 : DataClass::kGeneral;
  }
  RegionClass RegionClassOf(std::uint32_t mount) const {
    return (*mounts_)[mount].mount_class == MountClass::kDataset ? RegionClass::kDataset
                                                                 : RegionClass::kGeneral;
  }
  void Want(const FileInfo& file, std::uint32_t first, std::uint32_t last, bool prefetch,
            std::uint64_t group, Asker asker);
  Queue& QueueOf(const Flight& flight) {
    return (flight.prefetch ? prefetch_ : demand_)[flight.file->info.key.mount];
  }
  void Enqueue(std::unique_ptr<Flight> flight);
  std::unique_ptr<Flight> Dequeue(Flight* flight);
  void Promote(Flight* flight);
  void Unasked(Flight* flight, bool gave_up);
  void CancelRead(Flight* flight);
  void ForgetIfIdle(const std::shared_ptr<File>& file);
  void Pump();
  enum class Pumped : std::uint8_t { kOne, kNothing, kNoRoom };
  bool PumpAll(std::vector<Queue>* queues, std::uint64_t max_bytes);
  Pumped PumpOne(Queue* queue, std::uint64_t max_bytes);
  bool HasRoom(const Flight& flight, std::uint64_t max_bytes) const;
  bool HasPlace(const Flight& flight) const;
  std::uint32_t RangesOfRead(std::uint32_t mount, std::uint32_t ranges, bool prefetch) const;
  bool ReserveAll(Flight* flight);
  void Start(std::unique_ptr<Flight> flight);
  void StartNvme(std::unique_ptr<Flight> flight);
  void NvmeDone(Flight* flight);
  void WatchNvme();
  void StartRead(std::unique_ptr<Flight> flight);
  void ReadDone(std::unique_ptr<Flight> flight, ReadCall& call);
  void Finish(Flight* flight, int err, const std::vector<std::uint32_t>& crcs);
  void RetryLater();

  Loop* loop_;
  const std::vector<Mount>* mounts_;
  MemoryTier* tier_;
  OriginCalls* calls_;
  EngineOptions options_;
  NvmeTier* nvme_;                         // or null
  std::vector<std::uint64_t> origin_digests_;  // by mount
  std::unordered_map<Flight*, std::unique_ptr<Flight>> nvme_reads_;
  Forget version_changed_;
  std::unordered_map<FileKey, std::shared_ptr<File>, FileKeyHash> files_;
  std::vector<Queue> demand_;              // by mount
  std::vector<Queue> prefetch_;            // by mount
  std::size_t queued_demand_ = 0;          // in all of them
  std::size_t queued_prefetch_ = 0;
  std::uint32_t turn_ = 0;                 // the mount that may start the next read
  std::uint32_t running_ = 0;
  std::vector<std::uint32_t> running_of_;  // by mount
  std::vector<std::uint64_t> bytes_of_;    // by mount
  std::uint64_t running_bytes_ = 0;
  std::uint64_t retry_timer_ = 0;
  std::uint64_t nvme_timer_ = 0;           // while something is read from there
  bool pumping_ = false;
  bool pump_again_ = false;
  Stats stats_;
};

}  // namespace penstock::cache
