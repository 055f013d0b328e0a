#include "cache/engine/name_service.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/base/loop.h"
#include "cache/engine/name_paths.h"
#include "shim/abi/listing.h"
#include "transport/base/limits.h"

namespace penstock::cache {
namespace {

// What lists ahead may fill half of the room for names (an entry and what is known about it).
constexpr std::uint64_t kAheadNameBytes = 2 * 96;
constexpr std::size_t kMaxByName = 4096;
constexpr std::size_t kMaxAbandoned = 16;

}  // namespace

NameService::NameService(const std::vector<Mount>* mounts, Arena* arena, MemoryTier* tier,
                         OriginCalls* calls, const EngineOptions& options)
    : mounts_(*mounts),
      arena_(arena),
      tier_(tier),
      calls_(calls),
      max_questions_(options.max_questions),
      max_waiters_(options.max_waiters),
      catalog_(options.catalog_bytes),
      listings_(arena, tier, options.spool_folder),
      walks_(mounts, calls, this, tier->HeadroomBytes(DataClass::kRecord) / kAheadNameBytes) {}

std::int64_t NameService::TtlFromNow(std::uint32_t mount) const {
  const std::int64_t ttl_ns = mounts_[mount].metadata_ttl_ns;
  const std::int64_t now_ns = MonotonicNs();
  return ttl_ns >= INT64_MAX - now_ns ? INT64_MAX : now_ns + std::max<std::int64_t>(ttl_ns, 0);
}

std::int64_t NameService::Deadline(std::uint32_t mount) const {
  return MonotonicNs() + mounts_[mount].deadline_ns;
}

void NameService::SetByName(const CatalogKey& key, std::int64_t expires_ns) {
  if (by_name_.size() >= kMaxByName && !by_name_.contains(key)) by_name_.clear();
  by_name_[key] = expires_ns;
}

// ---- What is known ----

// What the parent's listing says; fills the entry for kThere, and its expiry for kAbsent.
Listings::Answer NameService::InListing(std::uint32_t mount, const std::string& path, pst_key128 id,
                                        NameEntry* entry) {
  const Listings::Name name{mount, DirectoryOf(path), NameOf(path), id};
  if (name.name.empty()) return Listings::Answer::kUnlisted;
  pst_listed listed;
  const Listings::Answer answer = listings_.Find(name, &listed, &entry->expires_ns);
  if (answer != Listings::Answer::kThere) return answer;
  entry->path = path;
  entry->kind = listed.kind;
  entry->mtime_ns = listed.attr.mtime_ns;
  entry->mode = pst_listing_mode(&listed.attr);
  if (listed.kind == PST_KIND_FILE) {
    entry->size = pst_listing_size(&listed.attr);
    entry->version = listed.attr.version;
    entry->token = UnpackToken(listed.attr.token);
  }
  return answer;
}

const NameEntry* NameService::Fresh(std::uint32_t mount, const std::string& path) {
  const pst_key128 id = KeyOf(path);
  const std::int64_t now_ns = MonotonicNs();
  const NameEntry* known = catalog_.Find(mount, id, path);
  if (known != nullptr && known->expires_ns > now_ns) return known;
  NameEntry listed;
  const bool there = InListing(mount, path, id, &listed) == Listings::Answer::kThere;
  return there && listed.expires_ns > now_ns ? catalog_.Put(mount, id, std::move(listed)) : nullptr;
}

const NameEntry* NameService::OfVersion(std::uint32_t mount, const std::string& path, pst_key128 id,
                                        std::uint64_t version) {
  const auto is_it = [version](const NameEntry& entry) {
    return entry.kind == PST_KIND_FILE && entry.version == version;
  };
  if (const NameEntry* entry = catalog_.Find(mount, id, path); entry != nullptr && is_it(*entry)) {
    return entry;
  }
  NameEntry entry;
  if (InListing(mount, path, id, &entry) == Listings::Answer::kThere && is_it(entry)) {
    return catalog_.Put(mount, id, std::move(entry));
  }
  // Pushed out of the catalog; its record may still be there, without the origin's token.
  const pst_entry* record = tier_->Find(RecordKey(mount, id));
  std::string_view name;
  pst_attr attr;
  if (record == nullptr || !ParseNameRecord(tier_->BytesOf(*record), &name, &attr)) return nullptr;
  if (name != path || attr.kind != PST_KIND_FILE || attr.version != version) return nullptr;
  entry = {};
  entry.path = path;
  entry.size = attr.size;
  entry.version = attr.version;
  entry.mtime_ns = attr.mtime_ns;
  entry.mode = (attr.mode & PST_MODE_GIVEN) != 0 ? attr.mode : 0;
  entry.kind = attr.kind;
  return catalog_.Put(mount, id, std::move(entry));
}

bool NameService::ByKey(std::uint32_t mount, pst_key128 id, std::string* path, pst_attr* attr) {
  if (const NameEntry* entry = catalog_.FindKey(mount, id)) {
    *path = entry->path;
    *attr = AttrOf(mounts_[mount], mount, *entry);
    return true;
  }
  const pst_entry* record = tier_->Find(RecordKey(mount, id));
  std::string_view name;
  if (record != nullptr && ParseNameRecord(tier_->BytesOf(*record), &name, attr)) {
    *path = name;
    return true;
  }
  NameEntry entry;
  if (!listings_.PathOf(mount, id, path) ||
      InListing(mount, *path, id, &entry) != Listings::Answer::kThere) {
    return false;
  }
  *attr = AttrOf(mounts_[mount], mount, *catalog_.Put(mount, id, std::move(entry)));
  return true;
}

std::int64_t NameService::NumberOf(std::uint32_t mount, const std::string& directory,
                                   const std::string& name) {
  pst_listed listed;
  std::int64_t expires_ns = 0;
  const Listings::Name wanted{mount, directory, name, KeyOf(JoinPath(directory, name))};
  const Listings::Answer answer = listings_.Find(wanted, &listed, &expires_ns);
  return answer == Listings::Answer::kThere ? static_cast<std::int64_t>(listed.number) : -1;
}

bool NameService::IsUnheardOf(std::uint32_t mount, const std::string& path) {
  if (path.empty() || mounts_[mount].metadata_ttl_ns <= 0) return false;
  const CatalogKey key{mount, KeyOf(path)};
  const std::string parent(DirectoryOf(path));
  const CatalogKey directory{mount, KeyOf(parent)};
  return catalog_.Find(mount, key.id, path) == nullptr && !listings_.Known(mount, parent) &&
         !lists_.contains(directory) && !stats_.contains(key) && !by_name_.contains(directory) &&
         KnownByAncestors(mount, path) == nullptr;
}

const NameEntry* NameService::Learn(std::uint32_t mount, const std::string& path,
                                    const origin::ObjectInfo& info, std::int64_t expires_ns) {
  if (catalog_.Find(mount, KeyOf(path), path) != nullptr) return nullptr;
  if (listings_.Known(mount, DirectoryOf(path))) return nullptr;
  return PutInfo(mount, path, info, expires_ns);
}

pst_attr NameService::AttrOf(const Mount& mount, std::uint32_t mount_index, const NameEntry& entry) {
  pst_attr attr{};
  attr.kind = entry.kind;
  attr.ino = pst_inode(mount_index, KeyOf(entry.path));
  attr.err = entry.kind == PST_KIND_ABSENT ? entry.err : 0;
  if (entry.kind == PST_KIND_ABSENT) return attr;
  const bool directory = entry.kind == PST_KIND_DIRECTORY;
  attr.size = directory ? 0 : entry.size;
  attr.version = directory ? 0 : entry.version;
  attr.mtime_ns = entry.mtime_ns;
  attr.nlink = directory ? 2 : 1;
  attr.mode = pst_shown_mode(entry.kind, entry.mode, mount.writable ? PST_MOUNT_RW : 0);
  return attr;
}

// The nearest ancestor that is known not to be a directory decides without asking anybody.
const NameEntry* NameService::KnownByAncestors(std::uint32_t mount, const std::string& path) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    const NameEntry* above = Fresh(mount, path.substr(0, at));
    if (above == nullptr || above->kind == PST_KIND_DIRECTORY) continue;
    const int err = above->kind == PST_KIND_FILE ? ENOTDIR : above->err;
    return PutAbsent(mount, path, err, above->expires_ns);
  }
  return nullptr;
}

