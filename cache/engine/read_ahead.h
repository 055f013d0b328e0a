// Decides how far to read ahead of a reader. Pure bookkeeping, no I/O.
//
// A reader (cursor) is one open file of one process; it may read at several places at once, so each cursor
// has a few streams. A first touch fetches what was asked for and nothing else; the second one in
// sequence starts a window of 256 KiB ahead, which grows fourfold up to 16 MiB and then doubles each time
// its marker is reached, up to what the caller says the origin and the arena can use.
// The marker is an entry with PST_ENTRY_READAHEAD a quarter into the window: the client that gets there
// asks, without waiting, while three quarters are still to be read.
//
// Thread safety: one thread. Memory: at most kMaxCursors cursors, the longest unused one goes.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "cache/engine/file_key.h"

namespace penstock::cache {

inline constexpr std::uint32_t kFirstWindowRanges = 4;     // 256 KiB
inline constexpr std::uint32_t kQuickWindowRanges = 256;   // 16 MiB: up to here it grows fast
inline constexpr std::uint32_t kLastWindowRanges = 16384;  // 1 GiB

class ReadAhead {
 public:
  static constexpr std::uint32_t kNoRange = UINT32_MAX;
  static constexpr std::size_t kMaxCursors = 4096;
  static constexpr std::size_t kStreams = 4;

  struct Ahead {
    std::uint32_t first = 0;
    std::uint32_t count = 0;              // 0: nothing to do
    std::uint32_t marker = kNoRange;      // where to put the flag
    std::uint32_t old_marker = kNoRange;  // whose flag has done its work
  };

  // The reader asks for ranges [first, last] of a file of `ranges`, as a hint when it ran into a marker.
  // Windows stay within `max_window` ranges.
  Ahead OnAsk(std::uint64_t cursor, const FileKey& file, std::uint32_t first, std::uint32_t last,
              std::uint32_t ranges, std::uint32_t max_window, bool hint);

 private:
  struct Stream {
    std::uint32_t next = 0;               // the range after the last one asked for
    std::uint32_t ahead = 0;              // the first range that was not requested yet
    std::uint32_t window = 0;
    std::uint32_t marker = kNoRange;
    std::uint64_t used = 0;               // 0: empty
  };
  struct Cursor {
    FileKey file;
    std::array<Stream, kStreams> streams;
    std::list<std::uint64_t>::iterator place;
  };
  Cursor& CursorFor(std::uint64_t cursor, const FileKey& file);

  std::unordered_map<std::uint64_t, Cursor> cursors_;
  std::list<std::uint64_t> order_;        // longest unused first
  std::uint64_t clock_ = 0;
};

}  // namespace penstock::cache
