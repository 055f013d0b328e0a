// The object store's inside: what object_store.cc (questions), object_fill.cc (bytes) and
// object_room.cc (limits) share. Not for others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cache/job/fd.h"
#include "cache/object/object_dir.h"
#include "cache/object/object_meta.h"
#include "cache/object/object_store.h"

namespace penstock::cache::object {

inline constexpr std::uint32_t kPieceRanges = 64;  // a piece: one mask, 4 MiB, one read
inline constexpr std::uint64_t kPieceBytes = std::uint64_t{kPieceRanges} * PST_RANGE_BYTES;
// In flight: twice as many as the origin takes at once, so that one is on the wire while another is
// written.
inline constexpr std::size_t kMinRuns = 6;
inline constexpr std::size_t kMaxRuns = 16;  // 64 MiB of buffers
inline constexpr int kMaxAttempts = 3;       // of one question, when objects turn bad
inline constexpr std::int64_t kRunTimeoutNs = 60'000'000'000;
static_assert(kPieceBytes <= 8u << 20, "SourceRead's limit");

// One bit per range.
struct Piece {
  bool loaded = false;          // `present` says what the .meta says
  std::uint64_t present = 0;    // complete, and checked or written in this start
  std::uint64_t unchecked = 0;  // complete as an earlier start left it
  std::uint64_t running = 0;
};

struct Run;
struct Waiter;

struct Object {
  ObjectKey key;
  ObjectFiles files;  // data invalid while closed
  bool open = false;
  bool memory = false;
  bool handed_out = false;  // a reader may have it open
  bool doomed = false;      // unlinked, not in the map any more
  std::uint64_t bytes = 0;  // counted against the limit
  std::unordered_map<std::uint64_t, Piece> pieces;
  std::vector<Waiter*> waiters;
  std::uint32_t runs = 0;
  bool queued = false;               // in the list of those that want runs
  std::list<Object*>::iterator age;  // place in the order of use

  bool idle() const { return waiters.empty() && runs == 0; }
  std::uint64_t BytesOf(std::uint64_t range, std::uint64_t count) const {
    const std::uint64_t from = range * PST_RANGE_BYTES;
    return std::min(files.header.size, from + count * PST_RANGE_BYTES) - from;
  }
};

// A question in progress: one EngineOp.
struct Waiter {
  EngineOp* op = nullptr;
  ObjectSource* source = nullptr;
  Object* object = nullptr;
  std::uint64_t first = 0, end = 0;  // ranges
  std::uint64_t complete_to = 0;     // all before it are present
  std::uint64_t asked_to = 0;        // all before it are present or running
  int attempts = 0;
  bool filled = false;  // something had to be fetched
  Loop::TimerId timer = 0;
};

// One piece's stretch on its way: from the source, or from the disk to be checked.
struct Run {
  class Store* store = nullptr;
  Object* object = nullptr;
  std::uint64_t piece = 0;
  std::uint32_t first = 0, count = 0;  // ranges within the piece
  std::uint64_t bytes = 0;
  std::uint64_t written = 0;   // of them, to the file: ranges of zeros at both ends stay holes
  std::uint64_t reserved = 0;  // counted in the store's reserved_
  bool check = false;          // reads back what an earlier start wrote ...
  bool hole = false;           // ... which is nothing: its records must say zeros
  std::unique_ptr<std::byte[]> buffer;
  std::byte records[kPieceRanges * kMetaRecordBytes];
  SourceRead read;
  FileOp io;
  std::uint64_t io_done = 0;
  std::uint64_t range() const { return piece * kPieceRanges + first; }
  std::uint64_t mask() const {
    return (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << first;
  }
};

class Store final : public ObjectStore {
 public:
  Store(Loop* loop, ObjectStoreConfig config);
  ~Store() override;
  void Start();

