#include "transport/file/file_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <string_view>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/base/parse.h"
#include "transport/file/file_version.h"

namespace penstock::origin {
namespace {

constexpr std::size_t kEntryBufferBytes = 64u << 10;

Result<std::int64_t> ParseMarker(const std::string& marker) {
  if (marker.empty()) return 0;
  const auto position = ParseUnsigned(marker);
  if (!position || *position > std::numeric_limits<std::int64_t>::max()) {
    return Fail(Code::kInvalid, "reading the marker of a listing");
  }
  return static_cast<std::int64_t>(*position);
}

// Appends one entry to the page, or counts it as left out.
void AddEntry(int folder, const char* name, ListOp* op) {
  struct stat attributes;
  // Follows symbolic links: people link data sets together and expect to see the target. A link
  // that leads nowhere, sockets, pipes and devices are left out.
  if (const int err = FreshStat(folder, name, &attributes); err != 0) {
    // Gone meanwhile: no name. Whatever else stands in the way, the name is there, and who asks for it is
    // told why it cannot be had; it must never count as absent because it is not on the list.
    if (err != ENOENT || fstatat(folder, name, &attributes, AT_SYMLINK_NOFOLLOW) == 0) {
      ++op->skipped;
    }
    return;
  }
  if (!IsServed(attributes)) {
    ++op->skipped;
    return;
  }
  ObjectInfo& info = op->entries.emplace_back();
  info.name = name;
  FillInfo(attributes, &info);
}

// Reads entries from where `folder` stands until the page is full or the folder ends. Returns the
// position of the next page, -1 at the end.
class PageReader {
 public:
  PageReader(int folder, ListOp* op, const std::atomic<bool>& cancelled)
      : folder_(folder), op_(op), cancelled_(cancelled) {}

  Result<std::int64_t> Read() {
    while (true) {
      if (auto wanted = CheckWanted(); !wanted) return std::unexpected(wanted.error());
      const ssize_t size = getdents64(folder_, buffer_.get(), kEntryBufferBytes);
      if (size < 0) return std::unexpected(ErrnoError(errno, "reading a folder"));
      if (size == 0) return -1;
      for (ssize_t at = 0; at < size;) {
        // The kernel writes whole records; each begins aligned.
        const auto* entry = reinterpret_cast<const dirent64*>(buffer_.get() + at);
        at += entry->d_reclen;
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        AddEntry(folder_, entry->d_name, op_);
        if (op_->entries.size() >= limits::kListPageEntries) return entry->d_off;
      }
    }
  }

 private:
  Result<void> CheckWanted() const {
    if (cancelled_.load(std::memory_order_relaxed)) {
      return Fail(Code::kCancelled, "listing a folder");
    }
    if (SystemClock::Get().NowNs() >= op_->deadline_ns) {
      return Fail(Code::kDeadline, "listing a folder", true);
    }
    return {};
  }

  int folder_;
  ListOp* op_;
  const std::atomic<bool>& cancelled_;
  std::unique_ptr<char[]> buffer_ = std::make_unique_for_overwrite<char[]>(kEntryBufferBytes);
};

}  // namespace

FileLister::~FileLister() {
  for (const Cursor& cursor : cursors_) close(cursor.fd);
}

Result<int> FileLister::Take(const std::string& path, std::int64_t position) {
  if (position != 0) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(cursors_.begin(), cursors_.end(), [&](const Cursor& cursor) {
      return cursor.position == position && cursor.path == path;
    });
    if (found != cursors_.end()) {
      const int fd = found->fd;
      cursors_.erase(found);
      if (lseek(fd, position, SEEK_SET) == position) return fd;
      close(fd);
    }
  }
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(ErrnoError(errno, "opening a folder"));
  if (position != 0 && lseek(fd, position, SEEK_SET) != position) {
    const int error = errno;
    close(fd);
    return std::unexpected(ErrnoError(error, "continuing in a folder"));
  }
  return fd;
}

void FileLister::Keep(const std::string& path, std::int64_t position, int fd) {
  const std::lock_guard lock(mutex_);
  cursors_.push_front({path, position, fd});
  if (cursors_.size() > limits::kMaxListCursors) {
    close(cursors_.back().fd);
    cursors_.pop_back();
  }
}

Result<void> FileLister::List(const std::string& path, ListOp* op,
                              const std::atomic<bool>& cancelled) {
  op->entries.clear();
  op->next_marker.clear();
  op->skipped = 0;
  const auto position = ParseMarker(op->marker);
  if (!position) return std::unexpected(position.error());
  const auto folder = Take(path, *position);
  if (!folder) return std::unexpected(folder.error());
  const auto next = PageReader(*folder, op, cancelled).Read();
  if (!next || *next < 0) {
    close(*folder);
    if (!next) return std::unexpected(next.error());
    return {};
  }
  op->next_marker = std::to_string(*next);
  Keep(path, *next, *folder);
  return {};
}

}  // namespace penstock::origin
