#include "cache/engine/read_ahead.h"

#include <algorithm>

namespace penstock::cache {

ReadAhead::Cursor& ReadAhead::CursorFor(std::uint64_t cursor, const FileKey& file) {
  const auto [at, added] = cursors_.try_emplace(cursor);
  Cursor& found = at->second;
  if (added) {
    found.place = order_.insert(order_.end(), cursor);
    found.file = file;
    if (cursors_.size() > kMaxCursors) {
      cursors_.erase(order_.front());
      order_.pop_front();
    }
    return found;
  }
  order_.splice(order_.end(), order_, found.place);
  if (!(found.file == file)) {  // the slot holds another file by now
    found.file = file;
    found.streams = {};
  }
  return found;
}

ReadAhead::Ahead ReadAhead::OnAsk(std::uint64_t cursor, const FileKey& file, std::uint32_t first,
                                  std::uint32_t last, std::uint32_t ranges, std::uint32_t max_window,
                                  bool hint) {
  Cursor& found = CursorFor(cursor, file);
  Stream* stream = nullptr;
  Stream* oldest = &found.streams[0];
  for (Stream& candidate : found.streams) {
    // In sequence: at the place expected, or within what was requested ahead of it.
    if (candidate.used != 0 && first + 1 > candidate.next && first <= candidate.ahead) {
      stream = &candidate;
      break;
    }
    if (candidate.used < oldest->used) oldest = &candidate;
  }
  Ahead result;
  if (stream == nullptr) {
    *oldest = {last + 1, last + 1, 0, kNoRange, ++clock_};
    return result;
  }
  stream->used = ++clock_;
  stream->next = std::max(stream->next, last + 1);
  const std::uint32_t from = std::max(stream->ahead, stream->next);
  if (from >= ranges) {
    result.old_marker = stream->marker;
    stream->marker = kNoRange;
    return result;
  }
  const bool due = stream->window == 0 || hint || from - stream->next <= stream->window / 2;
  if (!due) return result;
  const std::uint32_t growth = stream->window < kQuickWindowRanges ? 4 : 2;
  stream->window = std::min(stream->window == 0 ? kFirstWindowRanges : stream->window * growth,
                            std::clamp(max_window, kFirstWindowRanges, kLastWindowRanges));
  result.first = from;
  result.count = std::min(stream->window, ranges - from);
  result.old_marker = stream->marker;
  stream->ahead = from + result.count;
  stream->marker = stream->ahead < ranges ? from + result.count / 4 : kNoRange;
  result.marker = stream->marker;
  return result;
}

}  // namespace penstock::cache
