// Lists ahead of programs that walk a tree. Asked folder by folder, a tree costs a List for each
// folder; a flat listing of everything below a directory brings 5,000 names a request and fills many
// folders at once, so once two folders of one parent have been listed, what lies below the others is
// listed flat, in groups that run side by side where they are large (transport/origin/tree_plan.h).
//
// What it brought is read from shared memory without a word to the sidecar. A question for a folder
// that it has not brought yet says that the program has come so far: then it goes on, by one page the
// first time, by a few times what has been read later, never by more than `ahead_names`. A folder of
// more than kMaxChildren ends it: there a listing of its own costs no more.
//
// Thread safety: the core thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/engine/catalog.h"
#include "cache/engine/engine.h"
#include "cache/engine/origin_calls.h"

namespace penstock::cache {

// What walks need of the name service.
class WalkedNames {
 public:
  virtual ~WalkedNames() = default;
  // All children of a directory, as of a listing that began when `expires_ns` was chosen. A name may
  // come twice, as a file and as a directory.
  virtual void Learned(std::uint32_t mount, const std::string& directory,
                       std::vector<origin::ObjectInfo> children, std::int64_t expires_ns) = 0;
  // A flat listing that was to bring this directory has not.
  virtual void NotComing(std::uint32_t mount, const std::string& directory) = 0;
  // Names of child directories that are known, sorted; of those only the ones whose own children are
  // not known.
  virtual std::vector<std::string> UnknownFolders(std::uint32_t mount, const std::string& directory) = 0;
  virtual std::int64_t ExpiresFromNow(std::uint32_t mount) const = 0;
};

class TreeWalks {
 public:
  static constexpr std::size_t kMaxChildren = 20'000;

  TreeWalks(const std::vector<Mount>* mounts, OriginCalls* calls, WalkedNames* names,
            std::uint64_t ahead_names)
      : mounts_(*mounts), calls_(calls), names_(names), ahead_names_(ahead_names) {}

  // A program wants the children of a directory, and they are not known.
  void Wanted(std::uint32_t mount, const std::string& directory);
  // How many children a listing of its own has brought.
  void Counted(std::uint32_t mount, const std::string& directory, std::uint64_t children);
  // True if a page under way may bring the directory: Learned() or NotComing() follows.
  bool Await(std::uint32_t mount, const std::string& directory);
  // What is known at and below `path` ("" all) no longer holds.
  void Forget(std::uint32_t mount, std::string_view path);

  std::uint64_t walks() const { return walks_; }          // flat listings begun
  std::uint64_t folders_ahead() const { return folders_; }  // folders they have brought

 private:
  // A directory on the way to where a flat listing stands, with the children seen so far.
  struct Open {
    std::string path;  // in the mount
    std::vector<origin::ObjectInfo> children;
    std::vector<std::string> marked;  // folders that a blob stands for; their names may never come
  };
  // A directory that Await() was asked for.
  struct Awaited {
    std::string directory;
    std::uint32_t pages = 0;  // that came without it
  };
  struct Stream {
    std::string prefix;  // of names below the walk's directory
    std::string marker;
    std::string reached;  // the last path seen, relative to the walk's directory
    std::vector<Open> open;
    std::vector<Awaited> awaited;
    std::uint64_t ahead_names = 0;  // brought, and not passed by the program yet
    bool by_bytes = true;     // the order of names so far
    bool by_folders = true;
    bool running = false;
    bool ended = false;
  };
  struct Walk {
    std::uint64_t number = 0;
    std::uint32_t mount = 0;
    std::string top;
    std::int64_t expires_ns = 0;
    std::deque<Stream> streams;
    std::uint64_t ahead_names = 0;  // of all streams
    std::uint64_t used_names = 0;   // brought and passed
    std::uint32_t pages_running = 0;
    bool given_up = false;
  };
  // What is known about the folders of one parent.
  struct Parent {
    CatalogKey key;
    std::string last;            // the folder listed last
    std::uint32_t listed = 0;    // of its folders, by a question of their own
    std::uint64_t names = 0;     // below those that were counted
    std::uint64_t counted = 0;
    std::int64_t at_ns = 0;
  };

  Parent* ParentOf(std::uint32_t mount, std::string_view directory, bool make);
  Walk* Covering(std::uint32_t mount, std::string_view directory);
  void Begin(std::uint32_t mount, const std::string& top, const Parent& parent);
  void Pump(Walk* walk);
  void AskPage(Walk* walk, Stream* stream);
  void PageDone(std::uint64_t number, std::size_t stream, ListCall& call);
  static bool InOrder(Stream* stream, std::string_view path);
  void Take(Walk* walk, Stream* stream, origin::ObjectInfo&& info);
  void CloseTo(Walk* walk, Stream* stream, std::string_view directory);
  void Close(Walk* walk, Stream* stream);
  void Learn(Walk* walk, const std::string& directory, std::vector<origin::ObjectInfo> children);
  static void Passed(Walk* walk, std::string_view directory);
  static bool IsAhead(const Walk& walk, const Stream& stream, std::string_view directory);
  void WaitOnOrRelease(const Walk& walk, Stream* stream, std::vector<Awaited> awaited);
  void DropEnded();

  const std::vector<Mount>& mounts_;
  OriginCalls* calls_;
  WalkedNames* names_;
  const std::uint64_t ahead_names_;
  std::list<Parent> parents_;  // the latest first
  std::list<Walk> walks_list_;
  std::uint64_t last_number_ = 0;
  std::uint32_t untrimmed_ = 0;  // pages since memory was given back
  std::uint64_t walks_ = 0;
  std::uint64_t folders_ = 0;
};

}  // namespace penstock::cache
