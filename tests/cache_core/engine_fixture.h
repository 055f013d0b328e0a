// An engine on a loop that the test turns, and an origin in memory whose answers the test arranges.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"
#include "cache/memory/arena.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

// Objects by name; directories are prefixes, as in a flat container.
class MemoryOrigin final : public origin::Origin {
 public:
  struct Object {
    std::string bytes;
    std::string version;
  };
  struct ReadSeen {
    std::string name;
    std::uint64_t offset;
    std::uint64_t length;
  };

  void Put(const std::string& name, std::string bytes, const std::string& version = "v1");
  void Remove(const std::string& name);

  // Held operations are answered by Release(); others at once.
  void Hold(bool hold);
  void Release();
  std::size_t held() const;
  // Every operation fails so while set (Code::kOk: none).
  void FailWith(Code code);
  void FailLists(Code code);
  void SetPageEntries(std::size_t entries);
  // Lists leave this name out, as one that could not be described.
  void SkipInLists(const std::string& name) { skip_ = name; }

  // Flat listings of everything below a directory are answered too.
  void SetRecursive(bool recursive) { recursive_ = recursive; }
  bool ListsRecursively() const override { return recursive_; }
  // Directories are listed with a slash behind their names, as Blob does it; else by names alone, though
  // it says the same of itself.
  void SetInOrder(bool in_order) { in_order_ = in_order; }
  bool ListsInOrder() const override { return true; }

  // A read may ask for more than there is.
  void SetReadsHeads(bool heads) { reads_heads_ = heads; }
  bool ReadsHeads() const override { return reads_heads_; }

  std::size_t flat_lists_seen() const;
  std::size_t stats_seen() const;
  std::size_t lists_seen() const;
  std::vector<ReadSeen> reads_seen() const;
  void ForgetSeen();

  void Stat(origin::StatOp* op) override;
  void Read(origin::ReadOp* op) override;
  void List(origin::ListOp* op) override;
  void Cancel(origin::Op* op) override;
  void Hurry(origin::ReadOp*) override { ++hurried_; }
  int hurried() const { return hurried_; }
  origin::OriginStats Stats() const override { return {}; }
  void StartProbe(origin::ProbeOp* op) override { op->done(op); }
  std::string Describe() const override { return "memory"; }

 private:
  void Answer(origin::Op* op, std::function<Error()> work);
  Error DoStat(origin::StatOp* op);
  Error DoRead(origin::ReadOp* op);
  Error DoList(origin::ListOp* op);
  void DoFlatList(origin::ListOp* op);

  mutable std::mutex mutex_;
  std::map<std::string, Object> objects_;
  std::vector<std::pair<origin::Op*, std::function<Error()>>> held_;
  bool hold_ = false;
  Code fail_ = Code::kOk;
  Code fail_lists_ = Code::kOk;
  std::size_t page_entries_ = 1000;
  std::string skip_;
  bool recursive_ = false;
  bool in_order_ = true;
  bool reads_heads_ = false;
  std::size_t flat_lists_ = 0;
  std::atomic<int> hurried_{0};
  std::size_t stats_ = 0;
  std::size_t lists_ = 0;
  std::vector<ReadSeen> reads_;
};

// Bytes that tell where they belong.
std::string Pattern(std::uint64_t bytes, std::uint64_t seed);

class EngineTest : public testing::Test {
 protected:
  void Build(origin::Origin* origin, std::uint32_t segments = 64,
             std::int64_t ttl_ns = 60'000'000'000, std::int64_t deadline_ns = 10'000'000'000,
             MountClass mount_class = MountClass::kDataset);
  void SetUp() override { Build(&origin_); }
  void TearDown() override;

  // Runs operations until all are done (at most 20 s).
  void Run(std::vector<EngineOp*> ops);
  // Starts without waiting; the test ends it.
  void Begin(EngineOp* op);
  void TurnFor(std::int64_t ns);
  void TurnUntil(const std::function<bool()>& condition);

  EngineOp Op(EngineOpKind kind, const std::string& path);
  EngineOp Lookup(const std::string& path);
  EngineOp Fetch(const std::string& path, std::uint64_t offset, std::uint64_t length, std::uint64_t cursor = 1);
  pst_attr AttrOf(const std::string& path);
  // Through the index, as a client: nullopt is a miss.
  std::optional<std::string> Bytes(const std::string& path, std::uint64_t version, std::uint32_t range);
  std::optional<pst_attr> Record(const std::string& path);
  // As a client finds it: by its record, else in its directory's listing.
  std::optional<pst_attr> Published(const std::string& path);
  // The names of a directory as a client reads them: page by page, asking for those that are missing.
  std::vector<std::string> ListedNames(const std::string& path);
  bool Cached(const std::string& path, std::uint32_t range);

  NvmeTier* nvme_ = nullptr;  // of the next Build()
  MemoryOrigin origin_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Engine> engine_;
  pst_view view_{};
};

}  // namespace penstock::cache
