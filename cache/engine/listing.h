// A directory's listing in the form clients read (shim/abi/record.h): sorted by name, cut into pages.
//
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shim/abi/record.h"

namespace penstock::cache {

// The finished pages, one after the other; each but the last is as full as its entries allow.
class Listing {
 public:
  std::uint64_t id() const { return id_; }
  std::uint32_t pages() const { return static_cast<std::uint32_t>(page_at_.size()); }
  std::span<const std::byte> Page(std::uint32_t page) const;
  std::span<const std::byte> bytes() const { return bytes_; }
  std::uint64_t count() const { return count_; }

  struct Child {
    std::string_view name;
    std::uint32_t kind = PST_KIND_ABSENT;
  };
  // Position of a name, -1 if it is not there; `near` is where to look first.
  std::int64_t IndexOf(std::string_view name, std::int64_t near) const;
  std::optional<Child> At(std::uint64_t index) const;
  // True if both list the same entries.
  bool SameContent(const Listing& other) const;
  // Puts `id` into every page.
  void SetId(std::uint64_t id);

 private:
  friend class ListingBuilder;
  const pst_listing_entry* Entry(std::uint64_t index) const;

  std::vector<std::byte> bytes_;
  std::vector<std::uint32_t> page_at_;
  std::vector<std::uint32_t> entry_at_;   // offset of each entry in bytes_
  std::uint64_t id_ = 0;
  std::uint64_t count_ = 0;
};

// Collects children in any order. A listing beyond kMaxBytes is not built: Full() says so.
class ListingBuilder {
 public:
  static constexpr std::size_t kMaxBytes = 256u << 20;  // some 3 million names

  // Names that are empty, longer than 255 bytes or hold a NUL are left out.
  void Add(std::string_view name, std::uint64_t ino, std::uint8_t kind);
  bool Full() const { return entries_.size() > kMaxBytes; }
  // Sorts (in parallel when it is large), drops repeated names, and cuts pages. The builder is empty then.
  Listing Finish(std::uint64_t id);

 private:
  std::string_view NameAt(std::uint32_t offset) const;

  std::vector<std::byte> entries_;
  std::vector<std::uint32_t> offsets_;
};

}  // namespace penstock::cache
