#include "cache/engine/siblings.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cache/engine/name_paths.h"

namespace penstock::cache {
Siblings::Reader& Siblings::ReaderFor(const Place& place) {
  const pst_key128 id = KeyOf(place.directory);
  const Key key{place.mount, id.lo, id.hi, place.session};
  const auto found = readers_.find(key);
  if (found != readers_.end()) return found->second;
  if (readers_.size() >= kMaxReaders) {
    readers_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(key);
  Reader& reader = readers_[key];
  reader.group = ++last_group_;
  return reader;
}

Siblings::Walk& Siblings::WalkFor(const Place& place) {
  const std::pair key{place.mount, place.session};
  if (walks_.size() >= kMaxReaders && !walks_.contains(key)) walks_.erase(walks_.begin());
  return walks_[key];
}

std::uint32_t Siblings::MostWindow(std::uint32_t mount) const {
  return std::clamp(4 * fetcher_->Parallelism(mount), kLastWindow, kMostWindow);
}

void Siblings::OnAsk(const FileInfo& file, std::uint64_t session) {
  const std::string directory(DirectoryOf(file.path));
  const std::string name(NameOf(file.path));
  const Place place{file.key.mount, session, directory};
  const auto listing = names_->listings().Known(place.mount, directory);
  if (!listing) return;
  Reader& reader = ReaderFor(place);
  const std::int64_t index = names_->NumberOf(place.mount, directory, name);
  if (index < 0 || index == reader.last) return;
  NoteDirectory(place, reader);
  // In order: the next one, or one that was prefetched for this reader.
  if (index > reader.last && reader.last != kNowhere &&
      index <= std::max(reader.ahead, reader.last) + 1) {
    reader.last = index;
    reader.ahead = std::max(reader.ahead, index);
    if (reader.IsDue()) Prefetch(place, *listing, &reader);
    return;
  }
  if (reader.window != 0) fetcher_->DropPrefetch(reader.group);
  reader.last = index;
  reader.ahead = index;
  reader.window = 0;
}

// It is in another directory than before: expected there, or the next one after a whole directory.
void Siblings::NoteDirectory(const Place& place, const Reader& reader) {
  Walk& walk = WalkFor(place);
  if (walk.directory == place.directory) return;
  const bool foreseen = reader.last == kAtStart;
  walk.expected = foreseen || (walk.at_end && IsNext(place.mount, walk.directory, place.directory));
  walk.directory = place.directory;
  walk.at_end = false;
}

// Never by more than was read since it grew last: who stops early has caused little work for nothing.
void Siblings::Grow(std::uint32_t mount, Reader* reader) const {
  if (reader->window != 0 && reader->last - reader->grown < reader->window / 2) return;
  reader->grown = reader->last;
  reader->window = std::min(std::max(2 * reader->window, kFirstWindow), MostWindow(mount));
}

void Siblings::Prefetch(const Place& place, const Listings::Head& listing, Reader* reader) {
  Grow(place.mount, reader);
  std::uint64_t budget =
      static_cast<std::uint64_t>(fetcher_->MaxWindowRanges(place.mount)) << PST_RANGE_SHIFT;
  std::vector<FileKey> wanted;
  const std::int64_t begin = reader->ahead + 1;
  const std::int64_t count = reader->last + reader->window - begin + 1;
  // First their names: what is done with them may publish other pages in the place of theirs.
  std::vector<std::string> names;
  if (count > 0) {
    names_->listings().Each(place.mount, place.directory, listing, static_cast<std::uint64_t>(begin),
                            [&names, count](const ListedChild& child) {
                              const bool file = child.kind == PST_KIND_FILE;
                              names.emplace_back(file ? child.name : std::string_view{});
                              return names.size() < static_cast<std::size_t>(count);
                            });
  }
  bool room = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    FileKey key;
    room = names[i].empty() || PrefetchOne(place, names[i], reader->group, &budget, &key);
    if (!room) break;
    reader->ahead = begin + static_cast<std::int64_t>(i);
    if (key.version != 0) wanted.push_back(key);
  }
  // Who stands on it has half of the window before him.
  if (!wanted.empty()) fetcher_->Mark(wanted[wanted.size() / 2], 0);
  Walk& walk = WalkFor(place);
  const bool here = walk.directory == place.directory;
  const bool ends = reader->ahead + 1 >= static_cast<std::int64_t>(listing.count) && listing.complete;
  if (here) walk.at_end = ends;
  if (!room || !ends || !walk.expected) return;
  // What is left of the window, and less with each directory that has little: it ends.
  const auto used = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
      reader->ahead - reader->last, reader->window / 4, reader->window));
  const std::uint32_t left = reader->window - used;
  if (here || left >= kFirstWindow) GoOn(place, std::max(left, kFirstWindow));
}

