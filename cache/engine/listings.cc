#include "cache/engine/listings.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/engine/engine.h"
#include "cache/engine/name_paths.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kMostAhead = 16;  // pages read from disk at once

pst_listed_name Wanted(const Listings::Name& name) {
  pst_listed_name wanted{};
  wanted.ns = PST_NS_FILES | name.mount;
  wanted.dir = name.directory.data();
  wanted.dir_len = static_cast<std::uint32_t>(name.directory.size());
  wanted.name = name.name.data();
  wanted.name_len = static_cast<std::uint32_t>(name.name.size());
  wanted.dir_id = KeyOf(name.directory);
  wanted.id = name.id;
  return wanted;
}

const unsigned char* Raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

bool ReadHeader(std::span<const std::byte> bytes, pst_listing_page* head) {
  return pst_listing_header(Raw(bytes), static_cast<std::uint32_t>(bytes.size()), head) != 0;
}

std::string_view PathIn(std::span<const std::byte> bytes, const pst_listing_page& head) {
  return {reinterpret_cast<const char*>(bytes.data()) + head.path_at, head.path_len};
}

// The directory that a page or a head is of; nullopt if it is neither.
std::optional<std::string_view> DirectoryOf(std::span<const std::byte> bytes) {
  pst_listing_page page;
  if (ReadHeader(bytes, &page)) return PathIn(bytes, page);
  pst_listing_head head;
  if (bytes.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.magic != PST_LISTING_HEAD_MAGIC || head.path_len != bytes.size() - sizeof head) {
    return std::nullopt;
  }
  return std::string_view(reinterpret_cast<const char*>(bytes.data()) + sizeof head, head.path_len);
}

}  // namespace

pst_key Listings::KeyOfPage(std::uint32_t mount, pst_key128 id, std::uint32_t page) {
  return {id, 0, PST_NS_FILES | mount, PST_RANGE_LISTING + page};
}

std::int64_t Listings::NanosOf(std::uint32_t expires_ds) const {
  if (expires_ds == 0) return INT64_MAX;
  return arena_->header()->clock_base_ns + std::int64_t{expires_ds} * 100'000'000;
}

std::uint64_t Listings::RandomId() {
  std::uint64_t id = 0;
  while (id == 0) {
    if (getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) {
      id = arena_->NextGeneration();  // unique, if not hard to guess
    }
  }
  return id;
}

// Pages that may be published ahead of their reader without pushing each other out.
std::uint32_t Listings::AheadPages() const {
  const std::uint64_t room = tier_->HeadroomBytes(DataClass::kRecord) / 4 / PST_RANGE_BYTES;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(room, 1, kMostAhead));
}

// ---- Publishing ----

bool Listings::Publish(const pst_key& key, std::span<const std::byte> bytes, std::int64_t expires_ns) {
  const std::uint32_t expires_ds = arena_->ExpiresDs(expires_ns);
  if (const pst_entry* old = tier_->Find(key)) {
    const std::span<const std::byte> there = tier_->BytesOf(*old);
    if (there.size() == bytes.size() && std::memcmp(there.data(), bytes.data(), bytes.size()) == 0) {
      return old->expires_ds == expires_ds || tier_->SetExpiry(key, expires_ds);
    }
  }
  if (tier_->PublishRecord(key, bytes, expires_ds)) return true;
  tier_->Erase(key);  // an old answer must not stay
  return false;
}

Listings::Head Listings::Put(std::uint32_t mount, const std::string& path, ListingBuilder* children,
                             bool whole, std::int64_t expires_ns) {
  const pst_key128 id = KeyOf(path);
  if (const auto old = long_at_.find({mount, id}); old != long_at_.end()) DropLong(old->second);
  children->Sort();
  ListingBuilder::Shape shape;
  shape.ns = PST_NS_FILES | mount;
  shape.path = path;
  shape.whole = whole;
  Long listing;
  listing.mount = mount;
  listing.path = path;
  listing.head.expires_ns = expires_ns;
  const std::uint64_t room = tier_->HeadroomBytes(DataClass::kRecord) / 2;
  std::uint64_t published = 0;
  const bool is_long = children->PageCount(path) > kShortPages;
  const auto made = children->Finish(shape, [&](std::uint32_t page, std::span<const std::byte> bytes) {
    if (is_long) Keep(&listing, page, bytes);
    // Those that would push the first ones out again come from disk.
    published += bytes.size();
    if (page < kShortPages || published <= room) (void)Publish(KeyOfPage(mount, id, page), bytes, expires_ns);
  });
  listing.head = {made.listing_id, made.pages, made.count, true, whole, expires_ns};
  const Head head = listing.head;
  if (is_long) *MakeLong(mount, path) = std::move(listing);
  return head;
}

