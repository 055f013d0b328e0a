#include "cache/engine/name_service.h"

#include <malloc.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "cache/base/loop.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kMaxDirectories = 32'768;
// What lists ahead may fill half of the room for names (a record, an entry, a place in a page), and a
// quarter of the index.
constexpr std::uint64_t kAheadNameBytes = 2 * 256;
constexpr int kEvictionLooks = 16;  // at directories, to make room for one
// A service may answer with no names and a marker, where it looked through what has been deleted.
constexpr unsigned kMaxEmptyPages = 1'000;
constexpr std::size_t kMaxAbandoned = 16;
constexpr std::uint64_t kTrimNames = 20'000;

std::string_view ParentOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
}

std::string Join(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path.append(directory).append(1, '/').append(name);
  return path;
}

std::uint64_t InodeOf(std::uint32_t mount, pst_key128 id) {
  const std::uint64_t ino = (id.lo ^ (id.hi >> 7) ^ mount) >> 1;  // positive for those who sign it
  return ino != 0 ? ino : 1;
}

pst_key RecordKey(std::uint32_t mount, pst_key128 id, std::uint32_t range) {
  return {id, 0, PST_NS_FILES | mount, range};
}

bool ParseNameRecord(std::span<const std::byte> bytes, std::string_view* path, pst_attr* attr) {
  pst_name_record record;
  if (bytes.size() < sizeof record) return false;
  std::memcpy(&record, bytes.data(), sizeof record);
  if (record.magic != PST_NAME_MAGIC || record.name_len > bytes.size() - sizeof record) return false;
  *path = {reinterpret_cast<const char*>(bytes.data()) + sizeof record, record.name_len};
  *attr = record.attr;
  return true;
}

}  // namespace

NameService::NameService(const std::vector<Mount>* mounts, Arena* arena, MemoryTier* tier,
                         OriginCalls* calls, const EngineOptions& options)
    : mounts_(*mounts),
      arena_(arena),
      tier_(tier),
      calls_(calls),
      max_listing_bytes_(options.listing_bytes),
      max_questions_(std::min(options.max_questions, kMaxDirectories / 2)),
      max_waiters_(options.max_waiters),
      catalog_(options.catalog_bytes,
               [this](std::uint32_t mount, const NameEntry& entry) { ChildEvicted(mount, entry); }),
      walks_(mounts, calls, this,
             std::min(tier->HeadroomBytes(DataClass::kRecord) / kAheadNameBytes,
                      arena->bucket_count() * PST_BUCKET_ENTRIES / 4)) {}

std::int64_t NameService::TtlFromNow(std::uint32_t mount) const {
  const std::int64_t ttl_ns = mounts_[mount].metadata_ttl_ns;
  const std::int64_t now_ns = MonotonicNs();
  return ttl_ns >= INT64_MAX - now_ns ? INT64_MAX : now_ns + std::max<std::int64_t>(ttl_ns, 0);
}

std::int64_t NameService::Deadline(std::uint32_t mount) const {
  return MonotonicNs() + mounts_[mount].deadline_ns;
}

std::uint64_t NameService::RandomId() {
  std::uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) {
      id = arena_->NextGeneration();  // unique, if not hard to guess
    }
  }
  return id;
}

// ---- What is known ----

const NameEntry* NameService::Fresh(std::uint32_t mount, const std::string& path) {
  const NameEntry* entry = catalog_.Find(mount, KeyOf(path), path);
  return entry != nullptr && entry->expires_ns > MonotonicNs() ? entry : nullptr;
}

const NameEntry* NameService::OfVersion(std::uint32_t mount, const std::string& path, pst_key128 id,
                                        std::uint64_t version) {
  if (const NameEntry* entry = catalog_.Find(mount, id, path)) {
    return entry->kind == PST_KIND_FILE && entry->version == version ? entry : nullptr;
  }
  // Pushed out of the catalog; its record may still be there, without the origin's token.
  const pst_entry* record = tier_->Find(RecordKey(mount, id, PST_RANGE_NAME));
  std::string_view name;
  pst_attr attr;
  if (record == nullptr || !ParseNameRecord(tier_->BytesOf(*record), &name, &attr)) return nullptr;
  if (name != path || attr.kind != PST_KIND_FILE || attr.version != version) return nullptr;
  NameEntry entry;
  entry.path = path;
  entry.size = attr.size;
  entry.version = attr.version;
  entry.mtime_ns = attr.mtime_ns;
  entry.kind = attr.kind;
  return catalog_.Put(mount, id, std::move(entry));
}

