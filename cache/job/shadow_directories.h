// Shadow directories: real, empty directories that stand for covered ones, so that the kernel can
// hold them (cwd, dirfds) across vfork, spawn and exec.
//
// They are mode 0555: anybody may enter, and no native call creates anything in them by mistake
// (root apart). Nothing is followed: every component is opened with O_NOFOLLOW below its parent.
//
// They are given back: beyond the limit those that were handed out longest ago and have nothing below them
// are removed. Who stands in such a one keeps it as the kernel keeps any removed directory.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "transport/base/result.h"

namespace penstock::cache {

class ShadowDirectories {
 public:
  ShadowDirectories() = default;
  // `root_fd` is a borrowed descriptor of PST_SHADOW_DIR.
  ShadowDirectories(int root_fd, std::uint32_t max_made) : root_fd_(root_fd), max_made_(max_made) {}

  // See JobFolder::Directory. kInvalid: not a clean relative path; kNameTooLong.
  Result<int> Open(std::uint32_t mount_index, std::string_view path, std::uint64_t above = 0);
  std::uint64_t count() const { return used_.size(); }

 private:
  Result<int> OpenOrMake(int parent, const char* name, bool* made);
  void Used(const std::string& place, bool made);
  void MakeRoom(const std::string& keep, std::size_t looks);
  bool Remove(const std::string& place);
  bool TooMany() const {
    return used_.size() > max_made_ || used_bytes_ > kPlaceBytes * static_cast<std::uint64_t>(max_made_);
  }

  int root_fd_ = -1;
  static constexpr std::uint64_t kPlaceBytes = 128;  // what a path has room for, on the average

  std::uint32_t max_made_ = 0;
  std::uint64_t used_bytes_ = 0;
  std::list<std::string> used_;  // "<mount>/<path>" of those made here; the one used last in front
  std::unordered_map<std::string_view, std::list<std::string>::iterator> at_;
};

// Removes everything below the folder `fd`, directories and files, without following links or
// leaving the file system; the folder itself stays. Stops at the first thing that cannot be
// removed.
Result<void> RemoveTreeBelow(int fd);

}  // namespace penstock::cache