bool Listings::Append(std::uint32_t mount, const std::string& path, ListingBuilder* children, bool last,
                      bool whole, std::int64_t expires_ns, Head* head) {
  const pst_key128 id = KeyOf(path);
  children->Sort();
  Long* listing = head->id == 0 ? MakeLong(mount, path) : FindLong(mount, id, path);
  if (listing == nullptr || listing->head.id != head->id) return false;  // pushed out by others
  if (head->id == 0) listing->head.id = RandomId();
  if (!children->empty()) {
    const ListedChild first = children->First();
    if (listing->head.count != 0 &&
        pst_listing_compare(listing->last.data(), static_cast<std::uint32_t>(listing->last.size()),
                            listing->last_directory, first.name.data(),
                            static_cast<std::uint32_t>(first.name.size()),
                            first.kind == PST_KIND_DIRECTORY) >= 0) {
      return false;
    }
    if (listing->head.count != 0) FilesThatAreDirectories(mount, path, *children);
    const ListedChild end = children->Last();
    listing->last = end.name;
    listing->last_directory = end.kind == PST_KIND_DIRECTORY;
  }
  ListingBuilder::Shape shape;
  shape.ns = PST_NS_FILES | mount;
  shape.path = path;
  shape.listing_id = listing->head.id;
  shape.first_page = listing->head.pages;
  shape.first_number = listing->head.count;
  shape.open = true;
  shape.last = last;
  shape.whole = whole;
  const auto made = children->Finish(shape, [&](std::uint32_t page, std::span<const std::byte> bytes) {
    Keep(listing, page, bytes);
    (void)Publish(KeyOfPage(mount, id, page), bytes, expires_ns);
  });
  listing->head = {listing->head.id, made.pages, made.count, last, whole, expires_ns};
  PublishHead(*listing);
  *head = listing->head;
  return true;
}

// A directory's name may have come before as a file's, in a page that has been given out.
void Listings::FilesThatAreDirectories(std::uint32_t mount, const std::string& path,
                                       const ListingBuilder& children) {
  for (std::size_t i = 0; i < children.size(); ++i) {
    const ListedChild child = children.ChildAt(i);
    if (child.kind != PST_KIND_DIRECTORY) continue;
    std::string full = path.empty() ? std::string(child.name) : path + "/" + std::string(child.name);
    pst_listed there;
    std::int64_t expires_ns = 0;
    const Name name{mount, path, child.name, KeyOf(full)};
    if (Find(name, &there, &expires_ns) != Answer::kThere || there.kind == PST_KIND_DIRECTORY) continue;
    Change(name, [](pst_listing_entry* entry, pst_listing_attr* attr) {
      entry->type = PST_LISTING_DIRECTORY;
      *attr = {};
    });
  }
}

void Listings::PublishHead(const Long& listing) {
  pst_listing_head head{};
  head.magic = PST_LISTING_HEAD_MAGIC;
  head.pages = listing.head.pages;
  head.complete = listing.head.complete ? 1 : 0;
  head.flags = listing.head.whole ? PST_LISTING_WHOLE : 0;
  head.listing_id = listing.head.id;
  head.total_count = listing.head.count;
  head.path_len = static_cast<std::uint32_t>(listing.path.size());
  std::vector<std::byte> bytes(sizeof head + listing.path.size());
  std::memcpy(bytes.data(), &head, sizeof head);
  if (!listing.path.empty()) std::memcpy(bytes.data() + sizeof head, listing.path.data(), listing.path.size());
  (void)Publish(KeyOfPage(listing.mount, KeyOf(listing.path), PST_LISTING_PAGES_MAX), bytes,
                listing.head.expires_ns);
}

