#include "transport/snapshot/manifest.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "transport/base/crc32c.h"
#include "transport/origin/names.h"
#include "transport/snapshot/varint.h"

namespace penstock::snapshot {
namespace {

std::unexpected<Error> Bad(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kCorrupt, "reading a snapshot's manifest");
}
std::unexpected<Error> Changed() {
  return Fail(Code::kCorrupt, "a block of a snapshot's manifest is not what it was");
}

bool TakeMetaText(std::span<const std::byte>* bytes, std::string* text) {
  std::uint64_t length = 0;
  if (!TakeVarint(bytes, &length) || length > bytes->size()) return false;
  text->assign(reinterpret_cast<const char*>(bytes->data()), length);
  *bytes = bytes->subspan(length);
  return true;
}

// The key that a block begins with: stored whole, since nothing comes before it.
std::optional<std::string_view> FirstKey(std::span<const std::byte> entries) {
  std::uint64_t shared = 0;
  std::uint64_t length = 0;
  if (!TakeVarint(&entries, &shared) || shared != 0 || !TakeVarint(&entries, &length) ||
      length > entries.size()) {
    return std::nullopt;
  }
  return std::string_view(reinterpret_cast<const char*>(entries.data()), length);
}

}  // namespace

// Goes through entries from a block on.
class Manifest::Cursor {
 public:
  Cursor(const Manifest* manifest, std::uint64_t block) : manifest_(manifest), next_(block) {}

  // False at the end, or where a block is bad: bad() tells.
  bool Next() {
    while (left_ == 0) {
      if (next_ >= manifest_->foot_.blocks) return false;
      const auto block = manifest_->BlockAt(next_++, true);
      if (!block) return Fail();
      entries_ = block->entries;
      left_ = block->count;
      before_ = {};
    }
    if (!TakeEntry(&entries_, &before_, &info)) return Fail();
    if (--left_ == 0 && !entries_.empty()) return Fail();
    return true;
  }
  bool bad() const { return bad_; }
  const std::string& key() const { return before_.key; }

  origin::ObjectInfo info;

 private:
  bool Fail() {
    bad_ = true;
    return false;
  }

  const Manifest* manifest_;
  std::uint64_t next_;
  std::span<const std::byte> entries_;
  std::uint32_t left_ = 0;
  Before before_;
  bool bad_ = false;
};

Result<Manifest> Manifest::Open(std::span<const std::byte> bytes, std::string* explanation) {
  Manifest manifest;
  manifest.bytes_ = bytes;
  if (auto read = manifest.ReadFoot(explanation); !read) return std::unexpected(read.error());
  if (auto checked = manifest.CheckAll(explanation); !checked) {
    return std::unexpected(checked.error());
  }
  return manifest;
}

Result<void> Manifest::ReadFoot(std::string* explanation) {
  Head head;
  if (bytes_.size() < sizeof head + sizeof foot_ ||
      std::memcmp(bytes_.data(), kHeadMagic, sizeof kHeadMagic) != 0) {
    return Bad(explanation, "it is no snapshot's manifest, or its beginning is missing");
  }
  std::memcpy(&head, bytes_.data(), sizeof head);
  if (head.format != kFormat) {
    return Bad(explanation,
               fmt::format("its format is {}, and this version reads {}", head.format, kFormat));
  }
  const std::uint64_t foot_at = bytes_.size() - sizeof foot_;
  std::memcpy(&foot_, bytes_.data() + foot_at, sizeof foot_);
  if (std::memcmp(foot_.magic, kFootMagic, sizeof kFootMagic) != 0) {
    return Bad(explanation, "it is cut off: its end is missing");
  }
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size() - kDigestBytes,
         digest.data());
  if (digest != foot_.digest) {
    return Bad(explanation, "its bytes do not match its digest: it was damaged or changed");
  }
  const std::uint64_t index_bytes = foot_at - std::min(foot_.index_at, foot_at);
  const bool placed = foot_.index_at >= sizeof head && foot_.blocks <= index_bytes / 8 &&
                      foot_.meta_at == foot_.index_at + 8 * foot_.blocks &&
                      foot_.meta_bytes == foot_at - foot_.meta_at &&
                      foot_.meta_bytes <= kMetaMaxBytes;
  std::span<const std::byte> meta;
  if (placed) meta = bytes_.subspan(foot_.meta_at, foot_.meta_bytes);
  if (!placed || !TakeMetaText(&meta, &info_.origin) || !TakeMetaText(&meta, &info_.writer)) {
    return Bad(explanation, "its parts do not lie where its end says");
  }
  info_.created_ns = foot_.created_ns;
  info_.files = foot_.files;
  info_.directories = foot_.directories;
  info_.bytes = foot_.bytes;
  info_.manifest_bytes = bytes_.size();
  info_.digest = HexDigest(foot_.digest);
  return {};
}

