#include "transport/file/file_version.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>

#include "transport/base/clock.h"

namespace penstock::origin {
namespace {

std::int64_t ToNs(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * kNsPerSecond + time.tv_nsec;
}

timespec ToTimespec(const statx_timestamp& time) {
  return {time.tv_sec, static_cast<long>(time.tv_nsec)};
}

}  // namespace

int FreshStat(int folder, const char* path, struct stat* attributes) {
  struct statx found;
  const int flags = AT_STATX_FORCE_SYNC | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (statx(folder, path, flags, STATX_BASIC_STATS, &found) != 0) {
    // A sandbox without statx says one of these.
    if (errno != ENOSYS && errno != EINVAL && errno != EPERM) return errno;
    const int rc = *path == '\0' ? fstat(folder, attributes) : fstatat(folder, path, attributes, 0);
    return rc == 0 ? 0 : errno;
  }
  *attributes = {};
  attributes->st_dev = makedev(found.stx_dev_major, found.stx_dev_minor);
  attributes->st_ino = found.stx_ino;
  attributes->st_mode = found.stx_mode;
  attributes->st_nlink = found.stx_nlink;
  attributes->st_uid = found.stx_uid;
  attributes->st_gid = found.stx_gid;
  attributes->st_size = static_cast<off_t>(found.stx_size);
  attributes->st_mtim = ToTimespec(found.stx_mtime);
  attributes->st_ctim = ToTimespec(found.stx_ctime);
  return 0;
}

std::string FileVersion(const struct stat& attributes) {
  return fmt::format("{:x}-{:x}-{:x}-{:x}-{:x}", attributes.st_dev, attributes.st_ino,
                     attributes.st_size, ToNs(attributes.st_mtim), ToNs(attributes.st_ctim));
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         ToNs(a.st_mtim) == ToNs(b.st_mtim) && ToNs(a.st_ctim) == ToNs(b.st_ctim);
}

std::int64_t TickLeftNs(const struct stat& attributes, std::int64_t wall_ns, std::int64_t tick_ns,
                        bool waited) {
  const std::int64_t mtime_ns = ToNs(attributes.st_mtim);
  const std::int64_t ctime_ns = ToNs(attributes.st_ctim);
  // Anybody may set an mtime ahead; a change now would set both times to now.
  const std::int64_t changed_ns = mtime_ns > wall_ns ? ctime_ns : std::max(mtime_ns, ctime_ns);
  const std::int64_t age_ns = wall_ns - changed_ns;
  if (age_ns >= tick_ns) return 0;
  if (age_ns >= 0) return tick_ns - age_ns;
  return waited ? 0 : tick_ns;
}

bool IsServed(const struct stat& attributes) {
  return S_ISREG(attributes.st_mode) || S_ISDIR(attributes.st_mode);
}

void FillInfo(const struct stat& attributes, ObjectInfo* info) {
  const bool directory = S_ISDIR(attributes.st_mode);
  info->kind = directory ? ObjectKind::kDirectory : ObjectKind::kFile;
  info->size = directory ? 0 : static_cast<std::uint64_t>(attributes.st_size);
  info->mtime_ns = ToNs(attributes.st_mtim);
  info->has_mode = true;
  info->mode = attributes.st_mode & 0777;
  info->version = directory ? std::string() : FileVersion(attributes);
}

}  // namespace penstock::origin
