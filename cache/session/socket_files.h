// The files around the job's socket: its folder, and the lock files that keep two processes from
// doing the same thing to it at once.
//
//   <socket>         the socket itself
//   <socket>.lock    held by the sidecar that serves the socket, as long as it lives
//   <socket>.start   held by a `penstock run` while it starts a sidecar
//   <socket>.log     what a sidecar says that was started by `penstock run`
//   <socket>.d       the job's folder (cache/job)
//   <socket>.memory  what a successor adopts (cache/memory/arena_files.h)
//
// Thread safety: distinct objects from any threads.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "cache/job/fd.h"
#include "transport/base/result.h"

namespace penstock::cache {

// Makes the socket's folder (mode 0700, or 0755 where other users may join) if it is not there, its
// parents too. kPermission with an explanation if it belongs to another user whom we cannot trust
// with it.
Result<void> PrepareSocketFolder(const std::string& socket, bool for_other_users,
                                 std::string* explanation);

// Whether a folder with this owner and mode is ours alone, or root's.
bool IsOwnFolder(const struct stat& folder);

// For a socket whose place nobody has chosen (DefaultSocketPath): its name can be guessed, so another
// user may have made its folder and serve wrong bytes in it. kPermission with an explanation then;
// a folder that is not there is good.
Result<void> CheckDefaultFolder(const std::string& socket, std::string* explanation);

// Whether a sidecar that runs as `uid` may serve `socket` to us: our own user, root, the owner of
// the socket's folder, and the owner of the socket itself unless it lies in a folder for everybody
// such as /tmp.
bool IsTrustedServer(std::uint32_t uid, const std::string& socket);

// The path of the program that we run. After an installation it names the new one.
std::string OwnProgram();

// Who wrote a lock file: pid 0 if nobody has, or if it is not ours to believe.
struct LockHolder {
  std::uint32_t pid = 0;
  std::string program;  // what it runs; "" if it is not known
};
LockHolder ReadLockHolder(const std::string& path);

// An exclusive lock on a file, made if needed. The kernel drops it when the holder dies.
class FileLock {
 public:
  // Waits until `timeout_ms` (0: a single try). kLimit if somebody else holds it; `holder_pid` is
  // then what the holder wrote into it, or 0.
  static Result<FileLock> Acquire(const std::string& path, std::int64_t timeout_ms,
                                  std::uint32_t* holder_pid = nullptr);
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) noexcept = default;
  ~FileLock();  // drops the lock and removes the file

  // A lock that another process holds and has passed on: both hold it until the last one lets go.
  static Result<FileLock> TakeOver(Fd fd, const std::string& path);
  int fd() const { return fd_.get(); }
  // Writes into the file that this process holds the lock.
  void NoteHolder();
  // Leaves the file and the lock to whom they were passed on to.
  void Release() { fd_.Reset(); }

 private:
  FileLock(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

}  // namespace penstock::cache