// ---- Asking ----

void NameService::Resolve(std::uint32_t mount, const std::string& path, Asker asker, NameDone done) {
  if (const NameEntry* entry = Fresh(mount, path)) return done(0, entry);
  if (path.empty()) {
    if (mounts_[mount].origin->KnowsRoot()) return AskStat(mount, path, asker, std::move(done));
    return done(0, PutRoot(mount, INT64_MAX));
  }
  if (const NameEntry* entry = KnownByAncestors(mount, path)) return done(0, entry);
  const std::string parent(DirectoryOf(path));
  const std::int64_t now_ns = MonotonicNs();
  const auto by_name = by_name_.find({mount, KeyOf(parent)});
  if (by_name != by_name_.end() && by_name->second > now_ns) {
    return AskStat(mount, path, asker, std::move(done));
  }
  NameEntry listed;
  const Listings::Answer answer = InListing(mount, path, KeyOf(path), &listed);
  if (answer == Listings::Answer::kUnlisted || listed.expires_ns <= now_ns) {
    return AskParent(mount, path, asker, std::move(done));
  }
  const NameEntry* stale = catalog_.Find(mount, KeyOf(path), path);
  if (answer == Listings::Answer::kAbsent && (stale == nullptr || stale->kind == PST_KIND_ABSENT)) {
    return done(0, PutAbsent(mount, path, ENOENT, listed.expires_ns));
  }
  // One answer of the origin brings a lost page back, unless there were many of them.
  const auto head = listings_.Known(mount, parent);
  if (answer == Listings::Answer::kMissing && head && head->count <= limits::kListPageEntries) {
    return AskParent(mount, path, asker, std::move(done));
  }
  AskStat(mount, path, asker, std::move(done));
}

