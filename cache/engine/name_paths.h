// Paths and keys of names, for the parts of the name service.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "shim/abi/key.h"
#include "shim/abi/record.h"
#include "transport/origin/origin.h"

namespace penstock::cache {

// "a/b/c" is "a/b" and "c".
inline std::string_view DirectoryOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}
inline std::string_view NameOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}
inline std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty()) path += '/';
  return path.append(name);
}

// The mode as shared memory has it; 0: the origin has none.
inline std::uint32_t GivenMode(const origin::ObjectInfo& info) {
  return info.has_mode ? PST_MODE_GIVEN | (info.mode & 0777u) : 0;
}

inline pst_key RecordKey(std::uint32_t mount, pst_key128 id) {
  return {id, 0, PST_NS_FILES | mount, PST_RANGE_NAME};
}

inline bool ParseNameRecord(std::span<const std::byte> bytes, std::string_view* path, pst_attr* attr) {
  pst_name_record record;
  if (bytes.size() < sizeof record) return false;
  std::memcpy(&record, bytes.data(), sizeof record);
  if (record.magic != PST_NAME_MAGIC || record.name_len > bytes.size() - sizeof record) return false;
  *path = {reinterpret_cast<const char*>(bytes.data()) + sizeof record, record.name_len};
  *attr = record.attr;
  return true;
}

}  // namespace penstock::cache