bool NameService::ByKey(std::uint32_t mount, pst_key128 id, std::string* path, pst_attr* attr) {
  if (const NameEntry* entry = catalog_.FindKey(mount, id)) {
    *path = entry->path;
    *attr = AttrOf(mounts_[mount], mount, *entry);
    return true;
  }
  const pst_entry* record = tier_->Find(RecordKey(mount, id, PST_RANGE_NAME));
  std::string_view name;
  if (record == nullptr || !ParseNameRecord(tier_->BytesOf(*record), &name, attr)) return false;
  *path = name;
  return true;
}

std::shared_ptr<const Listing> NameService::KnownListing(std::uint32_t mount, const std::string& path) {
  const Directory* directory = FindDirectory(mount, KeyOf(path), path);
  return directory != nullptr ? directory->listing : nullptr;
}

pst_attr NameService::AttrOf(const Mount& mount, std::uint32_t mount_index, const NameEntry& entry) {
  pst_attr attr{};
  attr.kind = entry.kind;
  attr.ino = InodeOf(mount_index, KeyOf(entry.path));
  attr.err = entry.kind == PST_KIND_ABSENT ? entry.err : 0;
  if (entry.kind == PST_KIND_ABSENT) return attr;
  const bool directory = entry.kind == PST_KIND_DIRECTORY;
  attr.size = directory ? 0 : entry.size;
  attr.version = directory ? 0 : entry.version;
  attr.mtime_ns = entry.mtime_ns;
  attr.nlink = directory ? 2 : 1;
  attr.mode = (directory ? 0555u : 0444u) | (mount.writable ? 0200u : 0u);
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
  if (path.empty()) {  // the mount itself is there, whatever the origin says
    NameEntry root;
    root.kind = PST_KIND_DIRECTORY;
    root.expires_ns = INT64_MAX;
    return done(0, Put(mount, std::move(root)));
  }
  if (const NameEntry* entry = KnownByAncestors(mount, path)) return done(0, entry);
  const std::string parent(ParentOf(path));
  const Directory* directory = FindDirectory(mount, KeyOf(parent), parent);
  if (directory == nullptr || directory->known == Known::kNothing ||
      directory->expires_ns <= MonotonicNs()) {
    return AskParent(mount, path, asker, std::move(done));
  }
  const NameEntry* stale = catalog_.Find(mount, KeyOf(path), path);
  const bool decided = directory->known == Known::kAll && !directory->lost_child &&
                       (stale == nullptr || stale->kind == PST_KIND_ABSENT);
  if (decided) return done(0, PutAbsent(mount, path, ENOENT, directory->expires_ns));
  AskStat(mount, path, asker, std::move(done));
}

void NameService::AskParent(std::uint32_t mount, const std::string& path, Asker asker, NameDone done) {
  const std::string parent(ParentOf(path));
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
  const std::string parent(ParentOf(path));
  if (err == 0) {
    const Directory* directory = FindDirectory(mount, KeyOf(parent), parent);
    const NameEntry* entry = catalog_.Find(mount, KeyOf(path), path);
    // By the listing's own time, so that a ttl of zero ends too.
    if (entry != nullptr && directory != nullptr && entry->expires_ns >= directory->expires_ns) {
      return done(0, entry);
    }
    if (directory != nullptr && directory->known == Known::kAll && !directory->lost_child) {
      return done(0, PutAbsent(mount, path, ENOENT, directory->expires_ns));
    }
    return AskStat(mount, path, asker, std::move(done));
  }
  if (err == EACCES) return AskStat(mount, path, asker, std::move(done));  // may read, may not list
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
  if (err == 0) entry = PutInfo(key.mount, flight.path, call.info, flight.expires_ns);
  if (err == ENOENT || err == ENOTDIR) entry = PutAbsent(key.mount, flight.path, err, flight.expires_ns);
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
  flight->whole_waiters.erase(asker);
  if (!flight->first_waiters.empty() || !flight->whole_waiters.empty()) return;
  if (!flight->first_page && abandoned_ < kMaxAbandoned) {
    flight->abandoned = true;
    ++abandoned_;
    return;
  }
  if (!flight->awaited) calls_->Cancel(flight->call);
  DropList(key);
}

