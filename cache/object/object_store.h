// Object files: an immutable version of a file as a real file, for what only the kernel can do (mmap,
// sendfile, ...). Later the NVMe tier reads and fills the same files.
//
// An object is <dir>/objects/<xx>/<32 hex of key>-<16 hex of version> with the object's bytes at
// their own offsets (sparse until filled, st_size = the object's size), and beside it <name>.meta with a
// header (magic, format version, ns, key, version, size, mtime, full name), a presence map of 64 KiB
// ranges and a CRC32C per range (docs/object-format.md). Bytes are never changed once present, never
// punched; an object is only unlinked. A .meta that does not verify makes the object unknown: dropped.
//
// Thread safety: core loop's thread only. Limits: bytes and files, obeyed by unlinking the objects that
// were used longest ago; bytes of unlinked objects that are still open count until their lease says that
// the last reader is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/loop.h"
#include "cache/engine/engine.h"

namespace penstock::cache {

struct ObjectStoreConfig {
  std::string dir;                         // created, 0700
  std::uint64_t max_bytes = 0;
  std::uint64_t max_files = 1'000'000;
};

// What the store needs from the engine: bytes of a version. Fills `buffers` with exactly
// [offset, offset + length) of it from the arena or the origin, in parallel and at full speed.
struct SourceRead {
  std::uint32_t mount = 0;
  std::string path;
  pst_key128 id{};
  std::uint64_t version = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;                // at most 8 MiB
  std::byte* buffer = nullptr;
  std::int64_t deadline_ns = 0;
  int err = 0;                             // result
  void (*done)(SourceRead* read) = nullptr;
  void* user = nullptr;
  void* impl = nullptr;
};

class ObjectSource {
 public:
  virtual ~ObjectSource() = default;
  virtual void StartRead(SourceRead* read) = 0;
};

struct ObjectStoreStats {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;                 // present bytes, unlinked but open ones included
  std::uint64_t hits = 0;
  std::uint64_t dropped = 0;               // unlinked to make room
  std::uint64_t corrupt = 0;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  // Serves an EngineOp of kind kMaterialize whose attr (size, mtime, version) the engine has filled in;
  // fills [offset, offset + length), length 0 meaning the whole, then sets op->fd and calls op->done.
  // ENOSPC if it can't fit. Single flight for concurrent fills of a range.
  virtual void Materialize(EngineOp* op, ObjectSource* source) = 0;
  virtual void Cancel(EngineOp* op) = 0;
  virtual ObjectStoreStats Stats() const = 0;
};

Result<std::unique_ptr<ObjectStore>> MakeObjectStore(Loop* loop, const ObjectStoreConfig& config);

}  // namespace penstock::cache
