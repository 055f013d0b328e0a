// What is learned about names, and forgotten.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/engine/name_paths.h"
#include "cache/engine/name_service.h"
#include "shim/abi/listing.h"

namespace penstock::cache {

const NameEntry* NameService::PutInfo(std::uint32_t mount, std::string path, const origin::ObjectInfo& info,
                                      std::int64_t expires_ns) {
  NameEntry entry;
  entry.path = std::move(path);
  entry.kind = info.kind == origin::ObjectKind::kDirectory ? PST_KIND_DIRECTORY : PST_KIND_FILE;
  entry.mtime_ns = info.mtime_ns;
  entry.mode = GivenMode(info);
  entry.expires_ns = expires_ns;
  if (entry.kind == PST_KIND_FILE) {
    entry.size = std::min<std::uint64_t>(info.size, PST_MAX_FILE_BYTES);
    entry.token = info.version;
    entry.version = VersionOf(KeyOf(entry.path), info.version);
  }
  return Put(mount, std::move(entry));
}

// A name is absent for as long as that stands which says so.
const NameEntry* NameService::PutAbsent(std::uint32_t mount, const std::string& path, int err,
                                        std::int64_t expires_ns) {
  NameEntry entry;
  entry.path = path;
  entry.kind = PST_KIND_ABSENT;
  entry.err = err;
  entry.expires_ns = expires_ns;
  return Put(mount, std::move(entry));
}

const NameEntry* NameService::Put(std::uint32_t mount, NameEntry entry) {
  const pst_key128 id = KeyOf(entry.path);
  const NameEntry* old = catalog_.Find(mount, id, entry.path);
  const bool same = old != nullptr && old->SameContent(entry);
  const NameEntry* put = catalog_.Put(mount, id, std::move(entry));
  const pst_key key = RecordKey(mount, id);
  if (!same || !tier_->SetExpiry(key, arena_->ExpiresDs(put->expires_ns))) Publish(mount, *put);
  return put;
}

void NameService::Publish(std::uint32_t mount, const NameEntry& entry) {
  const pst_key128 id = KeyOf(entry.path);
  const pst_key key = RecordKey(mount, id);
  alignas(8) std::byte bytes[PST_NAME_RECORD_MAX];
  pst_name_record record{};
  record.magic = PST_NAME_MAGIC;
  record.name_len = static_cast<std::uint32_t>(entry.path.size());
  record.attr = AttrOf(mounts_[mount], mount, entry);
  std::memcpy(bytes, &record, sizeof record);
  std::memcpy(bytes + sizeof record, entry.path.data(), entry.path.size());
  const std::size_t size = sizeof record + entry.path.size();
  const std::uint32_t expires_ds = arena_->ExpiresDs(entry.expires_ns);
  const pst_entry* old = tier_->Find(key);
  if (old == nullptr && ReadersFind(mount, entry, id)) return;
  if (old != nullptr) {
    const std::span<const std::byte> there = tier_->BytesOf(*old);
    if (there.size() == size && std::memcmp(there.data(), bytes, size) == 0) {
      if (old->expires_ds != expires_ds) (void)tier_->SetExpiry(key, expires_ds);
      return;
    }
  }
  // Without room an old answer must not stay: then there is none, and readers ask.
  if (!tier_->PublishRecord(key, std::span(bytes, size), expires_ds)) tier_->Erase(key);
}

// True if a reader learns the same from the parent's listing by itself, for as long.
bool NameService::ReadersFind(std::uint32_t mount, const NameEntry& entry, pst_key128 id) const {
  const std::string_view directory = DirectoryOf(entry.path), name = NameOf(entry.path);
  if (name.empty()) return false;
  pst_listed_name wanted{};
  wanted.ns = PST_NS_FILES | mount;
  wanted.dir = directory.data();
  wanted.dir_len = static_cast<std::uint32_t>(directory.size());
  wanted.name = name.data();
  wanted.name_len = static_cast<std::uint32_t>(name.size());
  wanted.dir_id = KeyOf(directory);
  wanted.id = id;
  pst_listed listed{};
  const pst_view view = arena_->View();
  const int found = pst_listing_lookup(&view, &wanted, &listed);
  if (found == PST_LISTED_UNKNOWN) return false;
  if (listed.expires_ds != 0 && listed.expires_ds < arena_->ExpiresDs(entry.expires_ns)) return false;
  if (found == PST_LISTED_NO) return entry.kind == PST_KIND_ABSENT && entry.err == ENOENT;
  return listed.kind == entry.kind && listed.attr.mtime_ns == entry.mtime_ns &&
         pst_listing_mode(&listed.attr) == entry.mode &&
         (entry.kind == PST_KIND_DIRECTORY ||
          (listed.attr.version == entry.version && pst_listing_size(&listed.attr) == entry.size));
}

// A listing has brought a name: what was known about it alone must not say something else.
void NameService::Supersede(std::uint32_t mount, pst_key128 id, std::uint32_t kind,
                            const pst_listing_attr& attr, std::int64_t expires_ns) {
  const auto same = [&](const auto& known) {
    return known.kind == kind && known.version == attr.version && known.mtime_ns == attr.mtime_ns &&
           (known.mode & PST_MODE_GIVEN ? known.mode : 0) == pst_listing_mode(&attr);
  };
  if (NameEntry* known = catalog_.Peek(mount, id)) {
    if (same(*known)) {
      known->expires_ns = std::max(known->expires_ns, expires_ns);
    } else {
      catalog_.Erase(mount, id);
    }
  }
  const pst_key key = RecordKey(mount, id);
  const pst_entry* record = tier_->Find(key);
  if (record == nullptr) return;
  std::string_view name;
  pst_attr known;
  if (!ParseNameRecord(tier_->BytesOf(*record), &name, &known) ||
      !same(known)) {
    tier_->Erase(key);
  }
}

// ---- Forgetting ----

void NameService::Forget(std::uint32_t mount, const std::string& path) {
  const pst_key128 id = KeyOf(path);
  catalog_.Erase(mount, id);
  tier_->Erase(RecordKey(mount, id));
  listings_.Doubt({mount, DirectoryOf(path), NameOf(path), id});
}

void NameService::ForgetBelow(std::uint32_t mount, std::string_view path) {
  catalog_.EraseBelow(mount, path);
  walks_.Forget(mount, path);
  StartOver(mount, path);
  by_name_.clear();
  listings_.Forget(mount, path);
  const std::uint32_t ns = PST_NS_FILES | mount;
  tier_->EraseRecords([&](const pst_key& key, std::span<const std::byte> bytes) {
    std::string_view name;
    pst_attr attr;
    return key.ns == ns && key.range == PST_RANGE_NAME && ParseNameRecord(bytes, &name, &attr) &&
           IsBelow(name, path);
  });
}

}  // namespace penstock::cache
