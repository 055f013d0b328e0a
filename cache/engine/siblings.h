// Prefetch of whole small files for a reader that opens a directory's files in listing order, and of
// the next directory's for one that walks directory after directory.
//
// Two neighbours in a row start it, with four files; the window, which is how far it goes before the reader,
// doubles as the reader keeps going, up to four times what the origin takes at once, bounded in bytes: answers
// come in bunches, and the next requests must be there before the reader has looked at those. It is filled
// up whenever a quarter of it is empty. Whoever leaves the order ends it, and what has not started is
// dropped. A file in the middle of each filling carries the read-ahead flag, so that its reader's hint moves
// things on. A reader that has once gone from the end of a directory to the next one
// in its parent's listing is expected to do so again: the next directory is listed, and its first files
// are brought, before the reader is there.
//
// Thread safety: the core thread only.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "cache/engine/fetcher.h"
#include "cache/engine/name_service.h"

namespace penstock::cache {

class Siblings {
 public:
  static constexpr std::uint32_t kFirstWindow = 4;
  static constexpr std::uint32_t kLastWindow = 64;     // at least
  static constexpr std::uint32_t kMostWindow = 1024;
  static constexpr std::size_t kMaxReaders = 1024;

  Siblings(NameService* names, Fetcher* fetcher, const EngineOptions& options)
      : names_(names), fetcher_(fetcher), options_(options) {}

  // A reader of `session` had to ask for `file`, or ran into its flag.
  void OnAsk(const FileInfo& file, std::uint64_t session);
  std::uint64_t prefetched() const { return prefetched_; }

 private:
  using Asker = NameService::Asker;
  struct Reader {
    std::uint64_t group = 0;
    std::int64_t last = kNowhere;   // place of the file asked for last, in its directory's listing
    std::int64_t ahead = kNowhere;  // the last place that was prefetched
    std::int64_t grown = kNowhere;  // where it was when the window grew
    std::uint32_t window = 0;
    bool IsDue() const { return ahead - last <= window - window / 4; }
  };
  // Which way a session goes from directory to directory.
  struct Walk {
    std::string directory;
    bool at_end = false;     // of the directory, as far as prefetching goes
    bool expected = false;   // it has gone on to the next one before
  };
  struct Place {
    std::uint32_t mount;
    std::uint64_t session;
    std::string directory;
  };
  using Key = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t>;
  static constexpr std::int64_t kNowhere = -2;
  static constexpr std::int64_t kAtStart = -1;
  static constexpr std::int64_t kNextSearch = 64;  // children looked through for the next directory

  Reader& ReaderFor(const Place& place);
  Walk& WalkFor(const Place& place);
  void NoteDirectory(const Place& place, const Reader& reader);
  void Prefetch(const Place& place, const Listings::Head& listing, Reader* reader);
  void Grow(std::uint32_t mount, Reader* reader) const;
  // Wants the child if it is a small file; false if the window's bytes are used up.
  bool PrefetchOne(const Place& place, const std::string& name, std::uint64_t group,
                   std::uint64_t* budget, FileKey* wanted);
  // Questions that no operation asked: their numbers lie beyond those of operations.
  Asker NextAsker() { return kFirstAsker + ++last_asker_; }
  bool IsNext(std::uint32_t mount, const std::string& from, const std::string& to);
  void GoOn(const Place& place, std::uint32_t window);
  void GoInto(const Place& place, std::uint32_t window);
  std::string NextDirectory(std::uint32_t mount, const std::string& directory);
  std::uint32_t MostWindow(std::uint32_t mount) const;

  NameService* names_;
  Fetcher* fetcher_;
  EngineOptions options_;
  std::map<Key, Reader> readers_;
  std::list<Key> order_;         // oldest first
  std::map<std::pair<std::uint32_t, std::uint64_t>, Walk> walks_;
  static constexpr Asker kFirstAsker = Asker{1} << 63;
  Asker last_asker_ = 0;
  std::uint64_t last_group_ = 0;
  std::uint64_t prefetched_ = 0;
};

}  // namespace penstock::cache
