// The NVMe tier on region files: ranges are appended to the open region of their class and device,
// found again by a fingerprint, and given up a region at a time. docs/nvme-format.md is the format,
// docs/design.md ("The NVMe tier") says why.
//
// Writing: Offer() copies into a batch of at most 1 MiB, which goes out when it is full or 100 ms
// old. A range is found only once its batch is on the device. Where more batches are under way than
// `write_behind_bytes`, ranges are refused: they are fetched again when somebody wants them again.
// Reading: one operation for ranges that lie together; header and checksum of each are checked
// before a byte of it counts. What fails is erased and counted. Room: at most `max_bytes` with what
// others_bytes() says, at most `max_files` and `max_ranges`, and the disk's reserve. Dataset ranges are admitted
// until that is full and then kept; general ones push each other out, the region that was read
// least recently first (one bit, as a clock). What an earlier start left and this one has not read
// may go once a quarter of `max_bytes` has been refused.
//
// Thread safety: the core thread. Open() uses threads of its own.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/base/loop.h"
#include "cache/nvme/block_device.h"
#include "cache/nvme/nvme_tier.h"
#include "cache/nvme/place_index.h"
#include "transport/base/random.h"

namespace penstock::cache {

struct RegionStoreConfig {
  std::uint64_t max_bytes = 0;
  std::uint64_t max_files = 65'536;
  std::uint64_t max_ranges = UINT64_MAX;  // looked at when a region begins: the index is memory
  std::uint64_t write_behind_bytes = 32u << 20;
  std::uint32_t region_bytes = 0;  // 0: a sixteenth of max_bytes, 4 to 64 MiB
  bool has_dataset = true;         // classes that mounts have: both share the room
  bool has_general = false;
  unsigned load_threads = 4;
  std::function<std::uint64_t()> others_bytes;  // of the same limit; none: 0
};

class RegionStore final : public NvmeTier {
 public:
  static constexpr std::uint32_t kBatchBytes = 1u << 20;
  static constexpr std::uint64_t kLeastBytes = 32u << 20;  // below, there is no tier

  // Finds what earlier starts left. Never fails: devices that do not work give nothing.
  static std::unique_ptr<RegionStore> Open(Loop* loop,
                                           std::vector<std::unique_ptr<BlockDevice>> devices,
                                           RegionStoreConfig config);
  // Writes what is in batches, at once.
  ~RegionStore() override;

  bool Has(const RangeName& name) const override;
  void StartRead(NvmeRead* read) override;
  void Cancel(NvmeRead* read) override;
  void Offer(const RangeName& name, std::span<const std::byte> bytes, std::uint32_t crc,
             RegionClass data_class) override;
  NvmeStats Stats() const override;

  // Gives up a region to make room for other tenants of the limit. False if there is none to give.
  bool DropOldest();
  // Writes out what is in batches, as their age would.
  void Flush();
  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t region_bytes() const { return config_.region_bytes; }

 private:
  struct Batch {
    BlockBuffer buffer;
    std::uint32_t fill = 0;
    std::vector<FooterRecord> items;
  };
  struct Region {
    std::uint32_t number = 0;
    std::size_t device = 0;
    std::uint64_t file = 0;
    std::uint64_t id = 0;
    RegionClass data_class = RegionClass::kDataset;
    std::uint64_t bytes = 0;            // counted against the limit
    std::uint32_t items = 0;            // that can be found
    std::uint32_t fill = 0;             // where the next batch begins
    std::uint32_t planned = 0;          // items written and on their way
    std::uint32_t writes = 0;           // under way
    bool closing = false;               // takes no more batches
    bool sealed = false;                // nothing will be written to it any more
    bool adopted = false;               // an earlier start wrote it
    bool touched = false;               // read in this start, or since room was last made
    std::unique_ptr<Batch> batch;       // being filled
    std::vector<FooterRecord> records;  // until it is sealed
    std::list<Region*>::iterator age;   // place in by_age_
  };
  struct Reading;
  struct Device {
    std::unique_ptr<BlockDevice> disk;
    std::array<Region*, kRegionClasses> open{};
    std::array<std::uint64_t, kRegionClasses>
        look_again_bytes{};  // full until this much was refused
    std::int64_t paused_until_ns = 0;
    std::int64_t next_log_ns = 0;
  };
  struct Load;

  RegionStore(Loop* loop, std::vector<std::unique_ptr<BlockDevice>> devices,
              RegionStoreConfig config);

  // region_load.cc
  void LoadAll();
  void LoadOne(Load* load);
  void Seal(Load* load, std::uint32_t end);
  void Adopt(const Load& load);

  // region_store.cc: reading, room
  void StartPiece(const std::shared_ptr<Reading>& reading, std::size_t first, std::size_t count);
  void PieceDone(Reading* reading, std::size_t first, std::size_t count, Region* region,
                 std::uint64_t from, const BlockOp& op);
  void FinishRead(const std::shared_ptr<Reading>& reading);
  void Lose(std::uint64_t fingerprint, const Place& place);
  std::uint64_t Allowed(RegionClass data_class) const;
  bool MakeRoom(std::size_t device, RegionClass data_class);
  bool DropOne(RegionClass data_class, const std::size_t* device);
  bool DropUnread(const std::size_t* device);
  bool DropGeneral(const std::size_t* device);
  void Drop(Region* region);

  // region_writer.cc
  bool Append(const RangeName& name, std::span<const std::byte> bytes, std::uint32_t crc,
              RegionClass data_class);
  Region* NextRegion(RegionClass data_class);
  Region* OpenRegion(std::size_t device, RegionClass data_class);
  bool Fits(const Region& region, std::uint32_t bytes) const;
  bool OpenBatch(Region* region);
  void FlushRegion(Region* region);
  void OnWritten(std::uint32_t number, std::vector<FooterRecord> items, int err);
  void Close(Region* region);
  void WriteFooter(Region* region);
  void OnFooter(std::uint32_t number, std::uint32_t footer_bytes, int err);
  void Trouble(std::size_t device, int err, const char* doing);
  void CloseAll();

  Region* RegionAt(std::uint32_t number) const {
    return number < regions_.size() ? regions_[number].get() : nullptr;
  }
  Region* AddRegion(std::size_t device, std::uint64_t file, std::uint64_t id,
                    RegionClass data_class, std::uint64_t bytes);

  Loop* loop_;
  RegionStoreConfig config_;
  std::vector<Device> devices_;
  std::vector<std::unique_ptr<Region>> regions_;  // by number, which is never given twice
  std::array<std::list<Region*>, kRegionClasses>
      by_age_;  // the next to be looked at for room first
  PlaceIndex index_;
  std::array<Region*, kRegionClasses> current_{};
  std::array<std::size_t, kRegionClasses> turn_{};
  std::unordered_map<NvmeRead*, std::shared_ptr<Reading>> readings_;
  Random random_;
  std::uint64_t next_file_ = 1;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_of_[kRegionClasses] = {};
  std::uint64_t files_ = 0;
  std::uint64_t ranges_ = 0;
  std::uint64_t pending_bytes_ = 0;
  std::size_t abandoned_ = 0;  // pieces of reads that were cancelled: their memory is still in use
  std::uint64_t refused_bytes_ = 0;
  Loop::TimerId flush_timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  NvmeStats stats_;
};

}  // namespace penstock::cache
