#include "transport/file/file_version.h"

#include <fmt/format.h>

#include <algorithm>

#include "transport/base/clock.h"

namespace penstock::origin {
namespace {

std::int64_t ToNs(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * kNsPerSecond + time.tv_nsec;
}

}  // namespace

std::string FileVersion(const struct stat& attributes) {
  return fmt::format("{:x}-{:x}-{:x}-{:x}-{:x}", attributes.st_dev, attributes.st_ino,
                     attributes.st_size, ToNs(attributes.st_mtim), ToNs(attributes.st_ctim));
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         ToNs(a.st_mtim) == ToNs(b.st_mtim) && ToNs(a.st_ctim) == ToNs(b.st_ctim);
}

std::int64_t LastChangeNs(const struct stat& attributes) {
  return std::max(ToNs(attributes.st_mtim), ToNs(attributes.st_ctim));
}

bool IsServed(const struct stat& attributes) {
  return S_ISREG(attributes.st_mode) || S_ISDIR(attributes.st_mode);
}

void FillInfo(const struct stat& attributes, ObjectInfo* info) {
  const bool directory = S_ISDIR(attributes.st_mode);
  info->kind = directory ? ObjectKind::kDirectory : ObjectKind::kFile;
  info->size = directory ? 0 : static_cast<std::uint64_t>(attributes.st_size);
  info->mtime_ns = ToNs(attributes.st_mtim);
  info->version = directory ? std::string() : FileVersion(attributes);
}

}  // namespace penstock::origin