// The mount itself is there, whatever the origin says.
const NameEntry* NameService::PutRoot(std::uint32_t mount, std::int64_t expires_ns) {
  NameEntry root;
  root.kind = PST_KIND_DIRECTORY;
  root.expires_ns = expires_ns;
  return Put(mount, std::move(root));
}

void NameService::AskParent(std::uint32_t mount, const std::string& path, Asker asker, NameDone done) {
  const std::string parent(DirectoryOf(path));
  ListFlight* flight = StartList(mount, parent);
  if (flight == nullptr) return done(EIO, nullptr);
  if (!flight->first_page) return AskStat(mount, path, asker, std::move(done));  // a long one is under way
  const std::int64_t expires_ns = flight->expires_ns;
  places_[asker] = {{mount, KeyOf(parent)}, true};
  flight->first_waiters.emplace(
      asker, [this, mount, path, expires_ns, asker, done = std::move(done)](int err) mutable {
        AfterList(mount, path, err, expires_ns, asker, std::move(done));
      });
}

void NameService::AfterList(std::uint32_t mount, const std::string& path, int err,
                            std::int64_t expires_ns, Asker asker, NameDone done) {
  const std::string parent(DirectoryOf(path));
  if (err == 0) {
    // Whatever its age, so that a ttl of zero ends too.
    const pst_key128 id = KeyOf(path);
    NameEntry listed;
    const Listings::Answer answer = InListing(mount, path, id, &listed);
    if (answer == Listings::Answer::kThere) return done(0, catalog_.Put(mount, id, std::move(listed)));
    if (answer == Listings::Answer::kAbsent) {
      return done(0, PutAbsent(mount, path, ENOENT, listed.expires_ns));
    }
    return AskStat(mount, path, asker, std::move(done));
  }
  if (err == EACCES) {  // may read, may not list
    SetByName({mount, KeyOf(parent)}, expires_ns);
    return AskStat(mount, path, asker, std::move(done));
  }
  if (err != ENOENT && err != ENOTDIR) return done(err, nullptr);
  if (parent.empty()) return done(0, PutAbsent(mount, path, ENOENT, expires_ns));
  // The parent is missing, or a file.
  Resolve(mount, parent, asker, [this, mount, path, expires_ns, done = std::move(done)](
                             int error, const NameEntry* above) mutable {
    if (error != 0) return done(error, nullptr);
    const int absent = above->kind == PST_KIND_FILE     ? ENOTDIR
                       : above->kind == PST_KIND_ABSENT ? above->err
                                                        : ENOENT;
    done(0, PutAbsent(mount, path, absent, std::min(expires_ns, above->expires_ns)));
  });
}

