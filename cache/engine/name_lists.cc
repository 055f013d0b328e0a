// Listings under way: asked for, published as they come, waited for.
#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cache/base/loop.h"
#include "cache/engine/name_paths.h"
#include "cache/engine/name_service.h"

namespace penstock::cache {
namespace {

// A service may answer with no names and a marker, where it looked through what has been deleted.
constexpr unsigned kMaxEmptyPages = 1'000;
constexpr std::uint64_t kTrimNames = 20'000;
constexpr std::size_t kMaxPaused = 64;
constexpr std::size_t kMaxOutOfOrder = 4096;
// How far a listing goes ahead of its reader, in pages of the listing: further for one who comes far.
constexpr std::int64_t kFirstAhead = 8;
constexpr std::int64_t kMostPagesAhead = 64;

}  // namespace

void NameService::List(std::uint32_t mount, const std::string& path, std::uint32_t page,
                       std::uint64_t listing_id, Asker asker, ListDone done) {
  const CatalogKey key{mount, KeyOf(path)};
  const auto flight = lists_.find(key);
  const auto known = listings_.Known(mount, path);
  if (known && (known->expires_ns > MonotonicNs() || (listing_id != 0 && known->id == listing_id))) {
    const bool goes_on = flight != lists_.end() && flight->second->head.id == known->id;
    if (goes_on) flight->second->asked_page = std::max<std::int64_t>(flight->second->asked_page, page);
    const bool lies_behind = page >= known->pages;
    if (lies_behind ? known->complete : !listings_.Page(mount, path, *known, page).empty()) {
      if (goes_on) GoOn(flight->second.get());
      return done(0, *known);
    }
    if (lies_behind && goes_on) {
      return WaitForList(mount, path, page, listing_id, asker, std::move(done));
    }
    // Pages are lost, or nobody continues it: from the beginning.
    if (goes_on) {
      if (flight->second->call != nullptr) {
        BeginAgain(flight->second.get());
      } else {
        DropList(key);
      }
    }
  }
  const NameEntry* entry = Fresh(mount, path);
  if (entry == nullptr) entry = KnownByAncestors(mount, path);
  const Listings::Head nothing;
  if (entry != nullptr && entry->kind == PST_KIND_FILE) return done(ENOTDIR, nothing);
  if (entry != nullptr && entry->kind == PST_KIND_ABSENT) return done(entry->err, nothing);
  WaitForList(mount, path, page, listing_id, asker, std::move(done));
}

void NameService::WaitForList(std::uint32_t mount, const std::string& path, std::uint32_t page,
                              std::uint64_t listing_id, Asker asker, ListDone done) {
  ListFlight* flight = StartList(mount, path);
  if (flight == nullptr) return done(EIO, {});
  const std::int64_t expires_ns = flight->expires_ns;
  if (std::exchange(flight->abandoned, false)) --abandoned_;
  flight->asked_until_ns = Deadline(mount);
  flight->asked_page = std::max<std::int64_t>(flight->asked_page, page);
  places_[asker] = {{mount, KeyOf(path)}, true};
  flight->page_waiters.emplace(
      asker, PageWaiter{page, listing_id,
                        [this, mount, path, expires_ns, asker, done = std::move(done)](
                            int err, const Listings::Head& head) mutable {
                          if (err != ENOENT && err != ENOTDIR) return done(err, head);
                          AfterEmptyList(mount, path, expires_ns, asker, std::move(done));
                        }});
  GoOn(flight);
}

// The origin has nothing below the directory.
void NameService::AfterEmptyList(std::uint32_t mount, const std::string& path, std::int64_t expires_ns,
                                 Asker asker, ListDone done) {
  Resolve(mount, path, asker, [this, mount, path, expires_ns, done = std::move(done)](
                                  int err, const NameEntry* what) mutable {
    const Listings::Head nothing;
    if (err != 0) return done(err, nothing);
    if (what->kind == PST_KIND_FILE) return done(ENOTDIR, nothing);
    if (what->kind == PST_KIND_ABSENT) return done(what->err, nothing);
    // A directory by name only (the root of an empty container).
    ListingBuilder empty;
    done(0, listings_.Put(mount, path, &empty, true, expires_ns));
  });
}

NameService::ListFlight* NameService::StartList(std::uint32_t mount, const std::string& path) {
  const CatalogKey key{mount, KeyOf(path)};
  const auto old = lists_.find(key);
  if (old != lists_.end()) {
    const ListFlight& flight = *old->second;
    const bool idle = flight.call == nullptr && !flight.awaited;
    if (idle && flight.expires_ns <= MonotonicNs()) DropList(key);
  }
  if (!MayWait() || !(MayAsk() || lists_.contains(key))) return nullptr;
  std::unique_ptr<ListFlight>& flight = lists_[key];
  if (flight) return flight.get();
  flight = std::make_unique<ListFlight>();
  flight->mount = mount;
  flight->path = path;
  flight->expires_ns = TtlFromNow(mount);
  flight->collects = !mounts_[mount].origin->ListsInOrder() || out_of_order_.contains(key);
  ListFlight* started = flight.get();
  walks_.Wanted(mount, path);
  started->awaited = walks_.Await(mount, path);
  if (!started->awaited) AskPage(started);
  return started;
}

void NameService::AskPage(ListFlight* flight) {
  auto call = std::make_unique<ListCall>();
  call->directory = flight->path;
  call->marker = flight->marker;
  call->deadline_ns = Deadline(flight->mount);
  flight->call = call.get();
  flight->serial = ++last_serial_;
  const CatalogKey key{flight->mount, KeyOf(flight->path)};
  calls_->Start<ListCall>(
      std::move(call), mounts_[flight->mount].origin,
      [this, key, serial = flight->serial](ListCall& done) { PageDone(key, serial, done); });
}

// Those who wait, wait on.
void NameService::BeginAgain(ListFlight* flight) {
  if (flight->call != nullptr) calls_->Cancel(flight->call);
  flight->awaited = false;
  flight->builder = {};
  flight->head = {};
  flight->marker.clear();
  flight->markers.clear();
  flight->empty_pages = 0;
  flight->first_page = true;
  flight->left_out = false;
  flight->expires_ns = TtlFromNow(flight->mount);
  AskPage(flight);
}

void NameService::PageDone(const CatalogKey& key, std::uint64_t serial, ListCall& call) {
  const auto found = lists_.find(key);
  if (found == lists_.end() || found->second->serial != serial) return;
  ListFlight* flight = found->second.get();
  flight->call = nullptr;
  if (!call.ok()) return EndList(key, ErrnoOf(call.error), {});
  const bool last = call.next_marker.empty();
  AddChildren(flight, call.entries);
  flight->left_out = flight->left_out || call.skipped != 0;
  if (!TakePage(key, flight, last)) return;
  if (last) {
    walks_.Counted(key.mount, flight->path, flight->head.count);
    return EndList(key, 0, flight->head);
  }
  if (const int problem = NextPageProblem(flight, call)) return EndList(key, problem, {});
  flight->marker = std::move(call.next_marker);
  flight->first_page = false;
  auto waiters = std::exchange(flight->first_waiters, {});
  Released(waiters);
  for (auto& [asker, waiter] : waiters) waiter(0);
  // Whom a waiter asked for what meanwhile: anything may have become of this.
  const auto again = lists_.find(key);
  if (again == lists_.end() || again->second->serial != serial || again->second->call != nullptr) return;
  flight = again->second.get();
  ServeWaiters(flight);
  const auto still = lists_.find(key);
  if (still == lists_.end() || still->second->serial != serial || still->second->call != nullptr) return;
  flight = still->second.get();
  if (IsWanted(*flight)) return AskPage(flight);
  if (flight->collects) return DropList(key);
  Pause(key);
}

bool NameService::TakePage(const CatalogKey& key, ListFlight* flight, bool last) {
  if ((last && flight->first_page) || flight->collects) {
    if (last) {
      flight->head = PutListing(flight);
    } else {
      SetByName(key, flight->expires_ns);
    }
    return true;
  }
  const bool taken = listings_.Append(key.mount, flight->path, &flight->builder, last,
                                      !flight->left_out, flight->expires_ns, &flight->head);
  if (taken) return true;
  // They do not follow each other: all of them, and then in order. Also the next time, or its readers
  // would find another beginning again and again.
  if (out_of_order_.size() >= kMaxOutOfOrder) out_of_order_.clear();
  out_of_order_.insert(key);
  flight->collects = true;
  BeginAgain(flight);
  return false;
}

// Whatever the origin answers: it ends.
int NameService::NextPageProblem(ListFlight* flight, const ListCall& call) {
  if (flight->builder.Full() || flight->head.pages >= PST_LISTING_PAGES_MAX / 2 ||
      flight->head.count > UINT32_MAX / 2) {
    return ENOMEM;
  }
  flight->empty_pages = call.entries.empty() ? flight->empty_pages + 1 : 0;
  if (flight->empty_pages > kMaxEmptyPages) return EIO;
  return flight->markers.insert(call.next_marker).second ? 0 : EIO;
}

// Whose page is there, or who reads a listing that is no more.
void NameService::ServeWaiters(ListFlight* flight) {
  if (flight->head.id == 0) return;
  const Listings::Head head = flight->head;
  std::map<Asker, PageWaiter> served;
  for (auto at = flight->page_waiters.begin(); at != flight->page_waiters.end();) {
    const auto next = std::next(at);
    const PageWaiter& waiter = at->second;
    const bool other = waiter.listing_id != 0 && waiter.listing_id != head.id;
    if (waiter.page < head.pages || other) served.insert(flight->page_waiters.extract(at));
    at = next;
  }
  Released(served);
  for (auto& [asker, waiter] : served) waiter.done(0, head);
}

bool NameService::IsWanted(const ListFlight& flight) const {
  if (!flight.page_waiters.empty() || !flight.first_waiters.empty()) return true;
  if (flight.collects) return flight.abandoned && MonotonicNs() < flight.asked_until_ns;
  const std::int64_t ahead = std::min(kFirstAhead + 2 * flight.asked_page, kMostPagesAhead);
  return flight.asked_page >= 0 && flight.head.pages <= flight.asked_page + ahead;
}

// Continues a listing that waits, if it is wanted.
void NameService::GoOn(ListFlight* flight) {
  if (flight->call != nullptr || flight->awaited || !IsWanted(*flight)) return;
  std::erase(paused_, CatalogKey{flight->mount, KeyOf(flight->path)});
  AskPage(flight);
}

void NameService::Pause(const CatalogKey& key) {
  if (paused_.size() >= kMaxPaused) DropList(CatalogKey(paused_.front()));
  paused_.push_back(key);
}

void NameService::EndList(const CatalogKey& key, int err, const Listings::Head& head) {
  auto node = lists_.extract(key);
  if (node.empty()) return;
  const std::unique_ptr<ListFlight> flight = std::move(node.mapped());
  std::erase(paused_, key);
  if (flight->abandoned) --abandoned_;
  Released(flight->first_waiters);
  Released(flight->page_waiters);
  for (auto& [asker, waiter] : flight->first_waiters) waiter(err);
  for (auto& [asker, waiter] : flight->page_waiters) waiter.done(err, head);
  // What building it took lies in many small holes by now.
  if (head.count > kTrimNames) (void)malloc_trim(0);
}

void NameService::AddChildren(ListFlight* flight, const std::vector<origin::ObjectInfo>& children) {
  std::string path = flight->path;
  if (!path.empty()) path += '/';
  const std::size_t base = path.size();
  for (const origin::ObjectInfo& info : children) {
    if (base + info.name.size() >= PST_PATH_MAX) continue;
    path.resize(base);
    path += info.name;
    const pst_key128 id = KeyOf(path);
    const std::uint32_t kind =
        info.kind == origin::ObjectKind::kDirectory ? PST_KIND_DIRECTORY : PST_KIND_FILE;
    pst_listing_attr attr{};
    attr.mtime_ns = info.mtime_ns;
    attr.size_mode = pst_listing_pack(0, GivenMode(info));
    if (kind == PST_KIND_FILE) {
      attr.size_mode |= std::min<std::uint64_t>(info.size, PST_MAX_FILE_BYTES);
      attr.version = VersionOf(id, info.version);
      attr.token = PackToken(info.version);
    }
    Supersede(flight->mount, id, kind, attr, flight->expires_ns);
    flight->builder.Add(info.name, id, kind, attr);
  }
}

Listings::Head NameService::PutListing(ListFlight* flight) {
  by_name_.erase({flight->mount, KeyOf(flight->path)});
  return listings_.Put(flight->mount, flight->path, &flight->builder, !flight->left_out,
                       flight->expires_ns);
}

// ---- What a walk's flat listing brings ----

void NameService::Learned(std::uint32_t mount, const std::string& path,
                          std::vector<origin::ObjectInfo> children, std::int64_t expires_ns) {
  const CatalogKey key{mount, KeyOf(path)};
  const auto waiting = lists_.find(key);
  const bool awaited = waiting != lists_.end() && waiting->second->awaited;
  if (waiting != lists_.end() && !awaited) return;  // its own listing is under way, and newer
  const auto known = listings_.Known(mount, path);
  if (!awaited && known && known->complete && known->whole &&
      arena_->ExpiresDs(known->expires_ns) >= arena_->ExpiresDs(expires_ns)) {
    return;
  }
  ListFlight brought;
  brought.mount = mount;
  brought.path = path;
  brought.expires_ns = expires_ns;
  AddChildren(&brought, children);
  const Listings::Head head = PutListing(&brought);
  if (awaited) EndList(key, 0, head);
}

void NameService::NotComing(std::uint32_t mount, const std::string& path) {
  const auto found = lists_.find({mount, KeyOf(path)});
  if (found == lists_.end() || found->second->path != path) return;
  if (std::exchange(found->second->awaited, false)) AskPage(found->second.get());
}

std::vector<std::string> NameService::UnknownFolders(std::uint32_t mount, const std::string& path) {
  std::vector<std::string> folders;
  const auto head = listings_.Known(mount, path);
  const std::int64_t now_ns = MonotonicNs();
  if (!head || head->expires_ns <= now_ns) return folders;
  listings_.Each(mount, path, *head, 0, [&](const ListedChild& child) {
    if (child.kind != PST_KIND_DIRECTORY) return true;
    const auto below = listings_.Known(mount, JoinPath(path, child.name));
    const bool known = below && below->complete && below->expires_ns > now_ns;
    if (!known) folders.emplace_back(child.name);
    return true;
  });
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace penstock::cache
