#include "cache/engine/engine_impl.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "shim/abi/session.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kMaxAskRanges = 128;                 // of one Fetch
constexpr std::uint64_t kMaxInflightBytes = 2ull << 30;
constexpr std::uint32_t kUrgentRanges = kFirstWindowRanges;  // read on their own, so that they come soon
constexpr std::uint32_t kMaxReadTries = 16;

bool HasClass(const std::vector<Mount>& mounts, bool dataset) {
  return std::any_of(mounts.begin(), mounts.end(), [dataset](const Mount& mount) {
    return (mount.mount_class == MountClass::kDataset) == dataset;
  });
}

// As much in flight as a fast wire needs where the arena is large.
EngineOptions Fitted(EngineOptions options, const Arena& arena) {
  const std::uint64_t share = std::min(arena.arena_bytes() / 8, kMaxInflightBytes);
  options.inflight_bytes = std::max(options.inflight_bytes, share);
  return options;
}

std::uint32_t RangeOf(std::uint64_t offset) { return static_cast<std::uint32_t>(offset >> PST_RANGE_SHIFT); }

}  // namespace

std::unique_ptr<Engine> MakeEngine(Loop* loop, Arena* arena, ObjectStore* objects,
                                   std::vector<Mount> mounts, const EngineOptions& options,
                                   NvmeTier* nvme) {
  return std::make_unique<EngineImpl>(loop, arena, objects, std::move(mounts), options, nvme);
}

EngineImpl::EngineImpl(Loop* loop, Arena* arena, ObjectStore* objects, std::vector<Mount> mounts,
                       const EngineOptions& options, NvmeTier* nvme)
    : loop_(loop),
      arena_(arena),
      objects_(objects),
      mounts_(std::move(mounts)),
      options_(Fitted(options, *arena)),
      tier_(arena, HasClass(mounts_, true), HasClass(mounts_, false)),
      calls_(std::make_unique<OriginCalls>(loop, options.cpus)),
      names_(&mounts_, arena, &tier_, calls_.get(), options_),
      fetcher_(loop, &mounts_, &tier_, calls_.get(), options_, nvme,
               [this](std::uint32_t mount, const std::string& path) { names_.Forget(mount, path); }),
      source_reads_(&mounts_, &tier_, &fetcher_, calls_.get(), nvme,
                    [this](std::uint32_t mount, const std::string& path) { names_.Forget(mount, path); }),
      siblings_(&names_, &fetcher_, options_),
      first_look_(&mounts_, &names_, &fetcher_, calls_.get()) {
  if (arena->adopted()) AdoptMemory();
}

// What a predecessor has published goes on, but for listings that came in pieces: their state was its own.
void EngineImpl::AdoptMemory() {
  const std::uint32_t now_ds = arena_->ExpiresDs(MonotonicNs());
  AdoptedMemory adopted = tier_.Adopt([&](const pst_entry& entry) {
    const std::uint32_t mount = entry.key.ns & PST_NS_INDEX_MASK;
    return entry.key.ns == (PST_NS_FILES | mount) && mount < mounts_.size() &&
           entry.key.range != PST_RANGE_LISTING + PST_LISTING_PAGES_MAX &&
           (entry.expires_ds == 0 || entry.expires_ds > now_ds);
  });
  adopted_bytes_ = adopted.bytes;
  adopted_entries_ = adopted.entries.size();
  log::Info("adopted the memory of the sidecar before: {} MiB in {} objects; {} torn, {} unsound, {} "
            "segments were being filled",
            adopted.bytes >> 20, adopted.entries.size(), adopted.torn_buckets, adopted.dropped,
            adopted.renewed_segments);
  adoption_check_ = std::make_unique<AdoptionCheck>(loop_, arena_, std::move(adopted.entries),
                                                    [this](const pst_entry& entry) {
                                                      if (tier_.EraseExactly(entry)) ++adopted_wrong_;
                                                    });
}

EngineImpl::~EngineImpl() {
  ending_ = true;
  adoption_check_.reset();
  calls_.reset();
  while (!waiting_.empty()) End(waiting_.begin()->first, ECANCELED);
}

// ---- Operations ----