// ---- Long ones ----

Listings::Long* Listings::FindLong(std::uint32_t mount, pst_key128 id, std::string_view path) {
  const auto found = long_at_.find({mount, id});
  return found != long_at_.end() && found->second->path == path ? &*found->second : nullptr;
}

Listings::Long* Listings::MakeLong(std::uint32_t mount, const std::string& path) {
  const CatalogKey key{mount, KeyOf(path)};
  if (const auto old = long_at_.find(key); old != long_at_.end()) DropLong(old->second);
  if (longs_.size() >= kMaxLong) DropLong(longs_.begin());
  const Place place = longs_.emplace(longs_.end());
  place->mount = mount;
  place->path = path;
  long_at_[key] = place;
  return &*place;
}

void Listings::DropLong(Place place) {
  for (const Fence& fence : place->fences) {
    if (fence.slot) spool_.Free(*fence.slot);
  }
  long_at_.erase({place->mount, KeyOf(place->path)});
  longs_.erase(place);
}

void Listings::Keep(Long* listing, std::uint32_t page, std::span<const std::byte> bytes) {
  Fence fence;
  EachListed(bytes, 0, [&fence](const ListedChild& child) {
    fence.first = child.name;
    fence.directory = child.kind == PST_KIND_DIRECTORY;
    fence.number = child.number;
    return false;
  });
  fence.slot = spool_.Write(bytes);
  // Room for the newest: the oldest go.
  while (!fence.slot && spool_.used() != 0 && !longs_.empty() && &longs_.front() != listing) {
    DropLong(longs_.begin());
    fence.slot = spool_.Write(bytes);
  }
  listing->fences.resize(page);
  listing->fences.push_back(std::move(fence));
}

// The last page whose first entry is not after the name.
std::uint32_t Listings::PageFor(const Long& listing, std::string_view name, bool directory,
                                std::uint32_t low) const {
  const auto after = std::partition_point(
      listing.fences.begin() + low, listing.fences.end(), [&](const Fence& fence) {
        return pst_listing_compare(name.data(), static_cast<std::uint32_t>(name.size()), directory,
                                   fence.first.data(), static_cast<std::uint32_t>(fence.first.size()),
                                   fence.directory) >= 0;
      });
  const auto place = static_cast<std::uint32_t>(after - listing.fences.begin());
  return place > low ? place - 1 : low;
}

bool Listings::FromDisk(const Long& listing, pst_key128 id, std::uint32_t page) {
  if (page >= listing.fences.size() || !listing.fences[page].slot) return false;
  pst_listing_page head;
  std::vector<std::byte> bytes(sizeof head);
  const std::uint32_t slot = *listing.fences[page].slot;
  if (!spool_.Read(slot, bytes)) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  const std::uint64_t size = std::uint64_t{head.path_at} + head.path_len;
  if (head.magic != PST_LISTING_MAGIC || size < sizeof head || size > PST_RANGE_BYTES) return false;
  bytes.resize(size);
  if (!spool_.Read(slot, bytes)) return false;
  return Publish(KeyOfPage(listing.mount, id, page), bytes, listing.head.expires_ns);
}

// ---- Reading ----

std::optional<Listings::Head> Listings::Known(std::uint32_t mount, std::string_view path) {
  const pst_key128 id = KeyOf(path);
  if (const Long* listing = FindLong(mount, id, path)) return listing->head;
  const pst_view view = arena_->View();
  pst_listed_name wanted{};
  wanted.ns = PST_NS_FILES | mount;
  wanted.dir = path.data();
  wanted.dir_len = static_cast<std::uint32_t>(path.size());
  wanted.dir_id = id;
  pst_entry entry;
  pst_listing_page first;
  if (pst_listing_load(&view, &wanted, 0, 0, &entry, &first) == 0) return std::nullopt;
  Head head;
  head.id = first.listing_id;
  head.expires_ns = NanosOf(entry.expires_ds);
  head.pages = first.pages;
  head.count = first.total_count;
  head.complete = true;
  head.whole = (first.flags & PST_LISTING_WHOLE) != 0;
  // The state of one that came in pieces is forgotten with its pages on disk: whoever wants it asks anew.
  if (first.pages == 0) return std::nullopt;
  return head;
}

