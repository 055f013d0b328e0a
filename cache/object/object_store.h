// Object files: an immutable version of a file as a real file, for what only the kernel can do
// (mmap, sendfile, ...). Later the NVMe tier reads and fills the same files.
//
// An object is <dir>/objects/<xx>/<32 hex of key>-<16 hex of version>-<16 hex of origin> with the
// object's bytes at their own offsets (sparse until filled, st_size = the object's size), and
// beside it <name>.meta with a header and, for each 64 KiB range, its CRC32C and presence
// (docs/object-format.md). Bytes are never changed once present, never punched; an object is only
// unlinked. A .meta that does not verify makes the object unknown: dropped. What an earlier start
// left is checked against its CRCs before it is given out; a flipped bit makes the store fetch the
// object anew.
//
// Limits: bytes and files, obeyed by unlinking the objects that were used longest ago and that
// nobody has open: a program that comes back for more of a file must find the same inode. Bytes of
// unlinked objects that are still open count until a lease says that the last reader, mappings
// included, is gone.
//
// Where the folder is unusable or its disk full, objects live in memory files of at most
// `fallback_bytes` in all, so that mmap keeps working; the log says so.
//
// Thread safety: core loop's thread only; every operation must be over before the store goes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"

namespace penstock::cache {

struct ObjectStoreConfig {
  std::string dir;  // created, 0700; "" or max_bytes 0: memory files only
  std::uint64_t max_bytes = 0;
  std::uint64_t max_files = 1'000'000;
  std::uint64_t fallback_bytes = 1ull << 30;
  std::uint64_t max_open = 256;  // objects that the store itself keeps open, two descriptors each
  std::uint64_t reserve_bytes = UINT64_MAX;  // disk space to leave; UINT64_MAX: 5%, at most 1 GiB
  // Who shares max_bytes: what it takes, and a way to have some of it given up.
  std::function<std::uint64_t()> others_bytes;
  std::function<bool()> others_drop;
  std::vector<std::string> origins;  // of each mount: what Origin::Describe() says. An object of
                                     // one origin is never taken for another's
};

// What the store needs from the engine: bytes of a version. Fills `buffers` with exactly
// [offset, offset + length) of it from the arena or the origin, in parallel and at full speed.
struct SourceRead {
  std::uint32_t mount = 0;
  std::string path;
  pst_key128 id{};
  std::uint64_t version = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // at most 8 MiB
  std::byte* buffer = nullptr;
  std::int64_t deadline_ns = 0;
  int err = 0;  // result
  void (*done)(SourceRead* read) = nullptr;
  void* user = nullptr;
  void* impl = nullptr;
};

class ObjectSource {
 public:
  virtual ~ObjectSource() = default;
  virtual void StartRead(SourceRead* read) = 0;
  // How many reads at once bring the mount's origin to its best.
  virtual std::uint32_t Parallelism(std::uint32_t mount) const = 0;
};

struct ObjectStoreStats {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;  // present bytes, unlinked but open ones included
  std::uint64_t hits = 0;
  std::uint64_t dropped = 0;         // unlinked to make room
  std::uint64_t corrupt = 0;         // objects dropped because a CRC or their .meta did not hold
  std::uint64_t memory_objects = 0;  // of `objects`: those that had to go to memory files
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  // Serves an EngineOp of kind kMaterialize whose attr (size, mtime, version) the engine has filled
  // in; fills [offset, offset + length), length 0 meaning the whole, then sets op->fd and calls
  // op->done. ENOSPC if it can't fit. Single flight for concurrent fills of a range. As long as
  // somebody has the object open, later calls give the same inode.
  virtual void Materialize(EngineOp* op, ObjectSource* source) = 0;
  virtual void Cancel(EngineOp* op) = 0;
  virtual ObjectStoreStats Stats() const = 0;
  // Of `max_bytes`: what is taken, fills under way included.
  virtual std::uint64_t DiskBytes() const = 0;
  // The folder that objects lie in, which this store alone uses until it goes; "" without one.
  virtual std::string Folder() const = 0;
};

// Fails only for lack of memory; an unusable folder is said in the log and does without.
Result<std::unique_ptr<ObjectStore>> MakeObjectStore(Loop* loop, const ObjectStoreConfig& config);

}  // namespace penstock::cache