void NameService::DropList(const CatalogKey& key) {
  const auto found = lists_.find(key);
  if (found == lists_.end()) return;
  if (found->second->abandoned) --abandoned_;
  lists_.erase(found);
}

void NameService::StartOver(std::uint32_t mount, std::string_view path) {
  const std::string_view parent = ParentOf(path);
  for (auto& [key, flight] : stats_) {
    if (key.mount != mount || !IsBelow(flight.path, path)) continue;
    calls_->Cancel(flight.call);
    StartStat(key, &flight);
  }
  for (auto& [key, flight] : lists_) {
    if (key.mount != mount || !(IsBelow(flight->path, path) || flight->path == parent)) continue;
    if (!std::exchange(flight->awaited, false)) calls_->Cancel(flight->call);
    flight->builder = {};
    flight->empty_pages = 0;
    flight->markers.clear();
    flight->first_page = true;
    flight->expires_ns = TtlFromNow(mount);
    AskPage(flight.get(), "");
  }
}

// ---- Listings ----

void NameService::List(std::uint32_t mount, const std::string& path, Asker asker, ListDone done) {
  const pst_key128 id = KeyOf(path);
  const Directory* directory = FindDirectory(mount, id, path);
  if (directory != nullptr && directory->listing && directory->expires_ns > MonotonicNs()) {
    const std::shared_ptr<Listing> listing = directory->listing;
    PublishListing(mount, id, *listing, directory->expires_ns);
    return done(0, listing);
  }
  const NameEntry* entry = Fresh(mount, path);
  if (entry == nullptr) entry = KnownByAncestors(mount, path);
  if (entry != nullptr && entry->kind == PST_KIND_FILE) return done(ENOTDIR, nullptr);
  if (entry != nullptr && entry->kind == PST_KIND_ABSENT) return done(entry->err, nullptr);
  ListFlight* flight = StartList(mount, path);
  if (flight == nullptr) return done(EIO, nullptr);
  const std::int64_t expires_ns = flight->expires_ns;
  if (std::exchange(flight->abandoned, false)) --abandoned_;
  flight->asked_until_ns = Deadline(mount);
  places_[asker] = {{mount, id}, true};
  flight->whole_waiters.emplace(asker, [this, mount, path, id, expires_ns, asker, done = std::move(done)](
                                           int err, std::shared_ptr<const Listing> listing) mutable {
    if (err != ENOENT && err != ENOTDIR) return done(err, std::move(listing));
    Resolve(mount, path, asker, [this, mount, path, id, expires_ns, done = std::move(done)](
                             int error, const NameEntry* what) mutable {
      if (error != 0) return done(error, nullptr);
      if (what->kind == PST_KIND_FILE) return done(ENOTDIR, nullptr);
      if (what->kind == PST_KIND_ABSENT) return done(what->err, nullptr);
      // A directory by name only (the root of an empty container): nothing is in it.
      auto empty = std::make_shared<Listing>(ListingBuilder{}.Finish(RandomId()));
      PublishListing(mount, id, *empty, expires_ns);
      done(0, std::move(empty));
    });
  });
}

