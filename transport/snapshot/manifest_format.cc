#include "transport/snapshot/manifest_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/origin/names.h"
#include "transport/snapshot/varint.h"

namespace penstock::snapshot {
namespace {

constexpr std::uint8_t kAllFlags =
    kIsDirectory | kHasTime | kTimeInSeconds | kHexVersion | kTextVersion;

std::int64_t Difference(std::int64_t a, std::int64_t b) {  // wraps, and Sum() brings it back
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
std::int64_t Sum(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

bool TakeText(std::span<const std::byte>* bytes, std::uint64_t length, std::string* text) {
  if (length > bytes->size()) return false;
  text->assign(reinterpret_cast<const char*>(bytes->data()), length);
  *bytes = bytes->subspan(length);
  return true;
}

bool TakeKey(std::span<const std::byte>* bytes, std::string* key) {
  std::uint64_t shared = 0;
  std::uint64_t more = 0;
  if (!TakeVarint(bytes, &shared) || !TakeVarint(bytes, &more)) return false;
  if (shared > key->size() || more > bytes->size()) return false;
  if (shared + more > limits::kMaxNameBytes + 1) return false;
  key->resize(shared);
  key->append(reinterpret_cast<const char*>(bytes->data()), more);
  *bytes = bytes->subspan(more);
  return true;
}

bool TakeTime(std::span<const std::byte>* bytes, std::uint8_t flags, Before* before,
              std::int64_t* time_ns) {
  *time_ns = 0;
  if ((flags & kHasTime) == 0) return (flags & kTimeInSeconds) == 0;
  std::uint64_t coded = 0;
  if (!TakeVarint(bytes, &coded)) return false;
  if ((flags & kTimeInSeconds) == 0) {
    *time_ns = Sum(before->time_ns, UnZigZag(coded));
  } else {
    const std::int64_t seconds = Sum(before->time_ns / kNsPerSecond, UnZigZag(coded));
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / kNsPerSecond;
    if (seconds > kMost || seconds < -kMost) return false;
    *time_ns = seconds * kNsPerSecond;
  }
  before->time_ns = *time_ns;
  return true;
}

bool TakeVersion(std::span<const std::byte>* bytes, std::uint8_t flags, Before* before,
                 std::string* version) {
  version->clear();
  std::uint64_t coded = 0;
  if ((flags & kHexVersion) != 0) {
    if (!TakeVarint(bytes, &coded)) return false;
    before->version += static_cast<std::uint64_t>(UnZigZag(coded));
    *version = FormatHexVersion(before->version);
    return true;
  }
  if ((flags & kTextVersion) == 0) return true;
  return TakeVarint(bytes, &coded) && coded > 0 && coded <= kVersionMaxBytes &&
         TakeText(bytes, coded, version);
}

}  // namespace

std::string KeyOf(std::string_view directory, std::string_view name) {
  std::string key;
  key.reserve(directory.size() + 1 + name.size());
  key.append(directory).append(1, '\0').append(name);
  return key;
}

std::string KeyOfPath(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return KeyOf("", path);
  return KeyOf(path.substr(0, slash), path.substr(slash + 1));
}

bool ParseHexVersion(std::string_view version, std::uint64_t* value) {
  if (!version.starts_with("0x") || version.size() < 3 || version.size() > 18) return false;
  const char* end = version.data() + version.size();
  const auto parsed = std::from_chars(version.data() + 2, end, *value, 16);
  return parsed.ec == std::errc() && parsed.ptr == end && FormatHexVersion(*value) == version;
}

std::string FormatHexVersion(std::uint64_t value) { return fmt::format("0x{:X}", value); }

void AppendEntry(std::string_view key, const origin::ObjectInfo& info, Before* before,
                 std::string* out) {
  const auto ends = std::mismatch(key.begin(), key.end(), before->key.begin(), before->key.end());
  const auto shared = static_cast<std::size_t>(ends.first - key.begin());
  AppendVarint(shared, out);
  AppendVarint(key.size() - shared, out);
  out->append(key.substr(shared));
  before->key = key;

  std::uint8_t flags = 0;
  const bool directory = info.kind == origin::ObjectKind::kDirectory;
  std::uint64_t version = 0;
  if (directory) flags |= kIsDirectory;
  if (info.mtime_ns != 0) {
    flags |= kHasTime;
    if (info.mtime_ns % kNsPerSecond == 0) flags |= kTimeInSeconds;
  }
  if (!directory && !info.version.empty()) {
    flags |= ParseHexVersion(info.version, &version) ? kHexVersion : kTextVersion;
  }
  out->push_back(static_cast<char>(flags));
  if ((flags & kTimeInSeconds) != 0) {
    const std::int64_t seconds = info.mtime_ns / kNsPerSecond;
    AppendVarint(ZigZag(Difference(seconds, before->time_ns / kNsPerSecond)), out);
  } else if ((flags & kHasTime) != 0) {
    AppendVarint(ZigZag(Difference(info.mtime_ns, before->time_ns)), out);
  }
  if (info.mtime_ns != 0) before->time_ns = info.mtime_ns;
  if (directory) return;
  AppendVarint(info.size, out);
  if ((flags & kHexVersion) != 0) {
    AppendVarint(ZigZag(static_cast<std::int64_t>(version - before->version)), out);
    before->version = version;
  } else if ((flags & kTextVersion) != 0) {
    AppendVarint(info.version.size(), out);
    out->append(info.version);
  }
}

bool TakeEntry(std::span<const std::byte>* bytes, Before* before, origin::ObjectInfo* info) {
  if (!TakeKey(bytes, &before->key) || bytes->empty()) return false;
  const std::size_t nul = before->key.find('\0');
  if (nul == std::string::npos) return false;
  const std::string_view name = std::string_view(before->key).substr(nul + 1);
  if (!origin::IsPathComponent(name)) return false;
  const auto flags = static_cast<std::uint8_t>(bytes->front());
  *bytes = bytes->subspan(1);
  if ((flags & ~kAllFlags) != 0) return false;
  if (!TakeTime(bytes, flags, before, &info->mtime_ns)) return false;
  info->name = name;
  if ((flags & kIsDirectory) != 0) {
    info->kind = origin::ObjectKind::kDirectory;
    info->size = 0;
    info->version.clear();
    return (flags & (kHexVersion | kTextVersion)) == 0;
  }
  info->kind = origin::ObjectKind::kFile;
  return TakeVarint(bytes, &info->size) && TakeVersion(bytes, flags, before, &info->version);
}

std::string HexDigest(const Digest& digest) {
  std::string text;
  for (const std::uint8_t byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace penstock::snapshot
