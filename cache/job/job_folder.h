// The job's folder beside the socket (`<socket>.d`, mode 0711): what lets an open file survive
// fork, exec and a restart of the sidecar.
//
//   job                       the job's random id and the number of starts: a restarted sidecar
//   reads it PST_OPEN_FILE_DIR/<slot>  one socket inode per open-file slot, made when the slot is
//   first leased PST_SHADOW_DIR/<mount>/…  real, empty directories for programs that hold a
//   directory (chdir, dirfds)
//
// Slots (shim/abi/open_file.h) are leased to sessions. Who holds which slot is kept here, in
// private memory; the table itself is written by every client and is read only through Slot(),
// which copies and checks. A slot whose session died is free at once unless its process had shared
// it (fork, exec): then it is kept while the session's family lives (its live descendants, by
// parent_session), and even after that it is the last to be used again, because a child may live
// that has not joined yet.
//
// Several tables can exist after a restart of the sidecar: a client that lived through it brings
// its own and keeps it; numbers that were given out before the restart are not leased again while
// others are left.
//
// Thread safety: core thread only. Calls make a few system calls on a local folder, nothing slower.
// Descriptors that getters return are borrowed unless said otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shim/abi/key.h"
#include "shim/abi/open_file.h"
#include "transport/base/result.h"

namespace penstock::cache {

struct JobFolderConfig {
  std::string path;                        // created with mode 0711; its parent must exist
  std::uint32_t max_directories = 32'768;  // shadow directories; those used longest ago make room
  std::uint32_t max_slots_per_session = 16'384;  // and never more than are left for the others
  std::uint32_t max_kept_files = 8'192;  // each is an open descriptor of the sidecar; of one session
                                         // an eighth
  std::uint32_t max_tables = 64;         // adopted ones; each is a mapping of 4 MiB address space
};

// The version of a file that a slot or a kept file stands for.
struct FileIdentity {
  std::uint32_t ns = 0;
  pst_key128 id{};
  std::uint64_t version = 0;
  friend bool operator==(const FileIdentity& a, const FileIdentity& b) {
    return a.ns == b.ns && a.id.lo == b.id.lo && a.id.hi == b.id.hi && a.version == b.version;
  }
};

// A copy of a slot, taken once. Written by clients: plausible (state in range, sizes within limits)
// but not to be believed beyond that.
struct SlotState {
  std::uint32_t generation = 0;
  std::uint64_t offset = 0;
  std::uint32_t state = PST_SLOT_FREE;
  FileIdentity file;
  std::uint64_t size = 0;
  std::uint32_t open_flags = 0;
  bool shared = false;
  std::uint64_t session = 0;
};

class JobFolder {
 public:
  virtual ~JobFolder() = default;  // leaves the folder as it is: another start goes on with it

  virtual std::uint64_t job() const = 0;
  // 1 at the first start in this folder, one more at each later one.
  virtual std::uint64_t starts() const = 0;
  // O_PATH descriptor of PST_OPEN_FILE_DIR, to pass to clients.
  virtual int directory_fd() const = 0;
  virtual const std::string& path() const = 0;

  // Registers a session. Ids are never 0 and never repeat, not even over restarts (kInvalid else).
  // `parent_session` may be 0 or unknown. `table_fd` is the table that the client brings, or -1; it
  // is adopted if it is this job's (type, size, seals, magic, job id), else ignored. Not taken
  // over. Returns the table that the session is to use: its own if adopted, its parent's, else the
  // newest.
  virtual Result<int> Join(std::uint64_t session, std::uint64_t parent_session, int table_fd) = 0;
  // Checks and adopts a table by itself; the descriptor to give back for it (ours, of the same
  // memory).
  virtual Result<int> Adopt(int table_fd) = 0;
  // The session's process is dead: its slots go as described above.
  virtual void Release(std::uint64_t session) = 0;

  // Leases up to `count` slots, their sockets present and their lines reset. Fewer, even none, when
  // limits are reached; kInvalid for an unknown session.
  virtual Result<std::vector<std::uint32_t>> Lease(std::uint64_t session, std::uint32_t count) = 0;

  // The slot in the session's table; kInvalid for a number out of range, an unknown session or
  // rubbish.
  virtual Result<SlotState> Slot(std::uint64_t session, std::uint32_t slot) const = 0;

  // Keeps a descriptor (taken over, also on failure) as the one open file of (slot, generation):
  // all sharers get this one, so that they share its offset. If one is kept already for this
  // generation and file, that one stays. Returns the descriptor that is kept now. kInvalid: the
  // slot is at another generation; kVersionChanged: another inode is kept, which will never see
  // what was filled into this one, so the sharers must not go on with it.
  virtual Result<int> KeepFile(std::uint64_t session, std::uint32_t slot, std::uint32_t generation,
                               const FileIdentity& file, int fd) = 0;
  // The kept descriptor, or -1. The identity is compared: no client can plant another file.
  virtual int FileFor(std::uint64_t session, std::uint32_t slot, std::uint32_t generation,
                      const FileIdentity& file) = 0;

  // Lets go of the kept descriptor if it holds a lock: whoever locked it has it open by now, and the
  // lock is to end with him. Release does the same for slots whose whole family is dead.
  virtual void Unlock(std::uint64_t session, std::uint32_t slot, std::uint32_t generation) = 0;

  // A descriptor (O_RDONLY | O_DIRECTORY, the caller's) of the real, empty directory that stands
  // for `path` of the mount: relative, '/'-separated, "" the mount itself; made where it is
  // missing. `above` not 0: the one for the folder so many levels above the mount; `path` is "".
  virtual Result<int> Directory(std::uint32_t mount_index, std::string_view path,
                                std::uint64_t above = 0) = 0;

  // At a clean end of the job: removes all that this class made, the folder last. Foreign files
  // stay.
  virtual void Remove() = 0;

  struct Stats {
    std::uint64_t sessions = 0;        // live
    std::uint64_t slots_leased = 0;    // held by live sessions or their families
    std::uint64_t slots_orphaned = 0;  // shared, nobody known alive: used again last
    std::uint64_t kept_files = 0;
    std::uint64_t tables = 0;
    std::uint64_t directories = 0;  // shadow directories, those of earlier starts not counted
  };
  virtual Stats GetStats() const = 0;
};

Result<std::unique_ptr<JobFolder>> OpenJobFolder(const JobFolderConfig& config);

}  // namespace penstock::cache