NameService::ListFlight* NameService::StartList(std::uint32_t mount, const std::string& path) {
  const pst_key128 id = KeyOf(path);
  if (!MayWait() || !(MayAsk() || lists_.contains({mount, id}))) return nullptr;
  std::unique_ptr<ListFlight>& flight = lists_[{mount, id}];
  if (flight) return flight.get();
  flight = std::make_unique<ListFlight>();
  flight->mount = mount;
  flight->path = path;
  flight->expires_ns = TtlFromNow(mount);
  ListFlight* started = flight.get();
  Directory& directory = DirectoryFor(mount, id, path);
  // What the last listing knew does not become whole again by asking; only the new answer does that.
  if (std::exchange(directory.lost_child, false)) directory.known = Known::kNothing;
  walks_.Wanted(mount, path);
  started->awaited = walks_.Await(mount, path);
  if (!started->awaited) AskPage(started, "");
  return started;
}

void NameService::AskPage(ListFlight* flight, std::string marker) {
  auto call = std::make_unique<ListCall>();
  call->directory = flight->path;
  call->marker = std::move(marker);
  call->deadline_ns = Deadline(flight->mount);
  flight->call = call.get();
  flight->serial = ++last_serial_;
  const CatalogKey key{flight->mount, KeyOf(flight->path)};
  calls_->Start<ListCall>(
      std::move(call), mounts_[flight->mount].origin,
      [this, key, serial = flight->serial](ListCall& done) { PageDone(key, serial, done); });
}

void NameService::PageDone(const CatalogKey& key, std::uint64_t serial, ListCall& call) {
  const auto found = lists_.find(key);
  if (found == lists_.end() || found->second->serial != serial) return;
  const std::uint32_t mount = key.mount;
  const pst_key128 id = key.id;
  ListFlight* flight = found->second.get();
  if (!call.ok()) return EndList(mount, id, ErrnoOf(call.error), nullptr);
  AddChildren(flight, call.entries);
  // There, but not described: each of those costs a question of its own.
  if (call.skipped != 0) DirectoryFor(mount, id, flight->path).lost_child = true;
  const bool last = call.next_marker.empty();
  if (flight->first_page) {
    Directory& directory = DirectoryFor(mount, id, flight->path);
    directory.known = last ? Known::kAll : Known::kSome;
    directory.expires_ns = flight->expires_ns;
  }
  if (last) {
    auto listing = FinishListing(flight);
    walks_.Counted(mount, flight->path, listing->count());
    return EndList(mount, id, 0, std::move(listing));
  }
  if (const int problem = NextPageProblem(flight, call)) return EndList(mount, id, problem, nullptr);
  flight->first_page = false;
  auto waiters = std::exchange(flight->first_waiters, {});
  Released(waiters);
  for (auto& [asker, waiter] : waiters) waiter(0);
  // A waiter may have asked for the whole meanwhile.
  const auto again = lists_.find(key);
  if (again == lists_.end() || again->second->serial != serial) return;
  const bool unwanted = !again->second->abandoned || MonotonicNs() >= again->second->asked_until_ns;
  if (again->second->whole_waiters.empty() && unwanted) return DropList(key);
  AskPage(again->second.get(), std::move(call.next_marker));
}

// Whatever the origin answers: it ends.
int NameService::NextPageProblem(ListFlight* flight, const ListCall& call) {
  if (flight->builder.Full()) return ENOMEM;
  flight->empty_pages = call.entries.empty() ? flight->empty_pages + 1 : 0;
  if (flight->empty_pages > kMaxEmptyPages) return EIO;
  return flight->markers.insert(call.next_marker).second ? 0 : EIO;
}

void NameService::AddChildren(ListFlight* flight, const std::vector<origin::ObjectInfo>& children) {
  for (const origin::ObjectInfo& info : children) {
    std::string path = Join(flight->path, info.name);
    if (path.size() >= PST_PATH_MAX) continue;
    const NameEntry* child = PutInfo(flight->mount, std::move(path), info, flight->expires_ns);
    flight->builder.Add(info.name, InodeOf(flight->mount, KeyOf(child->path)),
                        static_cast<std::uint8_t>(child->kind));
  }
}

// ---- What a walk's flat listing brings ----

