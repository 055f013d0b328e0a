#include "cache/engine/siblings.h"

#include <algorithm>
#include <memory>
#include <string>

namespace penstock::cache {

Siblings::Reader& Siblings::ReaderFor(const Key& key) {
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

void Siblings::OnAsk(const FileInfo& file, std::uint64_t session) {
  const std::size_t slash = file.path.rfind('/');
  const std::string directory = slash == std::string::npos ? std::string() : file.path.substr(0, slash);
  const std::string_view name =
      slash == std::string::npos ? std::string_view(file.path) : std::string_view(file.path).substr(slash + 1);
  const std::shared_ptr<const Listing> listing = names_->KnownListing(file.key.mount, directory);
  if (!listing) return;
  const pst_key128 id = KeyOf(directory);
  Reader& reader = ReaderFor({file.key.mount, id.lo, id.hi, session});
  const std::int64_t index = listing->IndexOf(name, reader.last + 1);
  if (index < 0 || index == reader.last) return;
  // In order: the next one, or one that was prefetched for this reader.
  if (index > reader.last && reader.last >= 0 && index <= std::max(reader.ahead, reader.last) + 1) {
    reader.last = index;
    reader.ahead = std::max(reader.ahead, index);
    if (reader.ahead - index <= reader.window / 2) Prefetch(file, directory, *listing, &reader);
    return;
  }
  if (reader.window != 0) fetcher_->DropPrefetch(reader.group);
  reader.last = index;
  reader.ahead = index;
  reader.window = 0;
}

void Siblings::Prefetch(const FileInfo& file, std::string_view directory, const Listing& listing,
                        Reader* reader) {
  reader->window = reader->window == 0 ? kFirstWindow : std::min(2 * reader->window, kLastWindow);
  std::uint64_t budget = std::min<std::uint64_t>(
      kMaxBytes, static_cast<std::uint64_t>(fetcher_->MaxWindowRanges(file.key.mount)) << PST_RANGE_SHIFT);
  const std::int64_t begin = reader->ahead + 1;
  for (std::int64_t at = begin; at < begin + reader->window; ++at) {
    const auto child = listing.At(static_cast<std::uint64_t>(at));
    if (!child) return;
    reader->ahead = at;
    if (child->kind != PST_KIND_FILE) continue;
    std::string path(directory);
    if (!path.empty()) path += '/';
    path += child->name;
    const NameEntry* entry = names_->Fresh(file.key.mount, path);
    if (entry == nullptr || entry->kind != PST_KIND_FILE || entry->size == 0 ||
        entry->size > options_.whole_file_bytes) {
      continue;
    }
    if (entry->size > budget) return;
    budget -= entry->size;
    const FileInfo next{{file.key.mount, KeyOf(path), entry->version}, path, entry->token, entry->size};
    fetcher_->Prefetch(next, 0, next.Ranges() - 1, reader->group);
    if (at == begin + reader->window / 2) fetcher_->Mark(next.key, 0);
    ++prefetched_;
  }
}

}  // namespace penstock::cache
