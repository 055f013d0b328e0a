#include "cache/engine/listing.h"

#include <tbb/parallel_sort.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "shim/abi/abi.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kNameAt = offsetof(pst_listing_entry, name);
constexpr std::size_t kHead = sizeof(pst_listing_page);
// TBB's library is not instrumented: ThreadSanitizer would not see how it hands work over.
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t kParallelSort = SIZE_MAX;
#else
constexpr std::size_t kParallelSort = 20'000;
#endif
// Of a packed token: how it is written, above 60 bits of number.
constexpr unsigned kTokenBits = 60;
constexpr std::uint64_t kShortest = 1;  // without zeros in front
constexpr std::uint64_t kFifteen = 2;   // fifteen digits
constexpr std::uint64_t kQuoted = 8;

std::size_t PageBytes(std::size_t entry_bytes, std::size_t count, std::size_t path_bytes) {
  return kHead + entry_bytes + count * sizeof(pst_listing_attr) +
         2 * pst_listing_slots(static_cast<std::uint32_t>(count)) + path_bytes;
}

}  // namespace

bool EachListed(std::span<const std::byte> page, std::uint64_t from,
                const std::function<bool(const ListedChild&)>& each) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(page.data());
  pst_listing_page head;
  if (pst_listing_header(bytes, static_cast<std::uint32_t>(page.size()), &head) == 0) return true;
  std::uint32_t at = kHead;
  for (std::uint32_t i = 0; i < head.count; ++i) {
    pst_listing_entry entry;
    const std::uint32_t length = pst_listing_entry_at(bytes, head.bytes, at, &entry);
    if (length == 0) return true;
    if (head.first + std::uint64_t{i} >= from) {
      ListedChild child;
      child.name = reinterpret_cast<const char*>(bytes) + at + kNameAt;
      child.kind = entry.type == PST_LISTING_DIRECTORY ? PST_KIND_DIRECTORY : PST_KIND_FILE;
      child.number = head.first + std::uint64_t{i};
      std::memcpy(&child.attr, bytes + head.attrs_at + i * sizeof child.attr, sizeof child.attr);
      if (!each(child)) return false;
    }
    at += length;
  }
  return true;
}

std::string UnpackToken(std::uint64_t packed) {
  if (packed == 0) return "";
  const std::uint64_t form = packed >> kTokenBits;
  char digits[16];
  const auto end =
      std::to_chars(digits, digits + sizeof digits, packed & ((1ull << kTokenBits) - 1), 16).ptr;
  std::string text(digits, end);
  for (char& c : text) c = static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
  if ((form & ~kQuoted) == kFifteen) text.insert(0, 15 - text.size(), '0');
  text.insert(0, "0x");
  return (form & kQuoted) != 0 ? '"' + text + '"' : text;
}

std::uint64_t PackToken(std::string_view token) {
  std::string_view digits = token;
  std::uint64_t quoted = 0;
  if (digits.size() > 2 && digits.front() == '"' && digits.back() == '"') {
    digits = digits.substr(1, digits.size() - 2);
    quoted = kQuoted;
  }
  if (!digits.starts_with("0x")) return 0;
  digits.remove_prefix(2);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  if (error != std::errc{} || end != digits.data() + digits.size() || number >> kTokenBits != 0) return 0;
  for (const std::uint64_t form : {kShortest, kFifteen}) {
    const std::uint64_t packed = (form | quoted) << kTokenBits | number;
    if (UnpackToken(packed) == token) return packed;
  }
  return 0;
}

void ListingBuilder::Add(std::string_view name, pst_key128 id, std::uint32_t kind,
                         const pst_listing_attr& attr) {
  if (name.empty() || name.size() > 255 || name.contains('\0') || name.contains('/') || Full()) return;
  Item item;
  item.at = static_cast<std::uint32_t>(names_.size());
  item.name_len = static_cast<std::uint8_t>(name.size());
  item.directory = kind == PST_KIND_DIRECTORY;
  item.id = id;
  item.attr = attr;
  names_.insert(names_.end(), name.begin(), name.end());
  bytes_ += Bytes(item) + sizeof item;
  items_.push_back(item);
}

ListedChild ListingBuilder::ChildAt(std::size_t index) const {
  const Item& item = items_[index];
  return {NameOf(item), item.directory ? PST_KIND_DIRECTORY : PST_KIND_FILE, index, item.attr};
}

bool ListingBuilder::Before(const Item& a, const Item& b) const {
  return pst_listing_compare(names_.data() + a.at, a.name_len, a.directory, names_.data() + b.at,
                             b.name_len, b.directory) < 0;
}

void ListingBuilder::Sort() {
  const auto before = [this](const Item& a, const Item& b) { return Before(a, b); };
  if (!std::is_sorted(items_.begin(), items_.end(), before)) {
    if (items_.size() > kParallelSort) {
      tbb::parallel_sort(items_.begin(), items_.end(), before);
    } else {
      std::sort(items_.begin(), items_.end(), before);
    }
  }
  const auto same = [this](const Item& a, const Item& b) {
    return a.directory == b.directory && NameOf(a) == NameOf(b);
  };
  items_.erase(std::unique(items_.begin(), items_.end(), same), items_.end());
  DropFilesBehindDirectories();
}

