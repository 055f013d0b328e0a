#include "cache/job/shadow_directories.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache/job/fd.h"
#include "shim/abi/abi.h"
#include "shim/abi/open_file.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kMaxComponent = 255;
constexpr int kOpenFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kMade = 0755, kResting = 0555;
constexpr std::size_t kRoomLooks = 16;  // at the oldest, for each that is handed out

Result<void> CheckPath(std::string_view path) {
  if (path.size() >= PST_PATH_MAX) return Fail(Code::kNameTooLong, "a directory's path");
  if (path.find('\0') != path.npos) return Fail(Code::kInvalid, "a directory's path");
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..")
      return Fail(Code::kInvalid, "a directory's path");
    if (part.size() > kMaxComponent) return Fail(Code::kNameTooLong, "a directory's name");
    if (slash == path.npos) return {};
    path.remove_prefix(slash + 1);
    if (path.empty()) return Fail(Code::kInvalid, "a directory's path");
  }
  return {};
}

}  // namespace

Result<int> ShadowDirectories::OpenOrMake(int parent, const char* name, bool* made) {
  int fd = ::openat(parent, name, kOpenFlags);
  if (fd >= 0 || errno != ENOENT) {
    if (fd >= 0) return fd;
    return std::unexpected(ErrnoError(errno, "opening a shadow directory"));
  }
  // The owner, too, may write only for this moment.
  const bool resting = parent != root_fd_;
  if (resting && ::fchmod(parent, kMade) != 0)
    return std::unexpected(ErrnoError(errno, "opening a shadow directory for change"));
  const int rc = ::mkdirat(parent, name, kMade);
  const int saved = errno;
  if (resting) (void)::fchmod(parent, kResting);
  if (rc != 0 && saved != EEXIST)
    return std::unexpected(ErrnoError(saved, "making a shadow directory"));
  *made = rc == 0;
  fd = ::openat(parent, name, kOpenFlags);
  if (fd < 0) return std::unexpected(ErrnoError(errno, "opening a shadow directory"));
  (void)::fchmod(fd, kResting);
  return fd;
}

Result<int> ShadowDirectories::Open(std::uint32_t mount_index, std::string_view path,
                                    std::uint64_t above) {
  if (mount_index >= PST_MAX_MOUNTS) return Fail(Code::kInvalid, "a mount's number");
  if (auto ok = CheckPath(path); !ok) return std::unexpected(ok.error());
  char name[kMaxComponent + 1];
  char* end = std::to_chars(name, name + sizeof name - 1, mount_index).ptr;
  if (above > 0) {
    if (!path.empty() || above > PST_MOUNT_PATH_MAX) return Fail(Code::kInvalid, "a folder above a mount");
    *end++ = PST_SHADOW_ABOVE;
    end = std::to_chars(end, name + sizeof name - 1, above).ptr;
  }
  *end = '\0';
  bool made = false;
  auto first = OpenOrMake(root_fd_, name, &made);
  if (!first) return first;
  std::string place = name;
  std::vector<std::pair<std::size_t, bool>> parts = {{place.size(), made}};
  Fd at(*first);
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    std::memcpy(name, part.data(), part.size());
    name[part.size()] = '\0';
    made = false;
    auto next = OpenOrMake(at.get(), name, &made);
    if (!next) return next;
    place.append(1, '/').append(part);
    parts.emplace_back(place.size(), made);
    at.Reset(*next);
    path.remove_prefix(std::min(path.size(), part.size() + 1));
  }
  // From the last one up: one that is above another is younger than it, and goes after it.
  for (auto part = parts.rbegin(); part != parts.rend(); ++part)
    Used(place.substr(0, part->first), part->second);
  MakeRoom(place, kRoomLooks + 2 * parts.size());
  return at.Take();
}

void ShadowDirectories::Used(const std::string& place, bool made) {
  const auto known = at_.find(place);
  if (known != at_.end()) return used_.splice(used_.begin(), used_, known->second);
  if (!made) return;  // of an earlier start; it goes with the job
  used_.push_front(place);
  at_.emplace(used_.front(), used_.begin());
  used_bytes_ += place.size();
}

void ShadowDirectories::MakeRoom(const std::string& keep, std::size_t looks) {
  for (; TooMany() && looks > 0; --looks) {
    const auto oldest = std::prev(used_.end());
    const bool above = keep.starts_with(*oldest);
    if (!above && Remove(*oldest)) {
      used_bytes_ -= oldest->size();
      at_.erase(*oldest);
      used_.erase(oldest);
    } else {
      used_.splice(used_.begin(), used_, oldest);
    }
  }
}

// True if it is gone.
bool ShadowDirectories::Remove(const std::string& place) {
  const std::size_t slash = place.rfind('/');
  if (slash == std::string::npos) {  // a mount's own, or of a folder above one
    return place.find(PST_SHADOW_ABOVE) != std::string::npos &&
           (::unlinkat(root_fd_, place.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT);
  }
  const Fd parent(::openat(root_fd_, place.substr(0, slash).c_str(), kOpenFlags));
  if (!parent.valid()) return errno == ENOENT;
  if (::fchmod(parent.get(), kMade) != 0) return false;
  const bool gone =
      ::unlinkat(parent.get(), place.c_str() + slash + 1, AT_REMOVEDIR) == 0 || errno == ENOENT;
  (void)::fchmod(parent.get(), kResting);
  return gone;
}

namespace {

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// Unlinks the files of a directory; gives the name of one subdirectory, "" if there is none left.
Result<std::string> EmptyOfFiles(int fd) {
  (void)::fchmod(fd, 0700);
  const int again = ::openat(fd, ".", kOpenFlags);
  std::unique_ptr<DIR, DirCloser> dir(again < 0 ? nullptr : ::fdopendir(again));
  if (!dir) return std::unexpected(ErrnoError(errno, "listing a folder of the job"));
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) return std::string();
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    if (::unlinkat(fd, entry->d_name, 0) == 0) continue;
    if (::unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0) continue;
    if (errno != ENOTEMPTY && errno != EEXIST)
      return std::unexpected(ErrnoError(errno, "removing from a folder of the job"));
    return std::string(entry->d_name);
  }
}

}  // namespace

// Goes down and up by "..", so that a tree thousands of levels deep needs two descriptors. The tree
// is ours alone to change.
Result<void> RemoveTreeBelow(int fd) {
  Fd at(::openat(fd, ".", kOpenFlags));
  if (!at.valid()) return std::unexpected(ErrnoError(errno, "opening a folder of the job"));
  std::vector<std::string> names;
  for (;;) {
    auto below = EmptyOfFiles(at.get());
    if (!below) return std::unexpected(below.error());
    if (!below->empty()) {
      const int next = ::openat(at.get(), below->c_str(), kOpenFlags | O_NONBLOCK);
      if (next < 0) return std::unexpected(ErrnoError(errno, "entering a folder of the job"));
      at.Reset(next);
      names.push_back(std::move(*below));
      continue;
    }
    if (names.empty()) return {};
    const int up = ::openat(at.get(), "..", kOpenFlags);
    if (up < 0) return std::unexpected(ErrnoError(errno, "leaving a folder of the job"));
    at.Reset(up);
    if (::unlinkat(at.get(), names.back().c_str(), AT_REMOVEDIR) != 0)
      return std::unexpected(ErrnoError(errno, "removing a folder of the job"));
    names.pop_back();
  }
}

}  // namespace penstock::cache
