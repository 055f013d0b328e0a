// The first look at a file: of a name that a program opens in a directory nothing is known of, its
// attributes and its first bytes are brought by one read, instead of a listing and then a read.
// Whoever opens a second name there begins a listing: one file is opened often, and two mean that
// more are to come.
//
// What a look does not find (a directory, an empty file, nothing, an error) the names are asked
// for.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/engine/catalog.h"
#include "cache/engine/fetcher.h"
#include "cache/engine/name_service.h"
#include "cache/engine/origin_calls.h"

namespace penstock::cache {

class FirstLook {
 public:
  using Asker = std::uint64_t;
  using Done = std::move_only_function<void()>;
  static constexpr std::uint64_t kBytes =
      2 * PST_RANGE_BYTES;  // as the kernel reads ahead; small files come whole
  static constexpr std::size_t kMaxLooks = 256;         // under way
  static constexpr std::size_t kMaxDirectories = 4096;  // remembered to have been looked into

  FirstLook(const std::vector<Mount>* mounts, NameService* names, Fetcher* fetcher,
            OriginCalls* calls)
      : mounts_(*mounts), names_(names), fetcher_(fetcher), calls_(calls) {}

  // True: `done` runs when the look is over, whatever it has brought. False: this is no case for
  // one. `done` does not run before the call returns.
  bool Begin(std::uint32_t mount, const std::string& path, Asker asker, Done done);
  // The asker waits no longer; its callback is dropped.
  void Leave(Asker asker);
  // What looks under way bring about names under `path` is not to be believed any more.
  void Forget(std::uint32_t mount, std::string_view path);

 private:
  struct Look {
    std::string path;
    std::unique_ptr<std::byte[]> bytes;
    std::int64_t expires_ns = 0;
    bool believed = true;
    ReadCall* call = nullptr;
    std::unordered_map<Asker, Done> waiters;
  };

  bool IsFirst(std::uint32_t mount, const std::string& path);
  void Start(const CatalogKey& key, Look* look);
  void Over(const CatalogKey& key, ReadCall& call);

  const std::vector<Mount>& mounts_;
  NameService* names_;
  Fetcher* fetcher_;
  OriginCalls* calls_;
  std::unordered_map<CatalogKey, std::unique_ptr<Look>, CatalogKeyHash> looks_;
  std::unordered_map<Asker, CatalogKey> places_;
  std::unordered_set<CatalogKey, CatalogKeyHash> directories_;
  std::deque<CatalogKey> directory_order_;
};

}  // namespace penstock::cache