std::span<const std::byte> Listings::InArena(std::uint32_t mount, pst_key128 id, std::string_view path,
                                             std::uint64_t listing_id, std::uint32_t page) const {
  const pst_entry* entry = tier_->Find(KeyOfPage(mount, id, page));
  if (entry == nullptr) return {};
  const std::span<const std::byte> bytes = tier_->BytesOf(*entry);
  pst_listing_page head;
  const bool good = ReadHeader(bytes, &head) && head.page == page && head.listing_id == listing_id &&
                    PathIn(bytes, head) == path;
  return good ? bytes : std::span<const std::byte>{};
}

std::span<const std::byte> Listings::Page(std::uint32_t mount, std::string_view path, const Head& head,
                                          std::uint32_t page) {
  const pst_key128 id = KeyOf(path);
  std::span<const std::byte> bytes = InArena(mount, id, path, head.id, page);
  if (!bytes.empty()) return bytes;
  const Long* listing = FindLong(mount, id, path);
  if (listing == nullptr || listing->head.id != head.id) return {};
  // Last to first, so that the one asked for is the newest.
  const auto end = std::min<std::uint64_t>(std::uint64_t{page} + AheadPages(), listing->fences.size());
  for (auto next = static_cast<std::uint32_t>(end); next > page; --next) {
    if (next - 1 == page || InArena(mount, id, path, head.id, next - 1).empty()) {
      (void)FromDisk(*listing, id, next - 1);
    }
  }
  return InArena(mount, id, path, head.id, page);
}

Listings::Answer Listings::FindLongName(Long* listing, const pst_listed_name& wanted, pst_listed* out) {
  const std::string_view name(wanted.name, wanted.name_len);
  if (listing->fences.empty()) return listing->head.complete ? Answer::kAbsent : Answer::kAsk;
  std::uint32_t page = 0;
  for (const bool directory : {false, true}) {
    const std::uint32_t before = page;
    page = PageFor(*listing, name, directory, page);
    if (directory && page == before) break;
    std::span<const std::byte> bytes = InArena(listing->mount, wanted.dir_id, listing->path,
                                               listing->head.id, page);
    if (bytes.empty() && FromDisk(*listing, wanted.dir_id, page)) {
      bytes = InArena(listing->mount, wanted.dir_id, listing->path, listing->head.id, page);
    }
    pst_listing_page head;
    if (!ReadHeader(bytes, &head)) return Answer::kMissing;
    if (pst_listing_find_in(Raw(bytes), &head, &wanted, out) == PST_LISTED_YES) {
      out->listing_id = listing->head.id;
      out->pages = listing->head.pages;
      return Answer::kThere;
    }
  }
  return listing->head.complete && listing->head.whole ? Answer::kAbsent : Answer::kAsk;
}

Listings::Answer Listings::Find(const Name& name, pst_listed* out, std::int64_t* expires_ns) {
  const pst_listed_name wanted = Wanted(name);
  Answer answer = Answer::kUnlisted;
  *out = {};
  if (Long* listing = FindLong(name.mount, wanted.dir_id, name.directory)) {
    *expires_ns = listing->head.expires_ns;
    answer = FindLongName(listing, wanted, out);
  } else {
    const pst_view view = arena_->View();
    const int found = pst_listing_lookup(&view, &wanted, out);
    *expires_ns = NanosOf(out->expires_ds);
    if (found == PST_LISTED_UNKNOWN) {
      const std::optional<Head> head = Known(name.mount, name.directory);
      if (!head) return Answer::kUnlisted;
      *expires_ns = head->expires_ns;
      return head->complete && head->whole ? Answer::kMissing : Answer::kAsk;
    }
    answer = found == PST_LISTED_YES ? Answer::kThere : Answer::kAbsent;
  }
  const bool doubted = answer == Answer::kThere && out->kind == PST_KIND_FILE && out->attr.version == 0;
  return doubted ? Answer::kAsk : answer;
}

