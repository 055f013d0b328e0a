#include "cache/object/object_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>

#include "cache/job/fd.h"
#include "cache/object/object_meta.h"
#include "shim/abi/abi.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

using Complain = std::function<void(const std::string&)>;

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir.get())) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

bool ReadAt(int fd, std::uint64_t offset, std::byte* to, std::size_t count) {
  return ::pread(fd, to, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count);
}

void CheckRanges(const std::string& path, const ObjectHeader& header, int data, int meta,
                 ObjectCheck* check, const Complain& complain) {
  std::vector<std::byte> bytes(PST_RANGE_BYTES);
  const std::uint64_t ranges = (header.size + PST_RANGE_BYTES - 1) / PST_RANGE_BYTES;
  for (std::uint64_t range = 0; range < ranges; ++range) {
    std::byte record[kMetaRecordBytes];
    if (!ReadAt(meta, MetaRecordOffset(range), record, sizeof record)) break;  // none from here on
    const auto crc = DecodeRecord(header.key, range, record);
    if (!crc) continue;
    const std::uint64_t at = range * PST_RANGE_BYTES;
    const std::size_t count = std::min<std::uint64_t>(PST_RANGE_BYTES, header.size - at);
    if (ReadAt(data, at, bytes.data(), count) && Crc32c(std::span(bytes).first(count)) == *crc) {
      ++check->ranges;
      check->bytes += count;
      continue;
    }
    ++check->bad_ranges;
    complain(fmt::format("{}: range {} does not match its checksum", path, range));
  }
}

void CheckObject(const std::string& path, const ObjectKey& key, ObjectCheck* check,
                 const Complain& complain) {
  ++check->objects;
  const Fd data(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  const Fd meta(::open((path + kMetaSuffix).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  std::byte block[kMetaHeaderBytes];
  struct stat st;
  const bool readable = data.valid() && meta.valid() &&
                        ReadAt(meta.get(), 0, block, sizeof block) && ::fstat(data.get(), &st) == 0;
  const auto header = readable ? DecodeHeader(block) : std::nullopt;
  if (!header || !(header->key == key) || st.st_size != static_cast<off_t>(header->size)) {
    ++check->bad_objects;
    complain(fmt::format("{}: its .meta does not verify", path));
    return;
  }
  CheckRanges(path, *header, data.get(), meta.get(), check, complain);
}

}  // namespace

std::vector<std::string> ObjectFolders(const std::string& cache_dir) {
  std::vector<std::string> folders;
  for (const std::string& name : NamesIn(cache_dir)) {
    if (name == "objects" || name.starts_with("objects."))
      folders.push_back(cache_dir + "/" + name);
  }
  return folders;
}

ObjectCheck CheckObjects(const std::string& folder, const Complain& complain) {
  ObjectCheck check;
  for (unsigned number = 0; number <= 0xff; ++number) {
    const std::string sub = fmt::format("{}/{:02x}", folder, number);
    for (const std::string& name : NamesIn(sub)) {
      if (const auto key = ParseObjectFileName(name))
        CheckObject(sub + "/" + name, *key, &check, complain);
    }
  }
  return check;
}

}  // namespace penstock::cache
