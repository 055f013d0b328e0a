// Shadow directories: real, empty directories that stand for covered ones, so that the kernel can
// hold them (cwd, dirfds) across vfork, spawn and exec.
//
// They are mode 0555: anybody may enter, and no native call creates anything in them by mistake
// (root apart). Nothing is followed: every component is opened with O_NOFOLLOW below its parent.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::cache {

class ShadowDirectories {
 public:
  ShadowDirectories() = default;
  // `root_fd` is a borrowed descriptor of PST_SHADOW_DIR.
  ShadowDirectories(int root_fd, std::uint32_t max_made) : root_fd_(root_fd), max_made_(max_made) {}

  // See JobFolder::Directory. kInvalid: not a clean relative path; kNameTooLong; kLimit.
  Result<int> Open(std::uint32_t mount_index, std::string_view path, std::uint64_t above = 0);
  std::uint64_t made() const { return made_; }

 private:
  Result<int> OpenOrMake(int parent, const char* name);

  int root_fd_ = -1;
  std::uint32_t max_made_ = 0;
  std::uint64_t made_ = 0;
};

// Removes everything below the folder `fd`, directories and files, without following links or
// leaving the file system; the folder itself stays. Stops at the first thing that cannot be
// removed.
Result<void> RemoveTreeBelow(int fd);

}  // namespace penstock::cache