void Listings::Each(std::uint32_t mount, std::string_view path, const Head& head, std::uint64_t from,
                    const std::function<bool(const ListedChild&)>& each) {
  std::uint32_t page = 0;
  if (const Long* listing = FindLong(mount, KeyOf(path), path)) {
    const auto after = std::partition_point(listing->fences.begin(), listing->fences.end(),
                                            [from](const Fence& fence) { return fence.number <= from; });
    page = static_cast<std::uint32_t>(std::max<std::ptrdiff_t>(after - listing->fences.begin(), 1) - 1);
  }
  for (; page < head.pages; ++page) {
    const std::span<const std::byte> bytes = Page(mount, path, head, page);
    if (bytes.empty() || !EachListed(bytes, from, each)) return;
  }
}

// ---- Changing and forgetting ----

void Listings::Change(const Name& name,
                      const std::function<void(pst_listing_entry*, pst_listing_attr*)>& change) {
  const pst_listed_name wanted = Wanted(name);
  pst_listed there;
  std::int64_t expires_ns = 0;
  const Answer answer = Find(name, &there, &expires_ns);
  if (answer != Answer::kThere) return;
  const pst_key key = KeyOfPage(name.mount, wanted.dir_id, there.page);
  const std::span<const std::byte> old =
      InArena(name.mount, wanted.dir_id, name.directory, there.listing_id, there.page);
  if (old.empty()) return;
  std::vector<std::byte> bytes(old.begin(), old.end());
  pst_listing_page head;
  std::uint32_t number = 0;
  if (!ReadHeader(bytes, &head)) return;
  const std::uint32_t at = pst_listing_probe(Raw(bytes), &head, wanted.ns, wanted.id, wanted.name,
                                             wanted.name_len, &number);
  if (at == 0) return;
  change(reinterpret_cast<pst_listing_entry*>(bytes.data() + at),
         reinterpret_cast<pst_listing_attr*>(bytes.data() + head.attrs_at + number * sizeof(pst_listing_attr)));
  if (Long* listing = FindLong(name.mount, wanted.dir_id, name.directory)) {
    Fence& fence = listing->fences[there.page];
    if (fence.slot && !spool_.Rewrite(*fence.slot, bytes)) {
      spool_.Free(*fence.slot);
      fence.slot.reset();
    }
  }
  (void)Publish(key, bytes, expires_ns);
}

void Listings::Doubt(const Name& name) {
  Change(name, [](pst_listing_entry*, pst_listing_attr* attr) { attr->version = 0; });
}

bool Listings::PathOf(std::uint32_t mount, pst_key128 id, std::string* path) {
  const std::uint32_t ns = PST_NS_FILES | mount;
  return tier_->VisitRecords([&](const pst_key& key, std::span<const std::byte> bytes) {
    pst_listing_page head;
    std::uint32_t number = 0;
    if (key.ns != ns || key.range < PST_RANGE_LISTING || !ReadHeader(bytes, &head)) return false;
    const std::uint32_t at = pst_listing_probe(Raw(bytes), &head, ns, id, nullptr, 0, &number);
    if (at == 0) return false;
    const char* name = reinterpret_cast<const char*>(bytes.data()) + at + offsetof(pst_listing_entry, name);
    std::string full(PathIn(bytes, head));
    if (!full.empty()) full += '/';
    full += name;
    const pst_key128 same = KeyOf(full);
    if (same.lo != id.lo || same.hi != id.hi) return false;
    *path = std::move(full);
    return true;
  });
}

void Listings::Forget(std::uint32_t mount, std::string_view path) {
  const std::string_view parent = DirectoryOf(path);
  const auto doomed = [&](std::string_view directory) {
    return directory == parent || IsBelow(directory, path);
  };
  for (Place at = longs_.begin(); at != longs_.end();) {
    const Place place = at++;
    if (place->mount == mount && doomed(place->path)) DropLong(place);
  }
  const std::uint32_t ns = PST_NS_FILES | mount;
  tier_->EraseRecords([&](const pst_key& key, std::span<const std::byte> bytes) {
    if (key.ns != ns || key.range < PST_RANGE_LISTING) return false;
    const std::optional<std::string_view> directory = DirectoryOf(bytes);
    return !directory || doomed(*directory);
  });
}

}  // namespace penstock::cache