void ListingBuilder::DropFilesBehindDirectories() {
  std::vector<std::size_t> doomed;
  for (const Item& item : items_) {
    if (!item.directory) continue;
    Item file = item;
    file.directory = false;
    const auto found =
        std::lower_bound(items_.begin(), items_.end(), file,
                         [this](const Item& a, const Item& b) { return Before(a, b); });
    if (found != items_.end() && !found->directory && NameOf(*found) == NameOf(file)) {
      doomed.push_back(static_cast<std::size_t>(found - items_.begin()));
    }
  }
  if (doomed.empty()) return;
  std::sort(doomed.begin(), doomed.end());
  std::size_t next = 0, kept = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (next < doomed.size() && doomed[next] == i) {
      ++next;
    } else {
      items_[kept++] = items_[i];
    }
  }
  items_.resize(kept);
}

// Of what a reader of the directory sees: the same entries have the same one.
std::uint64_t ListingBuilder::Digest(std::uint32_t ns) const {
  std::uint64_t digest = 0x70656e73746f636bull;
  for (const Item& item : items_) {
    const std::uint64_t seed = digest ^ pst_inode(ns, item.id) ^ (item.directory ? 1u << 31 : 0u);
    digest = XXH3_64bits_withSeed(names_.data() + item.at, item.name_len, seed);
  }
  return digest != 0 ? digest : 1;
}

// Where each page begins: each but the last is as full as its entries allow.
std::vector<std::size_t> ListingBuilder::CutPages(std::size_t path_bytes) const {
  std::vector<std::size_t> begins;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const std::size_t more = Bytes(items_[i]);
    if (begins.empty() || PageBytes(bytes + more, i + 1 - begins.back(), path_bytes) > PST_RANGE_BYTES) {
      begins.push_back(i);
      bytes = 0;
    }
    bytes += more;
  }
  return begins;
}

void ListingBuilder::FillPage(std::span<std::byte> page, pst_listing_page head, const Shape& shape,
                              std::size_t begin) const {
  const auto put = [page](std::size_t at, const void* from, std::size_t bytes) {
    if (bytes != 0) std::memcpy(page.data() + at, from, bytes);
  };
  std::size_t at = kHead;
  const std::uint32_t slots = head.finder_slots;
  const auto finder = [page, &head](std::uint32_t slot) { return page.data() + head.finder_at + 2 * slot; };
  for (std::uint32_t i = 0; i < head.count; ++i) {
    const Item& item = items_[begin + i];
    pst_listing_entry entry{};
    entry.ino = pst_inode(shape.ns, item.id);
    entry.next = static_cast<std::int64_t>(head.first) + i + 3;
    entry.record_bytes = static_cast<std::uint16_t>(Bytes(item));
    entry.type = item.directory ? PST_LISTING_DIRECTORY : PST_LISTING_FILE;
    put(at, &entry, kNameAt);
    put(at + kNameAt, names_.data() + item.at, item.name_len);
    put(head.attrs_at + i * sizeof item.attr, &item.attr, sizeof item.attr);
    std::uint32_t slot = pst_listing_slot(item.id, slots);
    std::uint16_t there = 0;
    while (std::memcpy(&there, finder(slot), sizeof there), there != 0) slot = (slot + 1) & (slots - 1);
    there = static_cast<std::uint16_t>(at / 8);
    std::memcpy(finder(slot), &there, sizeof there);
    at += entry.record_bytes;
  }
  head.bytes = static_cast<std::uint32_t>(at);
  put(head.path_at, shape.path.data(), shape.path.size());
  put(0, &head, sizeof head);
}

ListingBuilder::Made ListingBuilder::Finish(const Shape& shape, const Sink& sink) {
  std::vector<std::size_t> begins = CutPages(shape.path.size());
  if (begins.empty() && !shape.open) begins.push_back(0);
  Made made;
  made.listing_id = shape.listing_id != 0 ? shape.listing_id : Digest(shape.ns);
  made.pages = shape.first_page + static_cast<std::uint32_t>(begins.size());
  made.count = shape.first_number + items_.size();
  std::vector<std::byte> page;
  for (std::size_t n = 0; n < begins.size(); ++n) {
    const std::size_t end = n + 1 < begins.size() ? begins[n + 1] : items_.size();
    const bool known = !shape.open || (shape.last && n + 1 == begins.size());
    pst_listing_page head{};
    head.magic = PST_LISTING_MAGIC;
    head.page = shape.first_page + static_cast<std::uint32_t>(n);
    head.pages = known ? made.pages : 0;
    head.total_count = known ? made.count : 0;
    head.count = static_cast<std::uint32_t>(end - begins[n]);
    head.flags = shape.whole ? PST_LISTING_WHOLE : 0;
    head.listing_id = made.listing_id;
    head.first = static_cast<std::uint32_t>(shape.first_number + begins[n]);
    std::size_t entry_bytes = 0;
    for (std::size_t i = begins[n]; i < end; ++i) entry_bytes += Bytes(items_[i]);
    head.attrs_at = static_cast<std::uint32_t>(kHead + entry_bytes);
    head.finder_at = head.attrs_at + head.count * static_cast<std::uint32_t>(sizeof(pst_listing_attr));
    head.finder_slots = pst_listing_slots(head.count);
    head.path_at = head.finder_at + 2 * head.finder_slots;
    head.path_len = static_cast<std::uint32_t>(shape.path.size());
    page.assign(head.path_at + shape.path.size(), std::byte{0});
    FillPage(page, head, shape, begins[n]);
    sink(head.page, page);
  }
  *this = {};
  return made;
}

}  // namespace penstock::cache
