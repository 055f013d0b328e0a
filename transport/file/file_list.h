// Pages of a folder's listing.
//
// A marker is the position that the kernel gives a directory entry. Between two pages the folder
// stays open (up to limits::kMaxListCursors of them, the oldest is dropped first), which keeps the
// position exact even on file systems whose positions do not outlive an open (overlayfs); a dropped
// cursor is opened again at its position. An entry that exists throughout is listed once; one that
// comes or goes meanwhile may or may not be seen.
//
// Thread safety: List() from any thread; it blocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>

#include "transport/origin/origin.h"

namespace penstock::origin {

class FileLister {
 public:
  FileLister() = default;
  FileLister(const FileLister&) = delete;
  FileLister& operator=(const FileLister&) = delete;
  ~FileLister();

  // Fills entries, next_marker and skipped of `op` from the folder at `path`. Gives up with
  // kCancelled once `cancelled` is true, and at the deadline of `op`.
  Result<void> List(const std::string& path, ListOp* op, const std::atomic<bool>& cancelled);

 private:
  struct Cursor {
    std::string path;
    std::int64_t position;
    int fd;
  };

  // The fd of a kept cursor, or of the folder newly opened at `position`.
  Result<int> Take(const std::string& path, std::int64_t position);
  void Keep(const std::string& path, std::int64_t position, int fd);

  std::mutex mutex_;
  std::list<Cursor> cursors_;  // guarded by mutex_; the newest first
};

}  // namespace penstock::origin