void NameService::Learned(std::uint32_t mount, const std::string& path,
                          std::vector<origin::ObjectInfo> children, std::int64_t expires_ns) {
  const pst_key128 id = KeyOf(path);
  const auto waiting = lists_.find({mount, id});
  const bool awaited = waiting != lists_.end() && waiting->second->awaited;
  if (waiting != lists_.end() && !awaited) return;  // its own listing is under way, and newer
  const Directory* known = FindDirectory(mount, id, path);
  if (!awaited && known != nullptr && known->known == Known::kAll && !known->lost_child &&
      known->expires_ns >= expires_ns) {
    return;
  }
  // Where a file and a directory have one name, the directory is what is shown.
  std::sort(children.begin(), children.end(), [](const auto& a, const auto& b) {
    if (const int order = a.name.compare(b.name); order != 0) return order < 0;
    if (a.kind != b.kind) return a.kind == origin::ObjectKind::kDirectory;
    return a.mtime_ns > b.mtime_ns;
  });
  children.erase(std::unique(children.begin(), children.end(),
                             [](const auto& a, const auto& b) { return a.name == b.name; }),
                 children.end());
  ListFlight brought;
  brought.mount = mount;
  brought.path = path;
  brought.expires_ns = expires_ns;
  DirectoryFor(mount, id, path).lost_child = false;
  AddChildren(&brought, children);
  auto listing = FinishListing(&brought);
  if (awaited) EndList(mount, id, 0, std::move(listing));
}

void NameService::NotComing(std::uint32_t mount, const std::string& path) {
  const auto found = lists_.find({mount, KeyOf(path)});
  if (found == lists_.end() || found->second->path != path) return;
  if (std::exchange(found->second->awaited, false)) AskPage(found->second.get(), "");
}

// The entries of a listing's pages, as far as the arena has them in one piece from the first.
template <typename EachEntry>
void NameService::EachPublished(std::uint32_t mount, pst_key128 id, EachEntry each) const {
  std::uint32_t pages = 1;
  for (std::uint32_t number = 0; number < pages && number <= PST_LISTING_PAGES_MAX; ++number) {
    const pst_entry* there = tier_->Find(RecordKey(mount, id, PST_RANGE_LISTING + number));
    if (there == nullptr) return;
    const std::span<const std::byte> bytes = tier_->BytesOf(*there);
    pst_listing_page page;
    std::memcpy(&page, bytes.data(), sizeof page);
    pages = page.pages;
    std::size_t at = sizeof page;
    for (std::uint32_t i = 0; i < page.count; ++i) {
      const auto* entry = reinterpret_cast<const pst_listing_entry*>(bytes.data() + at);
      each(std::string_view(
               reinterpret_cast<const char*>(bytes.data() + at + offsetof(pst_listing_entry, name))),
           entry->type == PST_LISTING_DIRECTORY ? PST_KIND_DIRECTORY : PST_KIND_FILE);
      at += entry->record_bytes;
    }
  }
}

std::vector<std::string> NameService::UnknownFolders(std::uint32_t mount, const std::string& path) {
  std::vector<std::string> folders;
  const pst_key128 id = KeyOf(path);
  const Directory* directory = FindDirectory(mount, id, path);
  const std::int64_t now_ns = MonotonicNs();
  if (directory == nullptr || directory->known == Known::kNothing || directory->expires_ns <= now_ns) {
    return folders;
  }
  EachPublished(mount, id, [&](std::string_view name, std::uint8_t kind) {
    if (kind != PST_KIND_DIRECTORY) return;
    const std::string child = Join(path, name);
    const Directory* below = FindDirectory(mount, KeyOf(child), child);
    const bool known = below != nullptr && below->known == Known::kAll && below->expires_ns > now_ns;
    if (!known) folders.emplace_back(name);
  });
  return folders;
}

std::shared_ptr<Listing> NameService::FinishListing(ListFlight* flight) {
  const pst_key128 id = KeyOf(flight->path);
  auto listing = std::make_shared<Listing>(flight->builder.Finish(RandomId()));
  Directory& directory = DirectoryFor(flight->mount, id, flight->path);
  directory.known = Known::kAll;
  directory.expires_ns = flight->expires_ns;
  if (directory.listing) {
    // Unchanged content keeps its id, so that readers in the middle of it go on.
    if (directory.listing->SameContent(*listing)) listing->SetId(directory.listing->id());
    kept_bytes_ -= directory.listing->bytes().size();
    std::erase(kept_listings_, CatalogKey{flight->mount, id});
  }
  kept_listings_.push_back({flight->mount, id});
  directory.listing = listing;
  kept_bytes_ += listing->bytes().size();
  KeepListings();
  PublishListing(flight->mount, id, *listing, flight->expires_ns);
  return listing;
}

