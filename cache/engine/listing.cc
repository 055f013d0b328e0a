#include "cache/engine/listing.h"

#include <tbb/parallel_sort.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "shim/abi/abi.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kNameAt = offsetof(pst_listing_entry, name);
// TBB's library is not instrumented: ThreadSanitizer would not see how it hands work over.
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t kParallelSort = SIZE_MAX;
#else
constexpr std::size_t kParallelSort = 20'000;
#endif

std::string_view NameOf(const std::byte* entry) {
  return reinterpret_cast<const char*>(entry) + kNameAt;
}

}  // namespace

std::span<const std::byte> Listing::Page(std::uint32_t page) const {
  const std::size_t begin = page_at_[page];
  const std::size_t end = page + 1 < page_at_.size() ? page_at_[page + 1] : bytes_.size();
  return std::span(bytes_).subspan(begin, end - begin);
}

const pst_listing_entry* Listing::Entry(std::uint64_t index) const {
  return reinterpret_cast<const pst_listing_entry*>(bytes_.data() + entry_at_[index]);
}

std::optional<Listing::Child> Listing::At(std::uint64_t index) const {
  if (index >= entry_at_.size()) return std::nullopt;
  const bool folder = Entry(index)->type == PST_LISTING_DIRECTORY;
  return Child{NameOf(bytes_.data() + entry_at_[index]),
               folder ? PST_KIND_DIRECTORY : PST_KIND_FILE};
}

std::int64_t Listing::IndexOf(std::string_view name, std::int64_t near) const {
  if (const auto child = At(static_cast<std::uint64_t>(near)); child && child->name == name) return near;
  const auto found = std::lower_bound(
      entry_at_.begin(), entry_at_.end(), name,
      [this](std::uint32_t at, std::string_view wanted) { return NameOf(bytes_.data() + at) < wanted; });
  if (found == entry_at_.end() || NameOf(bytes_.data() + *found) != name) return -1;
  return found - entry_at_.begin();
}

bool Listing::SameContent(const Listing& other) const {
  if (count_ != other.count_ || bytes_.size() != other.bytes_.size()) return false;
  for (std::size_t i = 0; i < entry_at_.size(); ++i) {
    if (entry_at_[i] != other.entry_at_[i]) return false;
    const std::size_t bytes = Entry(i)->record_bytes;
    if (std::memcmp(Entry(i), other.Entry(i), bytes) != 0) return false;
  }
  return true;
}

void Listing::SetId(std::uint64_t id) {
  id_ = id;
  for (const std::uint32_t at : page_at_) {
    reinterpret_cast<pst_listing_page*>(bytes_.data() + at)->listing_id = id;
  }
}

void ListingBuilder::Add(std::string_view name, std::uint64_t ino, std::uint8_t kind) {
  if (name.empty() || name.size() > 255 || name.contains('\0') || Full()) return;
  const std::size_t bytes = PST_LISTING_ENTRY_BYTES(name.size());
  const std::size_t at = entries_.size();
  entries_.resize(at + bytes);  // zeroed: the NUL and the padding
  auto* entry = reinterpret_cast<pst_listing_entry*>(entries_.data() + at);
  entry->ino = ino;
  entry->record_bytes = static_cast<std::uint16_t>(bytes);
  entry->type = kind == PST_KIND_DIRECTORY ? PST_LISTING_DIRECTORY : PST_LISTING_FILE;
  std::memcpy(entries_.data() + at + kNameAt, name.data(), name.size());
  offsets_.push_back(static_cast<std::uint32_t>(at));
}

std::string_view ListingBuilder::NameAt(std::uint32_t offset) const {
  return NameOf(entries_.data() + offset);
}

Listing ListingBuilder::Finish(std::uint64_t id) {
  const auto less = [this](std::uint32_t a, std::uint32_t b) { return NameAt(a) < NameAt(b); };
  if (!std::is_sorted(offsets_.begin(), offsets_.end(), less)) {
    if (offsets_.size() > kParallelSort) {
      tbb::parallel_sort(offsets_.begin(), offsets_.end(), less);
    } else {
      std::sort(offsets_.begin(), offsets_.end(), less);
    }
  }
  const auto same = [this](std::uint32_t a, std::uint32_t b) { return NameAt(a) == NameAt(b); };
  offsets_.erase(std::unique(offsets_.begin(), offsets_.end(), same), offsets_.end());

  Listing listing;
  listing.count_ = offsets_.size();
  listing.entry_at_.reserve(offsets_.size());
  listing.bytes_.reserve(entries_.size() + sizeof(pst_listing_page) * (entries_.size() / 32'768 + 1));
  const auto page = [&listing] {
    return reinterpret_cast<pst_listing_page*>(listing.bytes_.data() + listing.page_at_.back());
  };
  const auto open_page = [&listing] {
    listing.page_at_.push_back(static_cast<std::uint32_t>(listing.bytes_.size()));
    listing.bytes_.resize(listing.bytes_.size() + sizeof(pst_listing_page));
  };
  const auto close_page = [&listing, &page] {
    page()->bytes = static_cast<std::uint32_t>(listing.bytes_.size() - listing.page_at_.back());
  };
  open_page();
  for (const std::uint32_t at : offsets_) {
    const std::byte* entry = entries_.data() + at;
    const std::size_t bytes = reinterpret_cast<const pst_listing_entry*>(entry)->record_bytes;
    if (listing.bytes_.size() - listing.page_at_.back() + bytes > PST_RANGE_BYTES) {
      close_page();
      open_page();
    }
    listing.entry_at_.push_back(static_cast<std::uint32_t>(listing.bytes_.size()));
    listing.bytes_.insert(listing.bytes_.end(), entry, entry + bytes);
    reinterpret_cast<pst_listing_entry*>(listing.bytes_.data() + listing.entry_at_.back())->next =
        static_cast<std::int64_t>(listing.entry_at_.size()) + 2;
    ++page()->count;
  }
  close_page();
  for (std::uint32_t i = 0; i < listing.pages(); ++i) {
    auto* head = reinterpret_cast<pst_listing_page*>(listing.bytes_.data() + listing.page_at_[i]);
    head->magic = PST_LISTING_MAGIC;
    head->page = i;
    head->pages = listing.pages();
    head->total_count = listing.count_;
  }
  listing.SetId(id);
  *this = {};
  return listing;
}

}  // namespace penstock::cache
