// Names: answers "what is this path" from the catalog, else from one listing of its parent, else from the
// origin's Stat, and publishes what it learns as name records and listing pages.
//
// Concurrent questions about one directory share one List, those about one name one Stat. A listing
// whose first page is the whole decides about every child, absent ones included; of a larger directory
// only the names asked for are looked up.
//
// Who asks is named by a number and may leave: a question that nobody waits for any more is taken back at
// the origin. Only a listing of many pages that has begun to come goes on, a few at a time: who asks for it
// again finds it. A refresh makes the questions under way below its path start over, so that no answer from
// before it is given after it.
//
// Thread safety: the core thread only. Callbacks may run before the call returns. The service knows no
// deadlines but its own.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/engine/catalog.h"
#include "cache/engine/engine.h"
#include "cache/engine/listing.h"
#include "cache/engine/origin_calls.h"
#include "cache/engine/tree_walks.h"
#include "cache/memory/memory_tier.h"

namespace penstock::cache {

class NameService : private WalkedNames {
 public:
  using Asker = std::uint64_t;           // waits for one answer at a time
  // err 0: `entry` is fresh (kind ABSENT with entry->err for a name that is not there). Else the origin
  // gave no answer: an errno, entry null.
  using NameDone = std::move_only_function<void(int err, const NameEntry* entry)>;
  // err 0: the listing, published.
  using ListDone = std::move_only_function<void(int err, std::shared_ptr<const Listing> listing)>;

  NameService(const std::vector<Mount>* mounts, Arena* arena, MemoryTier* tier, OriginCalls* calls,
              const EngineOptions& options);

  void Resolve(std::uint32_t mount, const std::string& path, Asker asker, NameDone done);
  void List(std::uint32_t mount, const std::string& path, Asker asker, ListDone done);
  // The asker waits no longer; its callback is dropped. Nothing if it does not wait.
  void Leave(Asker asker);

  // What is known without asking: fresh entries only / any entry of that version.
  const NameEntry* Fresh(std::uint32_t mount, const std::string& path);
  const NameEntry* OfVersion(std::uint32_t mount, const std::string& path, pst_key128 id,
                             std::uint64_t version);
  // By key: path and attributes, from the catalog or a name record. False if nothing is known.
  bool ByKey(std::uint32_t mount, pst_key128 id, std::string* path, pst_attr* attr);
  // The listing of a directory if it is known and kept; fresh or not.
  std::shared_ptr<const Listing> KnownListing(std::uint32_t mount, const std::string& path);

  // Puts the name's record (back) into the index.
  void Publish(std::uint32_t mount, const NameEntry& entry);
  void Forget(std::uint32_t mount, const std::string& path);       // one name: its version changed
  void ForgetBelow(std::uint32_t mount, std::string_view path);

  static pst_attr AttrOf(const Mount& mount, std::uint32_t mount_index, const NameEntry& entry);
  std::size_t waiting() const { return lists_.size() + stats_.size(); }
  const TreeWalks& walks() const { return walks_; }

 private:
  enum class Known : std::uint8_t { kNothing, kSome, kAll };
  struct Directory {
    std::string path;
    Known known = Known::kNothing;       // about its children, until expires_ns
    std::int64_t expires_ns = 0;
    bool lost_child = false;             // the catalog has dropped one since the listing began
    std::shared_ptr<Listing> listing;    // the last whole one, while it is kept
  };
  // A question to the origin: `serial` tells an answer to it from one to what it replaced.
  struct ListFlight {
    std::uint32_t mount = 0;
    std::uint64_t serial = 0;
    ListCall* call = nullptr;
    std::string path;
    ListingBuilder builder;
    std::int64_t expires_ns = 0;
    bool first_page = true;
    bool abandoned = false;              // goes on without anybody waiting, until asked_until_ns
    bool awaited = false;                // a flat listing under way may bring it: not asked for yet
    std::int64_t asked_until_ns = 0;     // the last question, and the mount's deadline
    unsigned empty_pages = 0;            // in a row
    std::unordered_set<std::string> markers;  // that have come: none may come twice
    std::map<Asker, std::move_only_function<void(int)>> first_waiters;  // the first page decides
    std::map<Asker, ListDone> whole_waiters;
  };
  struct StatFlight {
    std::uint64_t serial = 0;
    StatCall* call = nullptr;
    std::string path;
    std::int64_t expires_ns = 0;
    std::map<Asker, NameDone> waiters;
  };
  struct Place {                         // where an asker waits
    CatalogKey key;
    bool list = false;
  };

