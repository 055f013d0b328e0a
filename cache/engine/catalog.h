// What the sidecar knows about names: a bounded cache of attributes and origin version tokens.
//
// A name that is pushed out is simply asked for again; whoever relies on "all children of a directory are
// known" hears of it through `on_evicted`.
//
// Thread safety: the core thread only. Pointers stay valid until the name is put again, erased or
// pushed out by a later Put().
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
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
  int err = 0;                          // of an absent one
  bool used = false;
  bool SameContent(const NameEntry& other) const {
    return kind == other.kind && size == other.size && version == other.version &&
           mtime_ns == other.mtime_ns && err == other.err;
  }
};

class Catalog {
 public:
  using Evicted = std::function<void(std::uint32_t mount, const NameEntry& entry)>;

  Catalog(std::uint64_t max_bytes, Evicted on_evicted)
      : max_bytes_(max_bytes), on_evicted_(std::move(on_evicted)) {}

  // By full name: a key that collides is not found. Marks it used.
  NameEntry* Find(std::uint32_t mount, pst_key128 id, std::string_view path);
  // By key alone.
  NameEntry* FindKey(std::uint32_t mount, pst_key128 id);
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
  Evicted on_evicted_;
};

// True if `path` is `top` or lies below it.
bool IsBelow(std::string_view path, std::string_view top);

}  // namespace penstock::cache