void NameService::AskStat(std::uint32_t mount, const std::string& path, Asker asker, NameDone done) {
  const CatalogKey key{mount, KeyOf(path)};
  if (!MayWait() || !(MayAsk() || stats_.contains(key))) return done(EIO, nullptr);
  const auto [at, fresh] = stats_.try_emplace(key);
  StatFlight* flight = &at->second;
  places_[asker] = {key, false};
  flight->waiters.emplace(asker, std::move(done));
  if (!fresh) return;
  flight->path = path;
  StartStat(key, flight);
}

void NameService::StartStat(const CatalogKey& key, StatFlight* flight) {
  auto call = std::make_unique<StatCall>();
  call->name = flight->path;
  call->deadline_ns = Deadline(key.mount);
  flight->call = call.get();
  flight->serial = ++last_serial_;
  flight->expires_ns = TtlFromNow(key.mount);
  calls_->Start<StatCall>(
      std::move(call), mounts_[key.mount].origin,
      [this, key, serial = flight->serial](StatCall& done) { StatDone(key, serial, done); });
}

void NameService::StatDone(const CatalogKey& key, std::uint64_t serial, StatCall& call) {
  const auto found = stats_.find(key);
  if (found == stats_.end() || found->second.serial != serial) return;
  StatFlight flight = std::move(found->second);
  stats_.erase(found);
  Released(flight.waiters);
  const int err = call.ok() ? 0 : ErrnoOf(call.error);
  const NameEntry* entry = nullptr;
  if (flight.path.empty() && (err != 0 || call.info.kind != origin::ObjectKind::kDirectory)) {
    entry = PutRoot(key.mount, flight.expires_ns);
  } else if (err == 0) {
    entry = PutInfo(key.mount, flight.path, call.info, flight.expires_ns);
  } else if (err == ENOENT || err == ENOTDIR) {
    entry = PutAbsent(key.mount, flight.path, err, flight.expires_ns);
  }
  if (entry == nullptr) {
    for (auto& [asker, waiter] : flight.waiters) waiter(err, nullptr);
    return;
  }
  const NameEntry copy = *entry;  // a waiter may put others
  for (auto& [asker, waiter] : flight.waiters) waiter(0, &copy);
}

// ---- Questions nobody waits for any more, and those that must be asked again ----

void NameService::Leave(Asker asker) {
  const auto place = places_.find(asker);
  if (place == places_.end()) return;
  const CatalogKey key = place->second.key;
  const bool list = place->second.list;
  places_.erase(place);
  if (list) return LeaveList(key, asker);
  const auto found = stats_.find(key);
  if (found == stats_.end()) return;
  found->second.waiters.erase(asker);
  if (!found->second.waiters.empty()) return;
  calls_->Cancel(found->second.call);
  stats_.erase(found);
}

void NameService::LeaveList(const CatalogKey& key, Asker asker) {
  const auto found = lists_.find(key);
  if (found == lists_.end()) return;
  ListFlight* flight = found->second.get();
  flight->first_waiters.erase(asker);
  flight->page_waiters.erase(asker);
  if (!flight->first_waiters.empty() || !flight->page_waiters.empty()) return;
  if (flight->head.id != 0) return;  // the next answer finds nobody, and it waits
  if (!flight->first_page && abandoned_ < kMaxAbandoned) {
    flight->abandoned = true;
    ++abandoned_;
    return;
  }
  if (flight->call != nullptr) calls_->Cancel(flight->call);
  DropList(key);
}

void NameService::DropList(const CatalogKey& key) {
  const auto found = lists_.find(key);
  if (found == lists_.end()) return;
  if (found->second->abandoned) --abandoned_;
  std::erase(paused_, key);
  lists_.erase(found);
}

void NameService::StartOver(std::uint32_t mount, std::string_view path) {
  const std::string_view parent = DirectoryOf(path);
  for (auto& [key, flight] : stats_) {
    if (key.mount != mount || !IsBelow(flight.path, path)) continue;
    calls_->Cancel(flight.call);
    StartStat(key, &flight);
  }
  std::vector<CatalogKey> idle;
  for (auto& [key, flight] : lists_) {
    if (key.mount != mount || !(IsBelow(flight->path, path) || flight->path == parent)) continue;
    if (flight->call == nullptr && !flight->awaited) {
      idle.push_back(key);
    } else {
      BeginAgain(flight.get());
    }
  }
  for (const CatalogKey& key : idle) DropList(key);
}

}  // namespace penstock::cache
