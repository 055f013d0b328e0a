#include "cache/engine/tree_walks.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "cache/base/loop.h"
#include "cache/engine/name_paths.h"
#include "transport/base/limits.h"
#include "transport/origin/names.h"
#include "transport/origin/tree_plan.h"

namespace penstock::cache {
namespace {

constexpr std::size_t kMaxParents = 64;
constexpr std::size_t kMaxWalks = 16;
constexpr std::uint32_t kListedToBegin = 2;
constexpr std::uint32_t kMaxPagesRunning = 8;  // of one walk
constexpr std::uint32_t kPagesToTrim = 16;
constexpr std::uint32_t kPagesAwaited = 3;  // longer than a listing of its own nobody shall wait
constexpr std::uint64_t kPageNames = limits::kListPageEntries;
constexpr std::uint64_t kGroupNames = 2 * kPageNames;  // a group of folders is worth a listing
constexpr std::uint64_t kMaxGroups = 256;
constexpr std::uint64_t kAheadOfUsed = 4;
constexpr std::int64_t kParentNs = 60'000'000'000;  // two listings further apart are no walk

// `path` relative to `top`, which it lies below.
std::string_view Relative(std::string_view path, std::string_view top) {
  return top.empty() ? path : path.substr(std::min(top.size() + 1, path.size()));
}

}  // namespace

TreeWalks::Parent* TreeWalks::ParentOf(std::uint32_t mount, std::string_view directory, bool make) {
  const CatalogKey key{mount, KeyOf(DirectoryOf(directory))};
  const auto found = std::find_if(parents_.begin(), parents_.end(),
                                  [&](const Parent& parent) { return parent.key == key; });
  if (found != parents_.end()) {
    parents_.splice(parents_.begin(), parents_, found);
  } else if (make) {
    parents_.push_front({});
    parents_.front().key = key;
    if (parents_.size() > kMaxParents) parents_.pop_back();
  } else {
    return nullptr;
  }
  return &parents_.front();
}

TreeWalks::Walk* TreeWalks::Covering(std::uint32_t mount, std::string_view directory) {
  for (Walk& walk : walks_list_) {
    if (walk.mount == mount && !walk.given_up && directory != walk.top &&
        IsBelow(directory, walk.top)) {
      return &walk;
    }
  }
  return nullptr;
}

void TreeWalks::Wanted(std::uint32_t mount, const std::string& directory) {
  if (directory.empty() || !mounts_[mount].origin->ListsRecursively()) return;
  if (Walk* walk = Covering(mount, directory)) {
    Passed(walk, directory);
    return Pump(walk);
  }
  Parent* parent = ParentOf(mount, directory, true);
  const std::int64_t now_ns = MonotonicNs();
  if (now_ns - parent->at_ns > kParentNs) parent->listed = 0;
  parent->at_ns = now_ns;
  if (parent->last == directory) return;
  parent->last = directory;
  if (++parent->listed < kListedToBegin || parent->counted == 0) return;
  parent->listed = 0;
  Begin(mount, std::string(DirectoryOf(directory)), *parent);
}

void TreeWalks::Counted(std::uint32_t mount, const std::string& directory, std::uint64_t children) {
  if (directory.empty()) return;
  Parent* parent = ParentOf(mount, directory, false);
  if (parent == nullptr) return;
  parent->names += children;
  ++parent->counted;
}

// The program has come to a directory: what streams before it have brought is used, and what its own has
// if it waits for more of it. (Else it had been brought and was pushed out again.)
void TreeWalks::Passed(Walk* walk, std::string_view directory) {
  const std::string inside = std::string(Relative(directory, walk->top)) + "/";
  for (Stream& stream : walk->streams) {
    const bool here = inside.starts_with(stream.prefix);
    if (here && !IsAhead(*walk, stream, directory)) return;
    const std::uint64_t passed = std::exchange(stream.ahead_names, 0);
    walk->ahead_names -= passed;
    walk->used_names += passed;
    if (here) return;
  }
}

// True if the directory has not come whole: the stream has not got there, or stands in the middle of it.
bool TreeWalks::IsAhead(const Walk& walk, const Stream& stream, std::string_view directory) {
  const std::string inside = std::string(Relative(directory, walk.top)) + "/";
  if (!inside.starts_with(stream.prefix)) return false;
  const std::string_view reached = stream.reached;
  const bool within = reached.starts_with(inside) && reached.find('/', inside.size()) == std::string_view::npos;
  return inside > reached || within;
}

bool TreeWalks::Await(std::uint32_t mount, const std::string& directory) {
  Walk* walk = Covering(mount, directory);
  if (walk == nullptr) return false;
  for (Stream& stream : walk->streams) {
    if (!stream.running || !IsAhead(*walk, stream, directory)) continue;
    stream.awaited.push_back({directory, 0});
    return true;
  }
  return false;
}

void TreeWalks::Begin(std::uint32_t mount, const std::string& top, const Parent& parent) {
  const std::vector<std::string> folders = names_->UnknownFolders(mount, top);
  if (folders.size() < 2) return;
  DropEnded();
  Walk& walk = walks_list_.emplace_front();
  walk.number = ++last_number_;
  walk.mount = mount;
  walk.top = top;
  walk.expires_ns = names_->ExpiresFromNow(mount);
  const std::uint64_t each = 1 + parent.names / std::max<std::uint64_t>(parent.counted, 1);
  const std::uint64_t groups =
      std::clamp<std::uint64_t>(folders.size() * each / kGroupNames, 1, kMaxGroups);
  const std::vector<std::string_view> views(folders.begin(), folders.end());
  for (std::string& prefix : origin::PlanPrefixes(views, groups)) {
    walk.streams.emplace_back().prefix = std::move(prefix);
  }
  ++walks_;
  Pump(&walk);
}

// Starts as many pages as what has been used justifies, the first streams first.
void TreeWalks::Pump(Walk* walk) {
  const std::uint64_t allowed =
      std::min(ahead_names_, kPageNames + kAheadOfUsed * walk->used_names);
  for (Stream& stream : walk->streams) {
    if (stream.running || stream.ended) continue;
    const std::uint64_t ahead = walk->ahead_names + walk->pages_running * kPageNames;
    if (walk->given_up || walk->pages_running >= kMaxPagesRunning || ahead + kPageNames > allowed) {
      return;
    }
    AskPage(walk, &stream);
  }
}

void TreeWalks::AskPage(Walk* walk, Stream* stream) {
  auto call = std::make_unique<ListCall>();
  call->directory = walk->top;
  call->recursive = true;
  call->name_prefix = stream->prefix;
  call->marker = stream->marker;
  call->deadline_ns = MonotonicNs() + mounts_[walk->mount].deadline_ns;
  stream->running = true;
  ++walk->pages_running;
  const auto place = static_cast<std::size_t>(
      std::find_if(walk->streams.begin(), walk->streams.end(),
                   [stream](const Stream& one) { return &one == stream; }) -
      walk->streams.begin());
  calls_->Start<ListCall>(std::move(call), mounts_[walk->mount].origin,
                          [this, number = walk->number, place](ListCall& done) {
                            PageDone(number, place, done);
                          });
}

void TreeWalks::PageDone(std::uint64_t number, std::size_t place, ListCall& call) {
  const auto found = std::find_if(walks_list_.begin(), walks_list_.end(),
                                  [number](const Walk& walk) { return walk.number == number; });
  if (found == walks_list_.end()) return;
  Walk* walk = &*found;
  Stream* stream = &walk->streams[place];
  stream->running = false;
  --walk->pages_running;
  // Nobody is told of a failure: who wants a folder asks for it and hears then.
  if (!call.ok()) walk->given_up = true;
  if (!walk->given_up) {
    for (origin::ObjectInfo& info : call.entries) Take(walk, stream, std::move(info));
    stream->marker = std::move(call.next_marker);
    if (stream->marker.empty()) {
      while (!stream->open.empty()) Close(walk, stream);
      stream->ended = true;
    }
  }
  std::vector<Awaited> awaited = std::exchange(stream->awaited, {});
  if (walk->given_up) stream->open.clear();
  if (!awaited.empty()) Passed(walk, awaited.front().directory);
  Pump(walk);
  WaitOnOrRelease(*walk, stream, std::move(awaited));
  // What many pages were read into lies in small holes by now.
  if (++untrimmed_ < kPagesToTrim || walk->pages_running != 0) return;
  untrimmed_ = 0;
  call.entries = {};
  (void)malloc_trim(0);
}

// A page has come: who waits for a directory that lies not far behind it waits on, others ask for it.
void TreeWalks::WaitOnOrRelease(const Walk& walk, Stream* stream, std::vector<Awaited> awaited) {
  for (Awaited& one : awaited) {
    const bool waits = stream->running && !walk.given_up && ++one.pages < kPagesAwaited &&
                       IsAhead(walk, *stream, one.directory);
    if (waits) {
      stream->awaited.push_back(std::move(one));
    } else {
      names_->NotComing(walk.mount, one.directory);
    }
  }
}

void TreeWalks::Take(Walk* walk, Stream* stream, origin::ObjectInfo&& info) {
  if (walk->given_up || !InOrder(stream, info.name)) {
    walk->given_up = true;
    return;
  }
  ++walk->ahead_names;
  ++stream->ahead_names;
  stream->reached = info.name;
  const std::string path = origin::JoinNames(walk->top, info.name);
  const std::string_view directory = DirectoryOf(path);
  const std::string_view name = std::string_view(path).substr(directory.empty() ? 0 : directory.size() + 1);
  CloseTo(walk, stream, directory);
  const bool folder = info.kind == origin::ObjectKind::kDirectory;
  Open& open = stream->open.back();
  if (open.children.size() >= kMaxChildren) {
    walk->given_up = true;
    return;
  }
  if (folder) open.marked.emplace_back(name);
  if (directory == walk->top) return;  // its own children are known
  info.name = name;
  open.children.push_back(std::move(info));
}

// The service lists by bytes, or folder by folder. In both orders what lies in a folder comes in one
// piece, which is what makes a folder that has been left a whole one; in others it may not.
bool TreeWalks::InOrder(Stream* stream, std::string_view path) {
  const std::string_view before = stream->reached;
  stream->by_bytes = stream->by_bytes && before <= path;
  stream->by_folders =
      stream->by_folders &&
      !std::lexicographical_compare(path.begin(), path.end(), before.begin(), before.end(),
                                    [](char a, char b) {
                                      const auto rank = [](char c) {
                                        return c == '/' ? 0 : 1 + static_cast<unsigned char>(c);
                                      };
                                      return rank(a) < rank(b);
                                    });
  return stream->by_bytes || stream->by_folders;
}

// Leaves the directories that `directory` does not lie in, and enters those it lies in.
void TreeWalks::CloseTo(Walk* walk, Stream* stream, std::string_view directory) {
  if (stream->open.empty()) stream->open.push_back({walk->top, {}, {}});
  while (!IsBelow(directory, stream->open.back().path)) Close(walk, stream);
  std::string_view at = stream->open.back().path;
  while (at.size() < directory.size()) {
    const std::size_t begin = at.empty() ? 0 : at.size() + 1;
    const std::size_t end = std::min(directory.find('/', begin), directory.size());
    const std::string_view name = directory.substr(begin, end - begin);
    Open& parent = stream->open.back();
    std::erase(parent.marked, name);
    if (parent.path != walk->top) {
      origin::ObjectInfo info;
      info.name = name;
      info.kind = origin::ObjectKind::kDirectory;
      parent.children.push_back(std::move(info));
    }
    at = directory.substr(0, end);
    stream->open.push_back({std::string(at), {}, {}});
  }
}

void TreeWalks::Close(Walk* walk, Stream* stream) {
  Open open = std::move(stream->open.back());
  stream->open.pop_back();
  for (const std::string& name : open.marked) Learn(walk, origin::JoinNames(open.path, name), {});
  if (open.path != walk->top) Learn(walk, open.path, std::move(open.children));
}

void TreeWalks::Learn(Walk* walk, const std::string& directory,
                      std::vector<origin::ObjectInfo> children) {
  ++folders_;
  names_->Learned(walk->mount, directory, std::move(children), walk->expires_ns);
}

// Walks that are over tell the folder above how much lay below theirs.
void TreeWalks::DropEnded() {
  const std::int64_t now_ns = MonotonicNs();
  for (auto walk = walks_list_.begin(); walk != walks_list_.end();) {
    const bool ended = walk->given_up || walk->expires_ns <= now_ns ||
                       std::all_of(walk->streams.begin(), walk->streams.end(),
                                   [](const Stream& stream) { return stream.ended; });
    if (walk->pages_running == 0 && (ended || walks_list_.size() >= kMaxWalks)) {
      Counted(walk->mount, walk->top, walk->ahead_names + walk->used_names);
      walk = walks_list_.erase(walk);
    } else {
      ++walk;
    }
  }
}

void TreeWalks::Forget(std::uint32_t mount, std::string_view path) {
  for (Walk& walk : walks_list_) {
    if (walk.mount == mount && (IsBelow(walk.top, path) || IsBelow(path, walk.top))) walk.given_up = true;
  }
  parents_.clear();
}

}  // namespace penstock::cache