void EngineImpl::Start(EngineOp* op) {
  op->err = 0;
  op->impl = nullptr;
  if (op->mount >= mounts_.size() || !Complete(op)) return Done(op, op->mount < mounts_.size() ? ENOENT : EINVAL);
  switch (op->kind) {
    case EngineOpKind::kLookup: return Lookup(op);
    case EngineOpKind::kFetch: return Fetch(op);
    case EngineOpKind::kList: return List(op);
    case EngineOpKind::kRead: return Read(op);
    case EngineOpKind::kListingRead: return ListingRead(op);
    case EngineOpKind::kName: return Name(op);
    case EngineOpKind::kMaterialize: return Materialize(op);
  }
  Done(op, EINVAL);
}

bool EngineImpl::Complete(EngineOp* op) {
  if (!op->path.empty()) {
    op->id = KeyOf(op->path);
    return true;
  }
  const pst_key128 root = KeyOf("");
  const bool no_key = op->id.lo == 0 && op->id.hi == 0;
  if (no_key || (op->id.lo == root.lo && op->id.hi == root.hi)) {
    op->id = root;
    return true;
  }
  pst_attr attr;
  return names_.ByKey(op->mount, op->id, &op->path, &attr);
}

void EngineImpl::Done(EngineOp* op, int err) {
  op->err = err;
  op->impl = nullptr;
  op->done(op);
}

EngineImpl::WaitId EngineImpl::Wait(EngineOp* op) {
  const WaitId id = ++last_wait_;
  const std::int64_t now_ns = MonotonicNs();
  const std::int64_t limit_ns = op->deadline_ns > 0 ? op->deadline_ns - now_ns : mounts_[op->mount].deadline_ns;
  Waiting waiting;
  waiting.op = op;
  waiting.timer = loop_->After(std::max<std::int64_t>(limit_ns, 0), [this, id] {
    const auto found = waiting_.find(id);
    if (found == waiting_.end()) return;
    found->second.timer = 0;
    End(id, ErrnoOf(Error{Code::kDeadline, true, 0, "engine: deadline"}));
  });
  op->impl = reinterpret_cast<void*>(id);
  waiting_.emplace(id, std::move(waiting));
  return id;
}

EngineOp* EngineImpl::Find(WaitId id) {
  const auto found = waiting_.find(id);
  return found == waiting_.end() ? nullptr : found->second.op;
}

void EngineImpl::End(WaitId id, int err) {
  auto node = waiting_.extract(id);
  if (node.empty()) return;
  const Waiting& waiting = node.mapped();
  if (waiting.timer != 0) loop_->CancelTimer(waiting.timer);
  if (!ending_) {
    // What nobody else waits for is taken back: no work outlives those who asked for it.
    names_.Leave(id);
    first_look_.Leave(id);
    if (waiting.demands) fetcher_.Leave(waiting.file, waiting.first, waiting.last, id, err != 0);
  }
  Done(waiting.op, err);
}

void EngineImpl::NoteDemand(WaitId id, const FileInfo& info, std::uint32_t first, std::uint32_t last) {
  Waiting& waiting = waiting_.at(id);
  waiting.file = info.key;
  waiting.first = first;
  waiting.last = last;
  waiting.demands = true;
}

void EngineImpl::Cancel(EngineOp* op) {
  const auto id = reinterpret_cast<WaitId>(op->impl);
  if (Find(id) == op) return End(id, ECANCELED);
  if (op->kind == EngineOpKind::kMaterialize && objects_ != nullptr) objects_->Cancel(op);
}

void EngineImpl::Lookup(EngineOp* op) {
  const WaitId id = Wait(op);
  if (op->opens && first_look_.Begin(op->mount, op->path, id, [this, id] { Resolve(id); })) return;
  Resolve(id);
}

void EngineImpl::Resolve(WaitId id) {
  const EngineOp* op = Find(id);
  if (op == nullptr) return;
  names_.Resolve(op->mount, op->path, id, [this, id](int err, const NameEntry* entry) {
    EngineOp* waiting = Find(id);
    if (waiting == nullptr) return;
    if (entry != nullptr) {
      waiting->attr = NameService::AttrOf(mounts_[waiting->mount], waiting->mount, *entry);
      names_.Publish(waiting->mount, *entry);  // it may have been pushed out
    }
    End(id, err);
  });
}

