// Bytes of a version for an object file: from the arena where they are, else from the NVMe tier,
// else from the origin straight into the caller's buffer, in parallel parts.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/engine/engine.h"
#include "cache/engine/fetcher.h"
#include "cache/engine/origin_calls.h"
#include "cache/memory/memory_tier.h"
#include "cache/nvme/nvme_tier.h"
#include "cache/object/object_store.h"

namespace penstock::cache {

class SourceReads {
 public:
  using Forget = std::function<void(std::uint32_t mount, const std::string& path)>;

  SourceReads(const std::vector<Mount>* mounts, MemoryTier* tier, Fetcher* fetcher,
              OriginCalls* calls, NvmeTier* nvme, Forget version_changed)
      : mounts_(mounts),
        tier_(tier),
        fetcher_(fetcher),
        calls_(calls),
        nvme_(nvme),
        version_changed_(std::move(version_changed)) {}
  ~SourceReads();  // what is under way is not answered any more
  SourceReads(const SourceReads&) = delete;
  SourceReads& operator=(const SourceReads&) = delete;

  // `read` lies within the file.
  void Start(SourceRead* read, const FileInfo& info);

 private:
  // One read: over when all parts are.
  struct Whole {
    SourceRead* read = nullptr;
    FileInfo info;
    std::size_t left = 1;  // Start()'s own
    int err = 0;
  };
  // One stretch of it that the NVMe tier has.
  struct Part {
    SourceReads* owner = nullptr;
    std::shared_ptr<Whole> whole;
    std::uint64_t at = 0, stop = 0;
    NvmeRead read;
  };

  bool FromArena(const Whole& whole, std::uint64_t at, std::uint64_t stop);
  bool OnNvme(const Whole& whole, std::uint64_t at, std::uint64_t stop) const;
  void StartNvme(const std::shared_ptr<Whole>& whole, std::uint64_t at, std::uint64_t stop);
  void NvmeDone(Part* part);
  void StartOrigin(const std::shared_ptr<Whole>& whole, std::uint64_t at, std::uint64_t stop);
  static void PartDone(Whole* whole, int err);

  const std::vector<Mount>* mounts_;
  MemoryTier* tier_;
  Fetcher* fetcher_;
  OriginCalls* calls_;
  NvmeTier* nvme_;  // or null
  Forget version_changed_;
  std::unordered_map<Part*, std::unique_ptr<Part>> parts_;  // at the NVMe tier
};

}  // namespace penstock::cache
