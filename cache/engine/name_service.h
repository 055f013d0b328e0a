// Names: answers "what is this path" from the catalog, else from what the parent's listing says
// (cache/engine/listings.h), else from one listing of its parent, else from the origin's Stat. What a
// listing told is published as its pages, anything else as name records.
//
// Concurrent questions about one directory share one List, those about one name one Stat. A listing
// whose first answer is the whole decides about every child, absent ones included; of a larger directory
// only the names asked for are looked up, and readers get its pages while they come: it goes on as far
// ahead as they have come, waits there with its marker, and goes on when somebody asks for the next page.
// Where the origin's answers do not follow each other in order they are collected first.
//
// Who asks is named by a number and may leave: a question that nobody waits for any more is taken back at
// the origin. A refresh makes the questions under way below its path start over, so that no answer from
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
#include "cache/engine/listings.h"
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
  // err 0: how far the listing has come; the page asked for is published, or lies behind its end.
  using ListDone = std::move_only_function<void(int err, const Listings::Head& head)>;

  NameService(const std::vector<Mount>* mounts, Arena* arena, MemoryTier* tier, OriginCalls* calls,
              const EngineOptions& options);

  void Resolve(std::uint32_t mount, const std::string& path, Asker asker, NameDone done);
  // `listing_id` (0: any) is the listing that the asker is reading: of that one any age will do.
  void List(std::uint32_t mount, const std::string& path, std::uint32_t page, std::uint64_t listing_id,
            Asker asker, ListDone done);
  // The asker waits no longer; its callback is dropped. Nothing if it does not wait.
  void Leave(Asker asker);

  // What is known without asking: fresh entries only / any entry of that version.
  const NameEntry* Fresh(std::uint32_t mount, const std::string& path);
  const NameEntry* OfVersion(std::uint32_t mount, const std::string& path, pst_key128 id,
                             std::uint64_t version);
  // By key: path and attributes. False if nothing is known.
  bool ByKey(std::uint32_t mount, pst_key128 id, std::string* path, pst_attr* attr);
  // The listings that are known; fresh or not.
  Listings& listings() { return listings_; }
  // The number of a name in its directory's listing, -1 if it is not there.
  std::int64_t NumberOf(std::uint32_t mount, const std::string& directory, const std::string& name);

  // True if neither the name nor its directory has ever been asked for, or all that has been forgotten.
  bool IsUnheardOf(std::uint32_t mount, const std::string& path);
  // What a read has told about a name, true until `expires_ns`; null if something is known of it by now.
  const NameEntry* Learn(std::uint32_t mount, const std::string& path, const origin::ObjectInfo& info,
                         std::int64_t expires_ns);
  std::int64_t TtlFromNow(std::uint32_t mount) const;

  // Puts the name's record (back) into the index, unless readers find the same in a listing.
  void Publish(std::uint32_t mount, const NameEntry& entry);
  void Forget(std::uint32_t mount, const std::string& path);       // one name: its version changed
  void ForgetBelow(std::uint32_t mount, std::string_view path);

  static pst_attr AttrOf(const Mount& mount, std::uint32_t mount_index, const NameEntry& entry);
  std::size_t waiting() const { return lists_.size() - paused_.size() + stats_.size(); }
  const TreeWalks& walks() const { return walks_; }

 private:
  struct PageWaiter {
    std::uint32_t page = 0;
    std::uint64_t listing_id = 0;        // that it is reading, or 0
    ListDone done;
  };
  // A question to the origin: `serial` tells an answer to it from one to what it replaced.
  struct ListFlight {
    std::uint32_t mount = 0;
    std::uint64_t serial = 0;
    ListCall* call = nullptr;            // null: it waits to be wanted, at `marker`
    std::string path;
    std::string marker;
    ListingBuilder builder;
    Listings::Head head;                 // what has been published; id 0: nothing
    std::int64_t expires_ns = 0;
    bool first_page = true;
    bool collects = false;               // publishes nothing before the end
    bool abandoned = false;              // collects without anybody waiting, until asked_until_ns
    bool awaited = false;                // a flat listing under way may bring it: not asked for yet
    bool left_out = false;               // the origin has left a name out
    std::int64_t asked_until_ns = 0;     // the last question, and the mount's deadline
    std::int64_t asked_page = -1;        // the last page that a reader wanted
    unsigned empty_pages = 0;            // in a row
    std::unordered_set<std::string> markers;  // that have come: none may come twice
    std::map<Asker, std::move_only_function<void(int)>> first_waiters;  // the first answer decides
    std::map<Asker, PageWaiter> page_waiters;
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
  void SetByName(const CatalogKey& key, std::int64_t expires_ns);
  template <typename Waiters>
  void Released(const Waiters& waiters) {
    for (const auto& waiter : waiters) places_.erase(waiter.first);
  }
  // False: one more of these would break a limit; the answer is EIO. Calls that are cancelled but not
  // over count too: a folder on a dead server keeps them.
  bool MayAsk() const {
    return lists_.size() - paused_.size() + stats_.size() < max_questions_ && calls_->running() < 2 * max_questions_;
  }
  bool MayWait() const { return places_.size() < max_waiters_; }
  // Null: MayAsk() or MayWait() said no.
  ListFlight* StartList(std::uint32_t mount, const std::string& path);
  void AskPage(ListFlight* flight);
  void BeginAgain(ListFlight* flight);
  // 0, or why the next page is not to be asked for.
  static int NextPageProblem(ListFlight* flight, const ListCall& call);
  void PageDone(const CatalogKey& key, std::uint64_t serial, ListCall& call);
  // Publishes what has come. False: the flight has begun again, or is over.
  bool TakePage(const CatalogKey& key, ListFlight* flight, bool last);
  void ServeWaiters(ListFlight* flight);
  bool IsWanted(const ListFlight& flight) const;
  void GoOn(ListFlight* flight);
  void Pause(const CatalogKey& key);
  void EndList(const CatalogKey& key, int err, const Listings::Head& head);
  void WaitForList(std::uint32_t mount, const std::string& path, std::uint32_t page,
                   std::uint64_t listing_id, Asker asker, ListDone done);
  void AfterEmptyList(std::uint32_t mount, const std::string& path, std::int64_t expires_ns,
                      Asker asker, ListDone done);
  Listings::Head PutListing(ListFlight* flight);
  void AddChildren(ListFlight* flight, const std::vector<origin::ObjectInfo>& children);
  void Supersede(std::uint32_t mount, pst_key128 id, std::uint32_t kind, const pst_listing_attr& attr,
                 std::int64_t expires_ns);
  void Learned(std::uint32_t mount, const std::string& directory,
               std::vector<origin::ObjectInfo> children, std::int64_t expires_ns) override;
  void NotComing(std::uint32_t mount, const std::string& directory) override;
  std::vector<std::string> UnknownFolders(std::uint32_t mount, const std::string& directory) override;
  std::int64_t ExpiresFromNow(std::uint32_t mount) const override { return TtlFromNow(mount); }
  const NameEntry* PutInfo(std::uint32_t mount, std::string path, const origin::ObjectInfo& info,
                           std::int64_t expires_ns);
  const NameEntry* PutRoot(std::uint32_t mount, std::int64_t expires_ns);
  const NameEntry* PutAbsent(std::uint32_t mount, const std::string& path, int err,
                             std::int64_t expires_ns);
  const NameEntry* Put(std::uint32_t mount, NameEntry entry);
  const NameEntry* KnownByAncestors(std::uint32_t mount, const std::string& path);
  Listings::Answer InListing(std::uint32_t mount, const std::string& path, pst_key128 id,
                             NameEntry* entry);
  bool ReadersFind(std::uint32_t mount, const NameEntry& entry, pst_key128 id) const;
  std::int64_t Deadline(std::uint32_t mount) const;

  const std::vector<Mount>& mounts_;
  Arena* arena_;
  MemoryTier* tier_;
  OriginCalls* calls_;
  std::size_t max_questions_;
  std::size_t max_waiters_;
  std::unordered_map<Asker, Place> places_;
  std::uint64_t last_serial_ = 0;
  std::size_t abandoned_ = 0;                      // listings that go on by themselves
  Catalog catalog_;
  Listings listings_;
  // Directories whose names are asked for one by one, and until when.
  std::unordered_map<CatalogKey, std::int64_t, CatalogKeyHash> by_name_;
  // Directories whose answers do not follow each other.
  std::unordered_set<CatalogKey, CatalogKeyHash> out_of_order_;
  std::deque<CatalogKey> paused_;                  // listings; oldest first
  std::unordered_map<CatalogKey, std::unique_ptr<ListFlight>, CatalogKeyHash> lists_;
  std::unordered_map<CatalogKey, StatFlight, CatalogKeyHash> stats_;
  TreeWalks walks_;
};

}  // namespace penstock::cache
