// The folder that object files lie in: names to descriptors, and nothing more.
//
// Thread safety: one thread. System calls on a local folder.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cache/job/fd.h"
#include "cache/object/object_meta.h"
#include "transport/base/result.h"

namespace penstock::cache {

struct ObjectFiles {
  Fd data;  // O_RDWR
  Fd meta;  // O_RDWR; none for memory files
  ObjectHeader header;
  std::uint64_t allocated_bytes = 0;
};

class ObjectDir {
 public:
  // Takes <dir>/objects, or the next free number of it (objects.1, ...) where another sidecar has
  // it locked.
  static Result<ObjectDir> Open(const std::string& dir);

  // Opens an object that verifies. kNotFound; kCorrupt: there is something that does not.
  Result<ObjectFiles> Find(const ObjectKey& key);
  // Makes an empty, sparse object; what lies there under its name is unlinked first.
  Result<ObjectFiles> Create(const ObjectHeader& header);
  void Unlink(const ObjectKey& key);
  // A descriptor to ask HasReaders() with; none if the file is not there.
  Fd Peek(const ObjectKey& key);

  // Bytes that may still be written before `reserve` is touched; 0 if that cannot be told.
  std::uint64_t FreeBytes(std::uint64_t reserve_bytes) const;
  const std::string& path() const { return path_; }

  // Walks over the objects in small steps. Half-made ones (a crash came between) are removed.
  struct Found {
    ObjectKey key;
    std::uint64_t allocated_bytes = 0;
    std::int64_t used_ns = 0;  // when last used, as far as the file system tells
  };
  class Scan {
   public:
    // The next object, or nothing after at most `budget` directory entries; done() tells which.
    std::optional<Found> Next(ObjectDir* dir, unsigned* budget);
    bool done() const { return folder_ > 0xff; }

   private:
    struct Closer {
      void operator()(DIR* dir) const { ::closedir(dir); }
    };
    unsigned folder_ = 0;
    std::unique_ptr<DIR, Closer> open_;
  };

 private:
  Result<int> Folder(const ObjectKey& key, bool make);

  std::string path_;
  Fd root_;
  Fd lock_;
};

// 1 if somebody other than the holder of `fd` has the file open or mapped, 0 if not, -1 if this
// file system cannot tell.
int HasReaders(int fd);

// A read-only descriptor of the file behind `fd`, with an offset of its own.
Result<int> ReopenReadOnly(int fd);

// A memory file in the place of an object file.
Result<ObjectFiles> CreateMemoryFile(const ObjectHeader& header);

}  // namespace penstock::cache
