// Listings of directories: what is known about a directory's children, all in shared memory.
//
// A listing is its pages (shim/abi/record.h): readdir reads their entries, stat finds names in them, and
// so does this class; nothing about a listed name is kept twice. A short listing (up to kShortPages) is in
// the arena only, and asked for again when it has been pushed out. A long one may be published while it
// comes, page by page; its pages are on disk too (PageSpool), with the first name of each in memory, so
// that a directory of millions of names needs neither their room in the arena nor the same questions twice.
//
// Thread safety: the core thread only. Spans and names are valid until the next call that publishes.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/engine/catalog.h"
#include "cache/engine/listing.h"
#include "cache/engine/page_spool.h"
#include "cache/memory/arena.h"
#include "cache/memory/memory_tier.h"

namespace penstock::cache {

class Listings {
 public:
  static constexpr std::uint32_t kShortPages = 8;
  static constexpr std::size_t kMaxLong = 256;

  struct Head {
    std::uint64_t id = 0;
    std::uint32_t pages = 0;  // that have come
    std::uint64_t count = 0;  // entries in them
    bool complete = false;    // those are all
    bool whole = false;       // a name that is in none of them is not there
    std::int64_t expires_ns = 0;
  };
  enum class Answer : std::uint8_t {
    kThere,
    kAbsent,
    kAsk,       // the listing cannot tell
    kMissing,   // it could, but the page is not at hand
    kUnlisted,  // there is no listing
  };
  struct Name {
    std::uint32_t mount = 0;
    std::string_view directory;
    std::string_view name;
    pst_key128 id{};          // of the whole path
  };

  Listings(Arena* arena, MemoryTier* tier, std::string spool_folder)
      : arena_(arena), tier_(tier), spool_(std::move(spool_folder)) {}

  // Publishes a whole listing. `whole` as in Head.
  Head Put(std::uint32_t mount, const std::string& path, ListingBuilder* children, bool whole,
           std::int64_t expires_ns);
  // The next names of a listing that comes piece by piece: `head` is what the last call gave, {} for a
  // new one. False, and nothing is changed, if they do not all come after those before.
  bool Append(std::uint32_t mount, const std::string& path, ListingBuilder* children, bool last,
              bool whole, std::int64_t expires_ns, Head* head);

  // Of any age.
  std::optional<Head> Known(std::uint32_t mount, std::string_view path);
  // A page of it, from disk if need be, in which case it is published with some that follow; empty if it
  // is not at hand.
  std::span<const std::byte> Page(std::uint32_t mount, std::string_view path, const Head& head,
                                  std::uint32_t page);
  // `out` is filled for kThere, and its expiry for kAbsent; of any age.
  Answer Find(const Name& wanted, pst_listed* out, std::int64_t* expires_ns);
  // Goes through the entries from number `from` on until `each` says false.
  void Each(std::uint32_t mount, std::string_view path, const Head& head, std::uint64_t from,
            const std::function<bool(const ListedChild&)>& each);

  // What the listing says about a name does not hold any more: it is to be asked for.
  void Doubt(const Name& name);
  // The path behind a key, if it is listed: looks through all pages in the arena.
  bool PathOf(std::uint32_t mount, pst_key128 id, std::string* path);
  // Drops the listings of `path`, of its parent and of what lies below it ("" all).
  void Forget(std::uint32_t mount, std::string_view path);

 private:
  struct Fence {               // one page of a long listing
    std::string first;         // name of its first entry
    bool directory = false;
    std::uint64_t number = 0;  // of that entry
    std::optional<std::uint32_t> slot;
  };
  struct Long {
    std::uint32_t mount = 0;
    std::string path;
    Head head;
    std::string last;          // name of the last entry
    bool last_directory = false;
    std::vector<Fence> fences;
  };
  using Place = std::list<Long>::iterator;

  static pst_key KeyOfPage(std::uint32_t mount, pst_key128 id, std::uint32_t page);
  Long* FindLong(std::uint32_t mount, pst_key128 id, std::string_view path);
  Long* MakeLong(std::uint32_t mount, const std::string& path);
  void DropLong(Place place);
  void Keep(Long* listing, std::uint32_t page, std::span<const std::byte> bytes);
  void PublishHead(const Long& listing);
  bool Publish(const pst_key& key, std::span<const std::byte> bytes, std::int64_t expires_ns);
  std::span<const std::byte> InArena(std::uint32_t mount, pst_key128 id, std::string_view path,
                                     std::uint64_t listing_id, std::uint32_t page) const;
  bool FromDisk(const Long& listing, pst_key128 id, std::uint32_t page);
  std::uint32_t PageFor(const Long& listing, std::string_view name, bool directory,
                        std::uint32_t low) const;
  Answer FindLongName(Long* listing, const pst_listed_name& wanted, pst_listed* out);
  void Change(const Name& name, const std::function<void(pst_listing_entry*, pst_listing_attr*)>& change);
  void FilesThatAreDirectories(std::uint32_t mount, const std::string& path,
                               const ListingBuilder& children);
  std::uint32_t AheadPages() const;
  std::int64_t NanosOf(std::uint32_t expires_ds) const;
  std::uint64_t RandomId();

  Arena* arena_;
  MemoryTier* tier_;
  PageSpool spool_;
  std::list<Long> longs_;      // oldest first
  std::unordered_map<CatalogKey, Place, CatalogKeyHash> long_at_;
};

}  // namespace penstock::cache