  void Materialize(EngineOp* op, ObjectSource* source) override;
  void Cancel(EngineOp* op) override;
  ObjectStoreStats Stats() const override;
  std::uint64_t DiskBytes() const override { return used_[0] + reserved_[0]; }
  std::string Folder() const override { return dir_ ? dir_->path() : std::string(); }

 private:
  // object_store.cc: questions
  ObjectKey KeyOf(const EngineOp& op) const;
  void Attach(Waiter* waiter, bool force_memory);
  Result<Object*> Acquire(const Waiter& waiter, bool force_memory);
  Result<void> OpenFiles(Object* object, const ObjectHeader& header, bool force_memory);
  bool Advance(Waiter* waiter);  // true if it has all its ranges
  void Finish(Waiter* waiter, int err);
  void MoveWaiters(Object* object, bool force_memory, int err);
  void Doom(Object* object);
  void Forget(Object* object);
  void MaybeDelete(Object* object);
  void CloseSome(const Object* keep);
  void DiskTrouble(const Error& error);

  // object_fill.cc: bytes
  void Pump();
  bool StartNextRun(Object* object);
  Piece& PieceOf(Object* object, std::uint64_t piece);
  void StartRun(Object* object, Waiter* waiter, std::uint64_t piece, std::uint32_t first,
                std::uint32_t count, bool check);
  std::size_t MostRuns(const Object& object) const;
  std::unique_ptr<std::byte[]> TakeBuffer(std::uint64_t bytes);
  void GiveBuffer(Run* run);
  void OnSource(Run* run);
  void OnData(Run* run);
  void DataWritten(Run* run);
  void OnRecords(Run* run);
  void StartIo(Run* run, int fd, std::byte* buffer, std::uint64_t length, std::uint64_t offset,
               bool write, void (*done)(FileOp*));
  // Goes on with a short transfer. 1 complete, 0 under way, -errno.
  static int ContinueIo(Run* run, std::uint64_t length);
  void EndRun(Run* run);
  void RunFailed(Run* run, int err, bool of_disk);
  bool CheckRun(Run* run);
  void Corrupt(Object* object);

  // object_room.cc: limits
  bool EnsureRoom(bool memory, std::uint64_t bytes, int* err);
  std::uint64_t Shortage(bool memory, std::uint64_t bytes) const;
  bool EvictOne(bool memory, std::size_t* budget);
  bool Evictable(Object* object);
  void SetBytes(Object* object, std::uint64_t bytes);
  void AddZombie(Object* object);
  void SweepZombies();
  void ArmZombieTimer();
  void ScanStep();

  Loop* loop_;
  ObjectStoreConfig config_;
  std::vector<std::uint64_t> origin_digests_;
  std::unique_ptr<ObjectDir> dir_;  // none: memory files only
  ObjectDir::Scan scan_;
  Loop::TimerId scan_timer_ = 0;
  std::unordered_map<ObjectKey, Object*, ObjectKeyHash> objects_;
  std::set<Object*> doomed_;   // with runs still under way
  std::list<Object*> by_age_;  // oldest use first
  std::unordered_map<EngineOp*, std::unique_ptr<Waiter>> waiters_;
  std::deque<Object*> wanting_;  // round robin over objects that want runs
  std::unordered_map<Run*, std::unique_ptr<Run>> runs_;
  std::vector<std::unique_ptr<std::byte[]>>
      spare_;  // buffers of whole pieces, as long as runs follow each other
  std::size_t open_count_ = 0;
  bool pumping_ = false;

  struct Zombie {
    Fd fd;
    std::uint64_t bytes = 0;
    bool memory = false;
  };
  std::vector<Zombie> zombies_;
  std::uint64_t used_[2] = {0, 0};      // [disk, memory]: objects, zombies
  std::uint64_t reserved_[2] = {0, 0};  // runs under way
  Loop::TimerId zombie_timer_ = 0;
  std::int64_t zombie_delay_ns_ = 0;
  std::int64_t next_trouble_log_ns_ = 0;
  mutable ObjectStoreStats stats_;
};

}  // namespace penstock::cache::object
