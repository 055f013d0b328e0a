// The engine: what the sidecar does with a name or a range, from question to published answer.
//
// Everything runs on the core loop's thread (cache/base/loop.h): sessions call Start(), origins report
// back through Loop::Post(). An operation is a caller-owned struct that must stay alive until its `done`
// has been called, exactly once, on the core thread. It
// may be called before Start() returns; callers must cope.
//
// What is published goes to index and arena memory (shim/abi) before `done`; the answer in the struct is
// complete on its own, so a client can go on even if the entry is evicted in between.
//
//   Lookup   attributes of a name: catalog, else the parent's listing (first page) or the origin's Stat;
//            publishes the name record (absent ones too) with the mount's metadata_ttl; a name that is
//            not there is an answer: err 0, attr.kind PST_KIND_ABSENT, attr.err says why
//   Fetch    makes ranges present: single flight per range, read-ahead behind it, publishes each range
//   List     publishes the page of a directory's listing whose number is `offset`, and others around it;
//            `version` names the listing that is being read, or is 0. A listing whose pages come one after
//            the other is answered as soon as that one is there
//   Read     copies up to 4 KiB of a version's bytes into `buffer`: the slow lane
//   ListingRead  the same for the entries of a listing, whose page n begins at n * PST_RANGE_BYTES; 0 bytes
//            at a page's end and beyond the last one
//   Name     path and attributes of a key that a lookup has seen
//   Materialize  waits until a range lies in the object's file (cache/object), then `fd` is a read-only
//            descriptor of it that the caller owns
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shim/abi/index.h"
#include "shim/abi/key.h"
#include "shim/abi/record.h"
#include "transport/base/result.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

class Loop;
class Arena;
class ObjectStore;
class NvmeTier;

enum class MountClass : std::uint8_t { kDataset, kGeneral, kCheckpoint };

struct Mount {
  std::string path;                        // absolute, normalised
  bool writable = false;
  MountClass mount_class = MountClass::kDataset;
  std::int64_t metadata_ttl_ns = 60'000'000'000;
  std::uint32_t uid = UINT32_MAX;          // UINT32_MAX: the program's own
  std::uint32_t gid = UINT32_MAX;
  std::int64_t deadline_ns = 30'000'000'000;  // for one question to the origin, all tries included
  origin::Origin* origin = nullptr;        // outlives the engine
};

enum class EngineOpKind : std::uint8_t {
  kLookup, kFetch, kList, kRead, kListingRead, kName, kMaterialize,
};

struct EngineOp {
  EngineOpKind kind = EngineOpKind::kLookup;
  std::uint32_t mount = 0;                 // index into the mounts
  pst_key128 id{};
  std::string path;                        // relative to the mount, validated by the caller: no "..",
                                           // no empty or "." component, at most PST_PATH_MAX - 1 bytes
  std::uint64_t version = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t cursor = 0;                // who reads: (session id << 16) ^ slot; for read-ahead
  bool hint = false;                       // nobody waits: may be dropped
  bool opens = false;                      // kLookup: a file of that name will be read from its beginning
  std::int64_t deadline_ns = 0;            // absolute CLOCK_MONOTONIC
  std::span<std::byte> buffer;             // kRead, kListingRead, kName (path): filled, caller's memory

  int err = 0;                             // result: 0 or a positive errno (transport's one table)
  pst_attr attr{};
  std::uint64_t result_version = 0;        // kList, kListingRead: the listing's id
  std::uint64_t result_length = 0;         // bytes in `buffer`; kList: pages, 0 while more may come; kFetch:
                                           // PST_FETCHED_FROM_NVME if the first range came from there
  int fd = -1;                             // kMaterialize

  void (*done)(EngineOp* op) = nullptr;
  void* user = nullptr;
  void* impl = nullptr;                    // the engine's while it runs
};

// All cumulative unless said otherwise; the names `penstock stat --json` uses.
struct EngineStats {
  std::uint64_t fetches = 0;
  std::uint64_t single_flight_joins = 0;
  std::uint64_t readahead_ranges = 0;
  std::uint64_t sibling_prefetches = 0;
  std::uint64_t evictions = 0;             // ranges and records dropped to make room
  std::uint64_t corrupt_dropped = 0;
  std::uint64_t ranges_published = 0;
  std::uint64_t adopted_bytes = 0;         // a predecessor's that went on
  std::uint64_t adopted_entries = 0;
  std::uint64_t arena_bytes_used = 0;      // now: segments in use
  std::uint64_t arena_bytes_live = 0;      // now: bytes that an entry names
  std::uint64_t arena_bytes_total = 0;
  std::uint64_t index_entries = 0;         // now
  std::uint64_t inflight = 0;              // now: operations that wait
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual void Start(EngineOp* op) = 0;
  virtual void Cancel(EngineOp* op) = 0;   // `done` comes soon with ECANCELED, or has come
  // Notes that a client's access log named this place (segment << 32 | offset / PST_ALIGN).
  virtual void Touched(std::uint64_t place) = 0;
  // Drops what is known about names of a mount under `path` ("" all): refresh.
  virtual void Forget(std::uint32_t mount, std::string_view path) = 0;
  virtual EngineStats Stats() const = 0;
};

// Limits of the engine. The defaults are the sidecar's; tests make them small.
struct EngineOptions {
  unsigned cpus = 2;                                   // threads for checksums
  std::uint64_t catalog_bytes = 6ull << 20;            // names that were asked for or used, beside listings
  std::string spool_folder;                            // where pages of long listings lie; "": in memory
  std::uint32_t inflight_reads = 1024;                 // origin reads at once
  std::uint64_t inflight_bytes = 64ull << 20;          // at least; an eighth of the arena, up to 2 GiB
  std::size_t max_questions = 16'384;                 // listings and stats under way; reads queued
  std::size_t max_waiters = 65'536;                   // for their answers, those that gave up included
  std::uint32_t whole_file_bytes = 1u << 20;           // up to this a file is read in one request
};

// `objects` may be null: kMaterialize then gives ENOSPC. `nvme` may be null: memory misses are the origins'. The engine ends what it started when it is
// destroyed, on the loop's thread or after the loop has stopped; operations that still wait get ECANCELED.
std::unique_ptr<Engine> MakeEngine(Loop* loop, Arena* arena, ObjectStore* objects,
                                   std::vector<Mount> mounts, const EngineOptions& options = {},
                                   NvmeTier* nvme = nullptr);

// 128-bit key of a name (XXH3) and 64-bit version digest of an origin's token, seeded with the key.
pst_key128 KeyOf(std::string_view relative_path);
std::uint64_t VersionOf(pst_key128 id, std::string_view origin_version);

}  // namespace penstock::cache
