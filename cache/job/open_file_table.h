// One open-file table: sealed shared memory that all clients of a job write (shim/abi/open_file.h),
// and the sidecar's mapping of it.
//
// Thread safety: one thread. Everything read from the lines is a copy of what clients wrote.
#pragma once

#include <cstdint>
#include <memory>

#include "cache/job/fd.h"
#include "cache/job/job_folder.h"

namespace penstock::cache {

class OpenFileTable {
 public:
  // A new, empty table of the job.
  static Result<std::unique_ptr<OpenFileTable>> Create(std::uint64_t job);
  // A table that a client brought: adopted only if it is memory of exactly the right size that can
  // neither shrink nor grow, and carries this job's header. `fd` stays the caller's.
  static Result<std::unique_ptr<OpenFileTable>> Adopt(int fd, std::uint64_t job);

  ~OpenFileTable();
  OpenFileTable(const OpenFileTable&) = delete;
  OpenFileTable& operator=(const OpenFileTable&) = delete;

  int fd() const { return fd_.get(); }
  // True if `fd` is this very memory.
  bool Is(int fd) const;

  // `slot` < PST_OPEN_FILE_SLOTS. False if the line holds values that no client of ours writes.
  bool Load(std::uint32_t slot, SlotState* state) const;
  std::uint32_t Generation(std::uint32_t slot) const;
  // For a new holder: free, with a generation that nobody believes in yet.
  void ResetSlot(std::uint32_t slot);

 private:
  OpenFileTable(Fd fd, void* memory, std::uint64_t device, std::uint64_t inode)
      : fd_(std::move(fd)), memory_(memory), device_(device), inode_(inode) {}
  static Result<std::unique_ptr<OpenFileTable>> Map(Fd fd);
  pst_slot* At(std::uint32_t slot) const;

  Fd fd_;
  void* memory_;
  std::uint64_t device_;
  std::uint64_t inode_;
};

}  // namespace penstock::cache
