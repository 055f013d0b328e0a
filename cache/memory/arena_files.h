// The arena's memory as files, so that the next sidecar goes on with what this one has cached.
//
// A memfd dies with its last user, and one that is sealed against writing (F_SEAL_FUTURE_WRITE) can
// be mapped for writing by nobody else, a successor included. Where programs run as other users
// than the sidecar, mode 0600 keeps them from writing as well, and the memory can lie in files on
// tmpfs beside the socket:
//
//   <folder>/index    shim/abi/index.h, as clients map it
//   <folder>/arena    the segments
//   <folder>/state    the rest of what a successor needs; the sidecar alone maps it:
//                       4096 bytes  header: magic, format, ABI, sizes, inodes, what the memory is
//                       of, checksum n * 4       a note for each segment: whose queue, and whether
//                       it is being filled
//
// The state's header is written once, last, when all else is complete. The notes change all the
// time and may hold anything after a crash: a wrong queue is policy, and a note that says "being
// filled" for too long only costs a copy. A change of any meaning bumps kFormat; the successor then
// begins anew, which costs what is cached and nothing else. Only the holder of the socket's lock
// may open the files.
//
// Thread safety: one thread, but for the descriptors' numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cache/job/fd.h"
#include "transport/base/result.h"

namespace penstock::cache {

// A segment as its owner last left it. Stored by the core thread, read by a successor.
struct SegmentNote {
  std::uint8_t area = 0;     // memory_tier.h's, plus 1; 0: never used
  std::uint8_t filling = 0;  // not 0: bytes are being written that no entry names yet
  std::uint16_t reserved = 0;
};
static_assert(sizeof(SegmentNote) == 4);

struct ArenaFilesConfig {
  std::string folder;  // made with mode 0700; must lie on tmpfs
  std::string
      identity;  // what the bytes are of: mounts, origins, formats. Another text, another memory
  std::uint64_t index_bytes = 0;
  std::uint64_t arena_bytes = 0;
  std::uint32_t segments = 0;
};

class ArenaFiles {
 public:
  // Opens what a predecessor left if it is of the same identity and sizes (`adopted`), else makes
  // new files. `explanation` says in a few words why nothing was adopted, or why it failed: not on
  // tmpfs, no room, somebody else's.
  static Result<std::unique_ptr<ArenaFiles>> Open(const ArenaFilesConfig& config, bool* adopted,
                                                  std::string* explanation);
  ~ArenaFiles();
  ArenaFiles(const ArenaFiles&) = delete;
  ArenaFiles& operator=(const ArenaFiles&) = delete;

  int index_fd() const { return index_.get(); }  // for reading and writing: never leave the sidecar
  int arena_fd() const { return arena_.get(); }
  int index_reader() const { return index_reader_.get(); }  // O_RDONLY, for clients
  int arena_reader() const { return arena_reader_.get(); }
  SegmentNote* notes() { return notes_; }

  // The memory is complete: from now on it can be adopted.
  Result<void> Seal();
  // Memory for [at, at + bytes) of the arena, so that no later store can find the file system full.
  bool Allocate(std::uint64_t at, std::uint64_t bytes);
  // New pages for [at, at + bytes): what the kernel still writes for a dead process goes to the old
  // ones, which nobody maps then. False if there is no room to be sure of; what was there may be gone
  // then.
  bool Replace(std::uint64_t at, std::uint64_t bytes);
  // Removes the files: nobody shall adopt them.
  void Discard();

 private:
  ArenaFiles() = default;
  bool Adopt(std::string* explanation);
  Result<void> Make(std::string* explanation);
  bool MapState(int fd);

  ArenaFilesConfig config_;
  Fd folder_;
  Fd index_, arena_, index_reader_, arena_reader_;
  std::byte* state_ = nullptr;
  SegmentNote* notes_ = nullptr;
};

}  // namespace penstock::cache