void EngineImpl::List(EngineOp* op) {
  const WaitId id = Wait(op);
  const auto page = static_cast<std::uint32_t>(std::min<std::uint64_t>(op->offset, PST_LISTING_PAGES_MAX));
  names_.List(op->mount, op->path, page, op->version, id, [this, id](int err, const Listings::Head& head) {
    EngineOp* waiting = Find(id);
    if (waiting == nullptr) return;
    if (err == 0) {
      waiting->result_version = head.id;
      waiting->result_length = head.complete ? head.pages : 0;
    }
    End(id, err);
  });
}

// Page n begins at n * PST_RANGE_BYTES, whatever the lengths of those before it.
bool EngineImpl::CopyListing(EngineOp* op, const Listings::Head& head) {
  const std::uint64_t page = op->offset >> PST_RANGE_SHIFT;
  std::span<const std::byte> bytes;
  if (page < head.pages) {
    bytes = names_.listings().Page(op->mount, op->path, head, static_cast<std::uint32_t>(page));
    pst_listing_page header;
    if (bytes.size() < sizeof header) return false;
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes = bytes.first(std::min<std::size_t>(header.bytes, bytes.size()));
  }
  const std::uint64_t offset = std::min<std::uint64_t>(op->offset & (PST_RANGE_BYTES - 1), bytes.size());
  std::uint64_t length = std::min<std::uint64_t>(op->buffer.size(), bytes.size() - offset);
  if (op->length != 0) length = std::min(length, op->length);
  if (length != 0) std::memcpy(op->buffer.data(), bytes.data() + offset, length);
  op->result_version = head.id;
  op->result_length = length;
  return true;
}

void EngineImpl::ListingRead(EngineOp* op) {
  const std::uint64_t page = op->offset >> PST_RANGE_SHIFT;
  const auto known = names_.listings().Known(op->mount, op->path);
  if (known && known->id == op->version && (page < known->pages || known->complete) &&
      CopyListing(op, *known)) {
    return Done(op, 0);
  }
  const WaitId id = Wait(op);
  names_.List(op->mount, op->path, static_cast<std::uint32_t>(std::min<std::uint64_t>(page, PST_LISTING_PAGES_MAX)),
              op->version, id, [this, id](int err, const Listings::Head& head) {
                EngineOp* waiting = Find(id);
                if (waiting == nullptr) return;
                if (err == 0 && waiting->version != 0 && waiting->version != head.id) err = ESTALE;
                if (err == 0 && !CopyListing(waiting, head)) err = EIO;
                End(id, err);
              });
}

void EngineImpl::Name(EngineOp* op) {
  std::string path;
  if (!names_.ByKey(op->mount, op->id, &path, &op->attr)) return Done(op, ENOENT);
  if (path.size() > op->buffer.size()) return Done(op, ENAMETOOLONG);
  if (!path.empty()) std::memcpy(op->buffer.data(), path.data(), path.size());
  op->result_length = path.size();
  op->path = std::move(path);
  Done(op, 0);
}

// ---- Files ----

bool EngineImpl::KnownFile(std::uint32_t mount, const std::string& path, pst_key128 id,
                           std::uint64_t version, FileInfo* info) {
  const NameEntry* entry = names_.OfVersion(mount, path, id, version);
  if (entry == nullptr) return false;
  *info = {{mount, id, version}, entry->path, entry->token, entry->size};
  return true;
}

void EngineImpl::FindFile(std::uint32_t mount, const std::string& path, pst_key128 id,
                          std::uint64_t version, WaitId asker, InfoDone done) {
  FileInfo info;
  if (KnownFile(mount, path, id, version, &info)) return done(0, &info);
  names_.Resolve(mount, path, asker, [this, mount, path, id, version, done = std::move(done)](
                                  int err, const NameEntry* entry) mutable {
    FileInfo found;
    if (err != 0) return done(err, nullptr);
    if (entry->kind == PST_KIND_DIRECTORY) return done(EISDIR, nullptr);
    if (!KnownFile(mount, path, id, version, &found)) return done(ESTALE, nullptr);
    done(0, &found);
  });
}