// The newest is kept whatever its size: somebody is about to read it.
void NameService::KeepListings() {
  while (kept_bytes_ > max_listing_bytes_ && kept_listings_.size() > 1) {
    const auto found = directories_.find(kept_listings_.front());
    kept_listings_.pop_front();
    if (found == directories_.end() || !found->second.listing) continue;
    kept_bytes_ -= found->second.listing->bytes().size();
    found->second.listing.reset();
  }
}

void NameService::EndList(std::uint32_t mount, pst_key128 id, int err, std::shared_ptr<Listing> listing) {
  auto node = lists_.extract({mount, id});
  if (node.empty()) return;
  const std::unique_ptr<ListFlight> flight = std::move(node.mapped());
  if (flight->abandoned) --abandoned_;
  Released(flight->first_waiters);
  Released(flight->whole_waiters);
  for (auto& [asker, waiter] : flight->first_waiters) waiter(err);
  for (auto& [asker, waiter] : flight->whole_waiters) waiter(err, listing);
  // What building it took lies in many small holes by now.
  if (listing && listing->count() > kTrimNames) (void)malloc_trim(0);
}

void NameService::PublishListing(std::uint32_t mount, pst_key128 id, const Listing& listing,
                                 std::int64_t expires_ns) {
  // One that would push its own first pages out again is for the slow lane: published anew for each page
  // that a reader misses, it would cost the square of its pages.
  if (listing.bytes().size() > tier_->HeadroomBytes(DataClass::kRecord) / 2) return;
  const std::uint32_t expires_ds = arena_->ExpiresDs(expires_ns);
  for (std::uint32_t page = 0; page < listing.pages() && page <= PST_LISTING_PAGES_MAX; ++page) {
    const pst_key key = RecordKey(mount, id, PST_RANGE_LISTING + page);
    const std::span<const std::byte> bytes = listing.Page(page);
    if (const pst_entry* old = tier_->Find(key)) {
      const std::span<const std::byte> there = tier_->BytesOf(*old);
      if (there.size() == bytes.size() && std::memcmp(there.data(), bytes.data(), bytes.size()) == 0) {
        if (old->expires_ds != expires_ds) (void)tier_->SetExpiry(key, expires_ds);
        continue;
      }
    }
    (void)tier_->PublishRecord(key, bytes, expires_ds);  // without room the slow lane serves it
  }
}

// ---- Learning ----

const NameEntry* NameService::PutInfo(std::uint32_t mount, std::string path, const origin::ObjectInfo& info,
                                      std::int64_t expires_ns) {
  NameEntry entry;
  entry.path = std::move(path);
  entry.kind = info.kind == origin::ObjectKind::kDirectory ? PST_KIND_DIRECTORY : PST_KIND_FILE;
  entry.mtime_ns = info.mtime_ns;
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
  const pst_key key = RecordKey(mount, id, PST_RANGE_NAME);
  if (!same || !tier_->SetExpiry(key, arena_->ExpiresDs(put->expires_ns))) Publish(mount, *put);
  return put;
}

