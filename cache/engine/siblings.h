// Prefetch of whole small files for a reader that opens a directory's files in listing order.
//
// Two neighbours in a row start it, with four files; the window doubles up to 32 files as the reader keeps
// going, bounded in bytes. Whoever leaves the order ends it, and what has not started is dropped. A file
// in the middle of each window carries the read-ahead flag, so that its reader's hint moves things on.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <tuple>

#include "cache/engine/fetcher.h"
#include "cache/engine/name_service.h"

namespace penstock::cache {

class Siblings {
 public:
  static constexpr std::uint32_t kFirstWindow = 4;
  static constexpr std::uint32_t kLastWindow = 32;
  static constexpr std::uint64_t kMaxBytes = 8ull << 20;   // of one window
  static constexpr std::size_t kMaxReaders = 1024;

  Siblings(NameService* names, Fetcher* fetcher, const EngineOptions& options)
      : names_(names), fetcher_(fetcher), options_(options) {}

  // A reader of `session` had to ask for `file`, or ran into its flag.
  void OnAsk(const FileInfo& file, std::uint64_t session);
  std::uint64_t prefetched() const { return prefetched_; }

 private:
  struct Reader {
    std::uint64_t group = 0;
    std::int64_t last = -2;      // place of the file asked for last, in its directory's listing
    std::int64_t ahead = -2;     // the last place that was prefetched
    std::uint32_t window = 0;
  };
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t>;
  Reader& ReaderFor(const Key& key);
  void Prefetch(const FileInfo& file, std::string_view directory, const Listing& listing,
                Reader* reader);

  NameService* names_;
  Fetcher* fetcher_;
  EngineOptions options_;
  std::map<Key, Reader> readers_;
  std::list<Key> order_;         // oldest first
  std::uint64_t last_group_ = 0;
  std::uint64_t prefetched_ = 0;
};

}  // namespace penstock::cache
