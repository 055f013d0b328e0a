// What the sidecar knows about names: a bounded cache of attributes and origin version tokens.
//
// Only names that were asked for one by one are here, and those of a listing (cache/engine/listings.h) that
// somebody used. One that is pushed out is looked up or asked for again.
//
// Thread safety: the core thread only. Pointers stay valid until the name is put again, erased or
// pushed out by a later Put().
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "shim/abi/key.h"
#include "shim/abi/record.h"

namespace penstock::cache {

struct CatalogKey {
  std::uint32_t mount = 0;
  pst_key128 id{};
  bool operator==(const CatalogKey& other) const {
    return mount == other.mount && id.lo == other.id.lo && id.hi == other.id.hi;
  }
};
struct CatalogKeyHash {
  std::size_t operator()(const CatalogKey& key) const { return key.id.lo ^ (key.id.hi * 31) ^ key.mount; }
};

struct NameEntry {
  std::string path;
  std::string token;                    // the origin's version; empty for a directory
  std::uint64_t size = 0;
  std::uint64_t version = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t expires_ns = 0;          // CLOCK_MONOTONIC
  std::uint32_t kind = PST_KIND_ABSENT;
  std::uint32_t mode = 0;               // with PST_MODE_GIVEN; 0: the origin has none
  int err = 0;                          // of an absent one
  bool used = false;
  bool SameContent(const NameEntry& other) const {
    return kind == other.kind && size == other.size && version == other.version &&
           mtime_ns == other.mtime_ns && mode == other.mode && err == other.err;
  }
};

class Catalog {
 public:
  explicit Catalog(std::uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // By full name: a key that collides is not found. Marks it used.
  NameEntry* Find(std::uint32_t mount, pst_key128 id, std::string_view path);
  // By key alone.
  NameEntry* FindKey(std::uint32_t mount, pst_key128 id);
  // Without marking it used.
  NameEntry* Peek(std::uint32_t mount, pst_key128 id);
  NameEntry* Put(std::uint32_t mount, pst_key128 id, NameEntry entry);
  void Erase(std::uint32_t mount, pst_key128 id);
  // Erases names at and below `path` ("" all).
  void EraseBelow(std::uint32_t mount, std::string_view path);
  std::size_t size() const { return names_.size(); }

 private:
  static std::uint64_t Cost(const NameEntry& entry) {
    return sizeof(NameEntry) + 96 + entry.path.size() + entry.token.size();
  }
  void MakeRoom(const CatalogKey& keep);

  std::unordered_map<CatalogKey, NameEntry, CatalogKeyHash> names_;
  std::deque<CatalogKey> order_;        // second chance; may name what is gone
  std::uint64_t bytes_ = 0;
  std::uint64_t max_bytes_;
};

// True if `path` is `top` or lies below it.
bool IsBelow(std::string_view path, std::string_view top);

}  // namespace penstock::cache
