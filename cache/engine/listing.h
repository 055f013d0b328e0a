// Makes the pages of a directory's listing as clients read them (shim/abi/record.h): in one order, each
// with what is known about its names and a table that finds them.
//
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shim/abi/listing.h"

namespace penstock::cache {

// One of a directory's children, as a page tells it. `name` points into the page.
struct ListedChild {
  std::string_view name;
  std::uint32_t kind = PST_KIND_ABSENT;
  std::uint64_t number = 0;  // in the whole listing
  pst_listing_attr attr{};
};

// Calls `each` for the entries of a page from `from` (a number in the whole listing) on, until it says
// false. False if it did.
bool EachListed(std::span<const std::byte> page, std::uint64_t from,
                const std::function<bool(const ListedChild&)>& each);

// The origin's version token in 64 bits, where it has the form of Azure's entity tags ("0x8DC..." with or
// without quotes); 0 for others. UnpackToken gives it back, "" for 0.
std::uint64_t PackToken(std::string_view token);
std::string UnpackToken(std::uint64_t packed);

// Collects children in any order and cuts them into pages. More than kMaxBytes are not taken: Full() says
// so.
class ListingBuilder {
 public:
  static constexpr std::size_t kMaxBytes = 256u << 20;

  struct Shape {
    std::uint32_t ns = 0;
    std::string_view path;          // of the directory
    std::uint64_t listing_id = 0;   // 0: a digest of the entries
    std::uint32_t first_page = 0;
    std::uint64_t first_number = 0;
    bool open = false;              // more pages may come
    bool last = false;              // of an open one: no more will
    bool whole = true;              // PST_LISTING_WHOLE
  };
  struct Made {
    std::uint64_t listing_id = 0;
    std::uint32_t pages = 0;        // behind the last of these
    std::uint64_t count = 0;        // the same
  };
  using Sink = std::function<void(std::uint32_t page, std::span<const std::byte> bytes)>;

  // `id` is the key of the child's whole path. Names that are empty, longer than 255 bytes or hold a NUL
  // or a slash are left out.
  void Add(std::string_view name, pst_key128 id, std::uint32_t kind, const pst_listing_attr& attr);
  bool Full() const { return bytes_ > kMaxBytes; }
  bool empty() const { return items_.empty(); }
  // Puts them into order (in parallel when there are many) and drops repeated names; where a file and a
  // directory have one name, the directory stays.
  void Sort();
  // Of what has been sorted.
  ListedChild First() const { return ChildAt(0); }
  ListedChild Last() const { return ChildAt(items_.size() - 1); }
  ListedChild ChildAt(std::size_t index) const;
  std::size_t size() const { return items_.size(); }
  std::size_t PageCount(std::string_view path) const { return CutPages(path.size()).size(); }
  // Gives the pages out, one even for no entries unless it is open. The builder is empty then.
  Made Finish(const Shape& shape, const Sink& sink);

 private:
  struct Item {
    std::uint32_t at = 0;           // of the name in names_
    std::uint8_t name_len = 0;
    bool directory = false;
    pst_key128 id{};
    pst_listing_attr attr{};
  };
  std::string_view NameOf(const Item& item) const { return {names_.data() + item.at, item.name_len}; }
  static std::size_t Bytes(const Item& item) { return PST_LISTING_ENTRY_BYTES(item.name_len); }
  bool Before(const Item& a, const Item& b) const;
  void DropFilesBehindDirectories();
  std::uint64_t Digest(std::uint32_t ns) const;
  std::vector<std::size_t> CutPages(std::size_t path_bytes) const;
  void FillPage(std::span<std::byte> page, pst_listing_page head, const Shape& shape,
                std::size_t begin) const;

  std::vector<char> names_;
  std::vector<Item> items_;
  std::size_t bytes_ = 0;
};

}  // namespace penstock::cache