void NameService::Publish(std::uint32_t mount, const NameEntry& entry) {
  const pst_key128 id = KeyOf(entry.path);
  const pst_key key = RecordKey(mount, id, PST_RANGE_NAME);
  alignas(8) std::byte bytes[PST_NAME_RECORD_MAX];
  pst_name_record record{};
  record.magic = PST_NAME_MAGIC;
  record.name_len = static_cast<std::uint32_t>(entry.path.size());
  record.attr = AttrOf(mounts_[mount], mount, entry);
  std::memcpy(bytes, &record, sizeof record);
  std::memcpy(bytes + sizeof record, entry.path.data(), entry.path.size());
  const std::size_t size = sizeof record + entry.path.size();
  const std::uint32_t expires_ds = arena_->ExpiresDs(entry.expires_ns);
  if (const pst_entry* old = tier_->Find(key)) {
    const std::span<const std::byte> there = tier_->BytesOf(*old);
    if (there.size() == size && std::memcmp(there.data(), bytes, size) == 0) {
      if (old->expires_ds != expires_ds) (void)tier_->SetExpiry(key, expires_ds);
      return;
    }
  }
  // Without room an old answer must not stay: then there is none, and readers ask.
  if (!tier_->PublishRecord(key, std::span(bytes, size), expires_ds)) tier_->Erase(key);
}

// ---- Forgetting ----

void NameService::Forget(std::uint32_t mount, const std::string& path) {
  const pst_key128 id = KeyOf(path);
  const std::string parent(ParentOf(path));
  catalog_.Erase(mount, id);
  tier_->Erase(RecordKey(mount, id, PST_RANGE_NAME));
  if (Directory* directory = FindDirectory(mount, KeyOf(parent), parent)) directory->lost_child = true;
}

void NameService::ForgetBelow(std::uint32_t mount, std::string_view path) {
  const std::string parent(ParentOf(path));
  const pst_key128 parent_id = KeyOf(parent);
  std::unordered_set<CatalogKey, CatalogKeyHash> doomed_ids{{mount, parent_id}};
  catalog_.EraseBelow(mount, path);
  walks_.Forget(mount, path);
  StartOver(mount, path);
  for (auto& [key, directory] : directories_) {
    if (key.mount != mount || !(IsBelow(directory.path, path) || directory.path == parent)) continue;
    doomed_ids.insert(key);
    directory.known = Known::kNothing;
    directory.expires_ns = 0;
  }
  const std::uint32_t ns = PST_NS_FILES | mount;
  tier_->EraseRecords([&](const pst_key& key, std::span<const std::byte> bytes) {
    std::string_view name;
    pst_attr attr;
    if (key.ns != ns || key.range != PST_RANGE_NAME || !ParseNameRecord(bytes, &name, &attr)) return false;
    if (!IsBelow(name, path)) return false;
    doomed_ids.insert({mount, key.id});
    return true;
  });
  tier_->EraseRecords([&](const pst_key& key, std::span<const std::byte>) {
    return key.ns == ns && key.range >= PST_RANGE_LISTING &&
           (path.empty() || doomed_ids.contains({mount, key.id}));
  });
}

// ---- Directories ----

NameService::Directory* NameService::FindDirectory(std::uint32_t mount, pst_key128 id,
                                                   const std::string& path) {
  const auto found = directories_.find({mount, id});
  return found != directories_.end() && found->second.path == path ? &found->second : nullptr;
}

NameService::Directory& NameService::DirectoryFor(std::uint32_t mount, pst_key128 id,
                                                  const std::string& path) {
  const CatalogKey key{mount, id};
  const auto [at, added] = directories_.try_emplace(key);
  if (!added) return at->second;
  at->second.path = path;
  directory_order_.push_back(key);
  for (int looks = kEvictionLooks; directories_.size() > kMaxDirectories && looks > 0; --looks) {
    const CatalogKey oldest = directory_order_.front();
    directory_order_.pop_front();
    const auto found = directories_.find(oldest);
    if (found == directories_.end()) continue;
    if (lists_.contains(oldest) || oldest == key) {
      directory_order_.push_back(oldest);
      continue;
    }
    if (found->second.listing) {
      kept_bytes_ -= found->second.listing->bytes().size();
      std::erase(kept_listings_, oldest);
    }
    directories_.erase(found);
  }
  return directories_.find(key)->second;
}

// Its parent can no longer say "all my children are in the catalog".
void NameService::ChildEvicted(std::uint32_t mount, const NameEntry& entry) {
  const std::string parent(ParentOf(entry.path));
  if (Directory* directory = FindDirectory(mount, KeyOf(parent), parent)) directory->lost_child = true;
}

}  // namespace penstock::cache
