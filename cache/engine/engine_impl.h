// The engine's implementation: turns operations into questions to names, fetcher and object store, keeps
// who waits and until when. See cache/engine/engine.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"
#include "cache/engine/fetcher.h"
#include "cache/engine/first_look.h"
#include "cache/engine/name_service.h"
#include "cache/engine/origin_calls.h"
#include "cache/engine/read_ahead.h"
#include "cache/engine/siblings.h"
#include "cache/engine/source_reads.h"
#include "cache/memory/adoption_check.h"
#include "cache/memory/memory_tier.h"
#include "cache/object/object_store.h"

namespace penstock::cache {

class EngineImpl final : public Engine, private ObjectSource {
 public:
  EngineImpl(Loop* loop, Arena* arena, ObjectStore* objects, std::vector<Mount> mounts,
             const EngineOptions& options, NvmeTier* nvme);
  ~EngineImpl() override;

  void Start(EngineOp* op) override;
  void Cancel(EngineOp* op) override;
  void Touched(std::uint64_t place) override { tier_.Touched(place); }
  void Forget(std::uint32_t mount, std::string_view path) override;
  EngineStats Stats() const override;

 private:
  void AdoptMemory();
  // Who waits. Continuations hold the number and find nothing once the wait has ended otherwise.
  using WaitId = std::uint64_t;
  struct Waiting {
    EngineOp* op = nullptr;
    Loop::TimerId timer = 0;
    std::uint64_t progress = 0;             // kRead: bytes copied so far
    std::uint32_t tries = 0;
    FileKey file;                           // what it demanded of the fetcher, if `demands`
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    bool demands = false;
  };
  using InfoDone = std::move_only_function<void(int err, const FileInfo* info)>;

  WaitId Wait(EngineOp* op);
  EngineOp* Find(WaitId id);
  void NoteDemand(WaitId id, const FileInfo& info, std::uint32_t first, std::uint32_t last);
  void End(WaitId id, int err);
  static void Done(EngineOp* op, int err);

  void Lookup(EngineOp* op);
  void Fetch(EngineOp* op);
  void FetchFile(WaitId id, const FileInfo& info);
  void HintFile(EngineOp* op, const FileInfo& info);
  void AskAhead(const EngineOp& op, const FileInfo& info, std::uint32_t first, std::uint32_t last);
  void Resolve(WaitId id);
  void List(EngineOp* op);
  void Read(EngineOp* op);
  void ReadStep(WaitId id, const FileInfo& info);
  void ListingRead(EngineOp* op);
  // False: the page is not at hand.
  bool CopyListing(EngineOp* op, const Listings::Head& head);
  void Name(EngineOp* op);
  void Materialize(EngineOp* op);
  void StartRead(SourceRead* read) override;
  std::uint32_t Parallelism(std::uint32_t mount) const override { return fetcher_.Parallelism(mount); }

  // The file of a version, asked for if it is not known; ESTALE if the name holds another one.
  void FindFile(std::uint32_t mount, const std::string& path, pst_key128 id, std::uint64_t version,
                WaitId asker, InfoDone done);
  bool KnownFile(std::uint32_t mount, const std::string& path, pst_key128 id, std::uint64_t version,
                 FileInfo* info);
  // Fills in the path from the key, or the key from the path. False if neither names anything.
  bool Complete(EngineOp* op);

  Loop* loop_;
  Arena* arena_;
  ObjectStore* objects_;
  std::vector<Mount> mounts_;
  EngineOptions options_;
  MemoryTier tier_;
  std::unordered_map<WaitId, Waiting> waiting_;
  WaitId last_wait_ = 0;
  std::unique_ptr<OriginCalls> calls_;     // ended first, by the destructor's body
  NameService names_;
  Fetcher fetcher_;
  SourceReads source_reads_;
  ReadAhead read_ahead_;
  Siblings siblings_;
  FirstLook first_look_;
  std::uint64_t readahead_ranges_ = 0;
  std::uint64_t adopted_bytes_ = 0;
  std::uint64_t adopted_entries_ = 0;
  std::uint64_t adopted_wrong_ = 0;
  std::unique_ptr<AdoptionCheck> adoption_check_;
  bool ending_ = false;
};

}  // namespace penstock::cache