void EngineImpl::Fetch(EngineOp* op) {
  if (op->hint) {
    FileInfo info;
    if (KnownFile(op->mount, op->path, op->id, op->version, &info)) HintFile(op, info);
    return Done(op, 0);
  }
  const WaitId id = Wait(op);
  FindFile(op->mount, op->path, op->id, op->version, id, [this, id](int err, const FileInfo* info) {
    if (Find(id) == nullptr) return;
    if (err != 0) return End(id, err);
    FetchFile(id, *info);
  });
}

void EngineImpl::FetchFile(WaitId id, const FileInfo& info) {
  EngineOp* op = Find(id);
  op->attr.size = info.size;
  op->attr.version = info.key.version;
  if (op->offset >= info.size) return End(id, 0);
  const std::uint64_t length = std::clamp<std::uint64_t>(op->length, 1, info.size - op->offset);
  const std::uint32_t first = RangeOf(op->offset);
  const std::uint32_t last = std::min(RangeOf(op->offset + length - 1), first + kMaxAskRanges - 1);
  if (info.size <= options_.whole_file_bytes) {
    NoteDemand(id, info, 0, info.Ranges() - 1);
    fetcher_.Demand(info, 0, info.Ranges() - 1, id);
    siblings_.OnAsk(info, op->cursor >> 16);
  } else {
    const std::uint32_t urgent = std::min(last, first + kUrgentRanges - 1);
    NoteDemand(id, info, first, last);
    fetcher_.Demand(info, first, urgent, id);
    if (urgent < last) fetcher_.Demand(info, urgent + 1, last, id);
    AskAhead(*op, info, first, last);
  }
  op->result_length = 0;
  fetcher_.WaitFor(info, first, id, [this, id](int err, bool from_nvme) {
    if (EngineOp* waiting = Find(id); waiting != nullptr) 
      waiting->result_length = from_nvme ? PST_FETCHED_FROM_NVME : 0;
    End(id, err);
  });
}

void EngineImpl::HintFile(EngineOp* op, const FileInfo& info) {
  const std::uint32_t asked = RangeOf(std::min(op->offset, info.size));
  // The flag has done its work; a second pass over cached data must not report again.
  if (asked > 0) fetcher_.Unmark(info.key, asked - 1);
  fetcher_.Unmark(info.key, asked);
  if (info.size <= options_.whole_file_bytes) {
    siblings_.OnAsk(info, op->cursor >> 16);
    if (op->offset >= info.size) return;
    return fetcher_.Prefetch(info, 0, info.Ranges() - 1);
  }
  if (op->offset >= info.size) return;
  const std::uint64_t length = std::clamp<std::uint64_t>(op->length, 1, info.size - op->offset);
  const std::uint32_t last = std::min(RangeOf(op->offset + length - 1), asked + kMaxAskRanges - 1);
  fetcher_.Prefetch(info, asked, last);
  AskAhead(*op, info, asked, last);
}

void EngineImpl::AskAhead(const EngineOp& op, const FileInfo& info, std::uint32_t first,
                          std::uint32_t last) {
  const std::uint32_t max_window = fetcher_.MaxWindowRanges(op.mount);
  const ReadAhead::Ahead ahead =
      read_ahead_.OnAsk(op.cursor, info.key, first, last, info.Ranges(), max_window, op.hint);
  if (ahead.old_marker != ReadAhead::kNoRange) fetcher_.Unmark(info.key, ahead.old_marker);
  if (ahead.count == 0) return;
  fetcher_.Prefetch(info, ahead.first, ahead.first + ahead.count - 1);
  if (ahead.marker != ReadAhead::kNoRange) fetcher_.Mark(info.key, ahead.marker);
  readahead_ranges_ += ahead.count;
}

void EngineImpl::Read(EngineOp* op) {
  op->result_length = 0;
  const WaitId id = Wait(op);
  FindFile(op->mount, op->path, op->id, op->version, id, [this, id](int err, const FileInfo* info) {
    if (Find(id) == nullptr) return;
    if (err != 0) return End(id, err);
    ReadStep(id, *info);
  });
}