  void AskParent(std::uint32_t mount, const std::string& path, Asker asker, NameDone done);
  void AfterList(std::uint32_t mount, const std::string& path, int err, std::int64_t expires_ns,
                 Asker asker, NameDone done);
  void AskStat(std::uint32_t mount, const std::string& path, Asker asker, NameDone done);
  void StartStat(const CatalogKey& key, StatFlight* flight);
  void StatDone(const CatalogKey& key, std::uint64_t serial, StatCall& call);
  void LeaveList(const CatalogKey& key, Asker asker);
  void DropList(const CatalogKey& key);
  void StartOver(std::uint32_t mount, std::string_view path);
  template <typename Waiters>
  void Released(const Waiters& waiters) {
    for (const auto& waiter : waiters) places_.erase(waiter.first);
  }
  // False: one more of these would break a limit; the answer is EIO. Calls that are cancelled but not
  // over count too: a folder on a dead server keeps them.
  bool MayAsk() const {
    return lists_.size() + stats_.size() < max_questions_ && calls_->running() < 2 * max_questions_;
  }
  bool MayWait() const { return places_.size() < max_waiters_; }
  // Null: MayAsk() or MayWait() said no.
  ListFlight* StartList(std::uint32_t mount, const std::string& path);
  void AskPage(ListFlight* flight, std::string marker);
  // 0, or why the next page is not to be asked for.
  static int NextPageProblem(ListFlight* flight, const ListCall& call);
  void PageDone(const CatalogKey& key, std::uint64_t serial, ListCall& call);
  void EndList(std::uint32_t mount, pst_key128 id, int err, std::shared_ptr<Listing> listing);
  std::shared_ptr<Listing> FinishListing(ListFlight* flight);
  void AddChildren(ListFlight* flight, const std::vector<origin::ObjectInfo>& children);
  void Learned(std::uint32_t mount, const std::string& directory,
               std::vector<origin::ObjectInfo> children, std::int64_t expires_ns) override;
  void NotComing(std::uint32_t mount, const std::string& directory) override;
  std::vector<std::string> UnknownFolders(std::uint32_t mount, const std::string& directory) override;
  std::int64_t ExpiresFromNow(std::uint32_t mount) const override { return TtlFromNow(mount); }
  template <typename EachEntry>
  void EachPublished(std::uint32_t mount, pst_key128 id, EachEntry each) const;
  void PublishListing(std::uint32_t mount, pst_key128 id, const Listing& listing, std::int64_t expires_ns);
  const NameEntry* PutInfo(std::uint32_t mount, std::string path, const origin::ObjectInfo& info,
                           std::int64_t expires_ns);
  const NameEntry* PutAbsent(std::uint32_t mount, const std::string& path, int err,
                             std::int64_t expires_ns);
  const NameEntry* Put(std::uint32_t mount, NameEntry entry);
  const NameEntry* KnownByAncestors(std::uint32_t mount, const std::string& path);
  Directory* FindDirectory(std::uint32_t mount, pst_key128 id, const std::string& path);
  Directory& DirectoryFor(std::uint32_t mount, pst_key128 id, const std::string& path);
  void KeepListings();
  void ChildEvicted(std::uint32_t mount, const NameEntry& entry);
  std::int64_t TtlFromNow(std::uint32_t mount) const;
  std::int64_t Deadline(std::uint32_t mount) const;
  std::uint64_t RandomId();

  const std::vector<Mount>& mounts_;
  Arena* arena_;
  MemoryTier* tier_;
  OriginCalls* calls_;
  std::uint64_t max_listing_bytes_;
  std::size_t max_questions_;                      // below the bound on directories, which they pin
  std::size_t max_waiters_;
  std::unordered_map<Asker, Place> places_;
  std::uint64_t last_serial_ = 0;
  std::size_t abandoned_ = 0;                      // listings that go on by themselves
  Catalog catalog_;
  std::unordered_map<CatalogKey, Directory, CatalogKeyHash> directories_;
  std::deque<CatalogKey> directory_order_;
  std::deque<CatalogKey> kept_listings_;           // oldest first
  std::uint64_t kept_bytes_ = 0;
  std::unordered_map<CatalogKey, std::unique_ptr<ListFlight>, CatalogKeyHash> lists_;
  std::unordered_map<CatalogKey, StatFlight, CatalogKeyHash> stats_;
  TreeWalks walks_;
};

}  // namespace penstock::cache