Result<void> Manifest::CheckAll(std::string* explanation) {
  std::uint64_t expected_at = sizeof(Head);
  for (std::uint64_t block = 0; block < foot_.blocks; ++block) {
    const auto read = OffsetOf(block) == expected_at ? BlockAt(block, false) : std::nullopt;
    const auto first = read ? FirstKey(read->entries) : std::nullopt;
    if (!first) return Bad(explanation, fmt::format("its block {} is bad", block));
    if (block % kSampleBlocks == 0) samples_.emplace_back(*first);
    expected_at += sizeof(BlockHead) + read->entries.size();
  }
  if (expected_at != foot_.index_at) return Bad(explanation, "its blocks end in the wrong place");
  Cursor cursor(this, 0);
  std::string last;
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t bytes = 0;
  while (cursor.Next()) {
    const std::string_view key = cursor.key();
    const std::size_t nul = key.find('\0');
    if (key <= last || !origin::CheckName(key.substr(0, nul))) {
      return Bad(explanation, "its names are not in order");
    }
    last = key;
    ++(cursor.info.kind == origin::ObjectKind::kDirectory ? directories : files);
    bytes += cursor.info.size;
  }
  if (cursor.bad()) return Bad(explanation, "an entry of it makes no sense");
  if (files != foot_.files || directories != foot_.directories || bytes != foot_.bytes) {
    return Bad(explanation, "its names are not as many as its end says");
  }
  return {};
}

std::uint64_t Manifest::OffsetOf(std::uint64_t block) const {
  std::uint64_t offset = 0;
  std::memcpy(&offset, bytes_.data() + foot_.index_at + 8 * block, sizeof offset);
  return offset;
}

std::optional<Manifest::Block> Manifest::BlockAt(std::uint64_t block, bool check) const {
  const std::uint64_t at = OffsetOf(block);
  BlockHead head;
  if (at < sizeof(Head) || at > foot_.index_at || foot_.index_at - at < sizeof head) {
    return std::nullopt;
  }
  std::memcpy(&head, bytes_.data() + at, sizeof head);
  if (head.bytes > kBlockMaxBytes || head.bytes > foot_.index_at - at - sizeof head ||
      head.count == 0) {
    return std::nullopt;
  }
  const Block read{bytes_.subspan(at + sizeof head, head.bytes), head.count};
  if (check && Crc32c(read.entries) != head.crc) return std::nullopt;
  return read;
}

std::optional<std::uint64_t> Manifest::BlockFor(std::string_view key) const {
  const auto after = std::upper_bound(samples_.begin(), samples_.end(), key);
  const auto sample = static_cast<std::uint64_t>(after - samples_.begin());
  std::uint64_t low = sample == 0 ? 0 : (sample - 1) * kSampleBlocks;
  std::uint64_t high = std::min(foot_.blocks, low + kSampleBlocks);
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    const auto block = BlockAt(middle, false);
    const auto first = block ? FirstKey(block->entries) : std::nullopt;
    if (!first) return std::nullopt;
    (*first <= key ? low : high) = middle;
  }
  return low;
}

Result<std::optional<origin::ObjectInfo>> Manifest::Find(std::string_view path) const {
  if (path.empty()) {
    origin::ObjectInfo root;
    root.kind = origin::ObjectKind::kDirectory;
    root.mtime_ns = info_.created_ns;
    return root;
  }
  const std::string key = KeyOfPath(path);
  const auto block = BlockFor(key);
  if (!block) return Changed();
  Cursor cursor(this, *block);
  while (cursor.Next()) {
    if (cursor.key() < key) continue;
    if (cursor.key() != key) return std::nullopt;
    cursor.info.name = path;
    return std::move(cursor.info);
  }
  if (cursor.bad()) return Changed();
  return std::nullopt;
}

Result<std::vector<origin::ObjectInfo>> Manifest::List(std::string_view directory,
                                                       std::string_view after, std::size_t most,
                                                       bool* more) const {
  *more = false;
  std::vector<origin::ObjectInfo> children;
  const std::string first = KeyOf(directory, after);
  const std::string_view prefix = std::string_view(first).substr(0, directory.size() + 1);
  const auto block = BlockFor(first);
  if (!block) return Changed();
  Cursor cursor(this, *block);
  while (cursor.Next()) {
    if (cursor.key() <= first) continue;
    if (!cursor.key().starts_with(prefix)) break;
    if (children.size() == most) {
      *more = true;
      break;
    }
    children.push_back(cursor.info);
  }
  if (cursor.bad()) return Changed();
  if (!children.empty() || !after.empty()) return children;
  const auto what = Find(directory);
  if (!what) return std::unexpected(what.error());
  if (!*what) return Fail(Code::kNotFound, "listing a name that a snapshot does not have");
  if ((*what)->kind == origin::ObjectKind::kFile) {
    return Fail(Code::kNotDirectory, "listing a file of a snapshot");
  }
  return children;
}

}  // namespace penstock::snapshot