// Copies what is there, and waits for the next missing range. A range is copied in the same turn of the
// loop that published it, so this ends even when the arena is overrun.
void EngineImpl::ReadStep(WaitId id, const FileInfo& info) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  Waiting& waiting = found->second;
  EngineOp* op = waiting.op;
  std::uint64_t want = std::min<std::uint64_t>(op->length, op->buffer.size());
  want = op->offset < info.size ? std::min(want, info.size - op->offset) : 0;
  while (waiting.progress < want) {
    const std::uint64_t at = op->offset + waiting.progress;
    const std::uint32_t range = RangeOf(at);
    const pst_entry* entry = tier_.Find(info.key.RangeKey(range));
    if (entry == nullptr) {
      if (++waiting.tries > kMaxReadTries) return End(id, EIO);
      NoteDemand(id, info, range, range);
      fetcher_.Demand(info, range, range, id);
      return fetcher_.WaitFor(info, range, id, [this, id, info](int err, bool) {
        if (err != 0) return End(id, err);
        ReadStep(id, info);
      });
    }
    const std::span<const std::byte> bytes = tier_.BytesOf(*entry);
    const std::uint64_t skip = at & (PST_RANGE_BYTES - 1);
    if (skip >= bytes.size()) return End(id, EIO);
    const std::uint64_t n = std::min<std::uint64_t>(want - waiting.progress, bytes.size() - skip);
    std::memcpy(op->buffer.data() + waiting.progress, bytes.data() + skip, n);
    waiting.progress += n;
  }
  op->result_length = want;
  End(id, 0);
}

// ---- Object files ----

void EngineImpl::Materialize(EngineOp* op) {
  if (objects_ == nullptr) return Done(op, ENOSPC);
  const WaitId id = Wait(op);
  FindFile(op->mount, op->path, op->id, op->version, id, [this, id](int err, const FileInfo*) {
    EngineOp* waiting = Find(id);
    if (waiting == nullptr) return;
    if (err != 0) return End(id, err);
    const NameEntry* entry =
        names_.OfVersion(waiting->mount, waiting->path, waiting->id, waiting->version);
    if (entry == nullptr) return End(id, ESTALE);
    waiting->attr = NameService::AttrOf(mounts_[waiting->mount], waiting->mount, *entry);
    if (waiting->deadline_ns <= 0) {
      waiting->deadline_ns = MonotonicNs() + mounts_[waiting->mount].deadline_ns;
    }
    // From here on it is the store's, which answers for the deadline too.
    auto node = waiting_.extract(id);
    if (node.mapped().timer != 0) loop_->CancelTimer(node.mapped().timer);
    names_.Leave(id);
    waiting->impl = nullptr;
    objects_->Materialize(waiting, this);
  });
}

void EngineImpl::StartRead(SourceRead* read) {
  FindFile(read->mount, read->path, read->id, read->version, ++last_wait_, [this, read](int err, const FileInfo* info) {
    if (err == 0) {
      if (read->offset > info->size || read->length > info->size - read->offset) err = EINVAL;
    }
    if (err == 0) return source_reads_.Start(read, *info);
    read->err = err;
    read->done(read);
  });
}

// ---- The rest ----

void EngineImpl::Forget(std::uint32_t mount, std::string_view path) {
  if (mount >= mounts_.size()) return;
  first_look_.Forget(mount, path);
  names_.ForgetBelow(mount, path);
}

EngineStats EngineImpl::Stats() const {
  EngineStats stats;
  const TierStats tier = tier_.Stats();
  const Fetcher::Stats& fetches = fetcher_.stats();
  stats.fetches = fetches.fetches;
  stats.single_flight_joins = fetches.joins;
  stats.readahead_ranges = readahead_ranges_;
  stats.sibling_prefetches = siblings_.prefetched();
  stats.evictions = tier.evictions;
  stats.corrupt_dropped = adopted_wrong_;
  stats.adopted_bytes = adopted_bytes_;
  stats.adopted_entries = adopted_entries_;
  stats.ranges_published = fetches.ranges;
  stats.arena_bytes_used = tier.bytes_used;
  stats.arena_bytes_live = tier.bytes_live;
  stats.arena_bytes_total = arena_->arena_bytes();
  stats.index_entries = tier.entries;
  stats.inflight = waiting_.size();
  return stats;
}

}  // namespace penstock::cache