bool Siblings::PrefetchOne(const Place& place, const std::string& name, std::uint64_t group,
                           std::uint64_t* budget, FileKey* wanted) {
  const std::string path = JoinPath(place.directory, name);
  const NameEntry* entry = names_->Fresh(place.mount, path);
  if (entry == nullptr || entry->kind != PST_KIND_FILE || entry->size == 0 ||
      entry->size > options_.whole_file_bytes) {
    return true;
  }
  if (entry->size > *budget) return false;
  *budget -= entry->size;
  const FileInfo file{{place.mount, KeyOf(path), entry->version}, path, entry->token, entry->size};
  fetcher_->Prefetch(file, 0, file.Ranges() - 1, group);
  *wanted = file.key;
  ++prefetched_;
  return true;
}

bool Siblings::IsNext(std::uint32_t mount, const std::string& from, const std::string& to) {
  const std::string parent(DirectoryOf(from));
  if (DirectoryOf(to) != parent) return false;
  return names_->listings().Known(mount, parent) ? NextDirectory(mount, from) == to : from < to;
}

// Into the next directory, which its parent's listing tells.
void Siblings::GoOn(const Place& place, std::uint32_t window) {
  const std::string parent(DirectoryOf(place.directory));
  if (place.directory.empty()) return;
  if (names_->listings().Known(place.mount, parent)) return GoInto(place, window);
  names_->List(place.mount, parent, 0, 0, NextAsker(),
               [this, place, window](int err, const Listings::Head&) {
                 if (err == 0) GoInto(place, window);
               });
}

// With `window` files at most for the beginning.
void Siblings::GoInto(const Place& place, std::uint32_t window) {
  std::string next = NextDirectory(place.mount, place.directory);
  if (next.empty()) return;
  const Place into{place.mount, place.session, std::move(next)};
  names_->List(into.mount, into.directory, 0, 0, NextAsker(),
               [this, into, window](int err, const Listings::Head& listing) {
                 if (err != 0) return;
                 Reader& reader = ReaderFor(into);
                 if (reader.last == kNowhere) {
                   reader.last = reader.ahead = reader.grown = kAtStart;
                   reader.window = 0;
                 }
                 if (reader.last != kAtStart) return;  // it is or was there already
                 // More of it as the reader comes nearer.
                 reader.window = std::max(reader.window, window);
                 if (reader.IsDue()) Prefetch(into, listing, &reader);
               });
}

// The directory that follows in the parent's listing; "" if none does, or it is not known.
std::string Siblings::NextDirectory(std::uint32_t mount, const std::string& directory) {
  if (directory.empty()) return "";
  const std::string parent(DirectoryOf(directory));
  const std::string name(NameOf(directory));
  const auto listing = names_->listings().Known(mount, parent);
  const std::int64_t here = listing ? names_->NumberOf(mount, parent, name) : -1;
  if (here < 0) return "";
  std::string next;
  std::int64_t looked = 0;
  names_->listings().Each(mount, parent, *listing, static_cast<std::uint64_t>(here + 1),
                          [&](const ListedChild& child) {
                            if (child.kind == PST_KIND_DIRECTORY) next = JoinPath(parent, child.name);
                            return next.empty() && ++looked < kNextSearch;
                          });
  return next;
}

}  // namespace penstock::cache
