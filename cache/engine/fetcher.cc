#include "cache/engine/fetcher.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/base/loop.h"
#include "transport/base/crc32c.h"

namespace penstock::cache {
namespace {

constexpr std::uint32_t kMaxReadRanges = 64;        // 4 MiB in one request
constexpr std::uint32_t kMinSplitRanges = 16;       // 1 MiB: below, a request costs more than it wins
constexpr std::uint32_t kUnmeasuredReads = 4;       // of an origin that knows no limit of its own
constexpr std::uint32_t kUnmeasuredPrefetches = 32;
constexpr std::size_t kMaxQueuedPrefetch = 1024;
constexpr std::int64_t kRetryNs = 5'000'000;
constexpr std::int64_t kNvmePatienceNs = 5'000'000'000;  // with a disk that does not answer
constexpr std::int64_t kNvmeLookNs = 250'000'000;

}  // namespace

Fetcher::Fetcher(Loop* loop, const std::vector<Mount>* mounts, MemoryTier* tier, OriginCalls* calls,
                 const EngineOptions& options, NvmeTier* nvme, Forget version_changed)
    : loop_(loop),
      mounts_(mounts),
      tier_(tier),
      calls_(calls),
      options_(options),
      nvme_(nvme),
      version_changed_(std::move(version_changed)),
      demand_(mounts->size()),
      prefetch_(mounts->size()),
      running_of_(mounts->size()),
      bytes_of_(mounts->size()) {
  for (const Mount& mount : *mounts) origin_digests_.push_back(OriginDigest(mount.origin->Describe()));
}

Fetcher::~Fetcher() {
  if (retry_timer_ != 0) loop_->CancelTimer(retry_timer_);
  if (nvme_timer_ != 0) loop_->CancelTimer(nvme_timer_);
  for (auto& [flight, owner] : nvme_reads_) nvme_->Cancel(&flight->read);
}

bool Fetcher::Present(const FileKey& file, std::uint32_t range) const {
  return tier_->Find(file.RangeKey(range)) != nullptr;
}

std::uint32_t Fetcher::Parallelism(std::uint32_t mount) const {
  const std::uint32_t measured = (*mounts_)[mount].origin->Concurrency();
  return measured == 0 ? kUnmeasuredReads : measured;
}

std::uint32_t Fetcher::MaxReadRanges(std::uint32_t mount) const {
  const std::uint64_t ranges = tier_->HeadroomBytes(ClassOf(mount)) / 4 >> PST_RANGE_SHIFT;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(ranges, 1, kMaxReadRanges));
}

std::uint32_t Fetcher::MaxWindowRanges(std::uint32_t mount) const {
  // Several readers, each up to two windows ahead, must not push out what the others have not read yet.
  const std::uint64_t ranges = tier_->HeadroomBytes(ClassOf(mount)) / 16 >> PST_RANGE_SHIFT;
  const std::uint64_t wire = 2ull * Parallelism(mount) * kMaxReadRanges;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>({ranges, wire, UINT32_MAX}));
}

// A prefetch of many ranges is read by twice as many requests as the origin takes at once: requests of a
// kind come back together, and those that follow must be ready then.
std::uint32_t Fetcher::RangesOfRead(std::uint32_t mount, std::uint32_t ranges, bool prefetch) const {
  const std::uint32_t most = MaxReadRanges(mount);
  if (!prefetch) return most;
  const std::uint32_t requests = 2 * Parallelism(mount);
  return std::min(most, std::max(kMinSplitRanges, (ranges + requests - 1) / requests));
}

// ---- What is wanted ----

void Fetcher::Demand(const FileInfo& info, std::uint32_t first, std::uint32_t last, Asker asker) {
  Want(info, first, last, false, 0, asker);
}

void Fetcher::Prefetch(const FileInfo& info, std::uint32_t first, std::uint32_t last,
                       std::uint64_t group) {
  Want(info, first, last, true, group, 0);
}

void Fetcher::Want(const FileInfo& info, std::uint32_t first, std::uint32_t last, bool prefetch,
                   std::uint64_t group, Asker asker) {
  if (info.size == 0) return;
  last = std::min(last, info.Ranges() - 1);
  const std::uint32_t max_ranges = RangesOfRead(info.key.mount, last - first + 1, prefetch);
  std::shared_ptr<File>* file = nullptr;
  Flight* open = nullptr;  // of this call; the ranges that follow may join it
  for (std::uint32_t range = first; range <= last; ++range) {
    if (file == nullptr) {
      file = &files_[info.key];
      if (!*file) *file = std::make_shared<File>(File{info, {}, {}, {}});
    }
    if (const auto found = (*file)->ranges.find(range); found != (*file)->ranges.end()) {
      Flight* there = found->second;
      if (prefetch) {
        there->guessed = true;
      } else {
        if (there->prefetch) Promote(there);
        there->askers.insert(asker);
      }
      open = nullptr;
      continue;
    }
    if (Present(info.key, range)) {
      open = nullptr;
      continue;
    }
    if (prefetch && open == nullptr && queued_prefetch_ >= kMaxQueuedPrefetch) break;
    if (!prefetch && queued_demand_ >= options_.max_questions) break;  // WaitFor() says EIO
    const bool nvme = OnNvme(info.key, range);
    if (open == nullptr || open->count >= max_ranges || open->nvme != nvme) {
      auto flight = std::make_unique<Flight>();
      flight->file = *file;
      flight->first = range;
      flight->group = group;
      flight->prefetch = prefetch;
      flight->guessed = prefetch;
      flight->nvme = nvme;
      if (!prefetch) flight->askers.insert(asker);
      flight->give_up_ns = MonotonicNs() + (*mounts_)[info.key.mount].deadline_ns;
      open = flight.get();
      Enqueue(std::move(flight));
    }
    ++open->count;
    open->bytes += info.RangeBytes(range);
    (*file)->ranges.emplace(range, open);
  }
  if (file != nullptr) ForgetIfIdle(std::shared_ptr<File>(*file));
  Pump();
}

void Fetcher::Enqueue(std::unique_ptr<Flight> flight) {
  Flight* raw = flight.get();
  Queue& queue = QueueOf(*raw);
  raw->at = queue.insert(queue.end(), std::move(flight));
  ++(raw->prefetch ? queued_prefetch_ : queued_demand_);
}

std::unique_ptr<Fetcher::Flight> Fetcher::Dequeue(Flight* flight) {
  std::unique_ptr<Flight> taken = std::move(*flight->at);
  QueueOf(*flight).erase(flight->at);
  --(flight->prefetch ? queued_prefetch_ : queued_demand_);
  return taken;
}

// Somebody waits now for what was only a guess.
void Fetcher::Promote(Flight* flight) {
  if (flight->running) {
    flight->prefetch = false;
    if (flight->call != nullptr) OriginCalls::Hurry(flight->call);
    return;
  }
  std::unique_ptr<Flight> taken = Dequeue(flight);
  flight->prefetch = false;
  flight->group = 0;
  flight->give_up_ns = MonotonicNs() + (*mounts_)[flight->file->info.key.mount].deadline_ns;
  Enqueue(std::move(taken));
}

void Fetcher::WaitFor(const FileInfo& info, std::uint32_t range, Asker asker, Done done) {
  if (Present(info.key, range)) return done(0, false);
  auto found = files_.find(info.key);
  // It was there when it was demanded, and room for what was demanded with it has pushed it out.
  if (found == files_.end() || !found->second->ranges.contains(range)) {
    Want(info, range, range, false, 0, asker);
    found = files_.find(info.key);
  }
  if (found == files_.end() || !found->second->ranges.contains(range)) return done(EIO, false);
  std::map<Asker, Done>& waiters = found->second->waiters[range];
  if (!waiters.empty()) ++stats_.joins;
  waiters.emplace(asker, std::move(done));
}

// ---- What is wanted no more ----

void Fetcher::Leave(const FileKey& key, std::uint32_t first, std::uint32_t last, Asker asker,
                    bool gave_up) {
  const auto found = files_.find(key);
  if (found == files_.end()) return;
  const std::shared_ptr<File> file = found->second;
  for (std::uint32_t range = first; range <= last; ++range) {
    if (const auto waiting = file->waiters.find(range); waiting != file->waiters.end()) {
      waiting->second.erase(asker);
      if (waiting->second.empty()) file->waiters.erase(waiting);
    }
    const auto flown = file->ranges.find(range);
    if (flown == file->ranges.end()) continue;
    Flight* flight = flown->second;
    if (flight->askers.erase(asker) > 0 && flight->askers.empty()) Unasked(flight, gave_up);
  }
  ForgetIfIdle(file);
}

void Fetcher::Unasked(Flight* flight, bool gave_up) {
  if (flight->prefetch) return;
  const bool keep = !gave_up || flight->guessed;
  if (flight->running) {
    if (!keep) CancelRead(flight);
    return;
  }
  std::unique_ptr<Flight> taken = Dequeue(flight);
  if (!keep || queued_prefetch_ >= kMaxQueuedPrefetch) return Finish(flight, ECANCELED, {});
  flight->prefetch = true;
  flight->guessed = true;
  Enqueue(std::move(taken));
}

// Whoever wants these ranges from now on gets a flight of its own: this one ends with an error.
void Fetcher::CancelRead(Flight* flight) {
  flight->orphan = true;
  File* file = flight->file.get();
  for (std::uint32_t i = 0; i < flight->count; ++i) file->ranges.erase(flight->first + i);
  if (flight->call != nullptr) calls_->Cancel(flight->call);  // a disk's answer comes soon
}

void Fetcher::ForgetIfIdle(const std::shared_ptr<File>& file) {
  if (!file->ranges.empty() || !file->waiters.empty()) return;
  if (const auto found = files_.find(file->info.key); found != files_.end() && found->second == file) {
    files_.erase(found);
  }
}

void Fetcher::Offer(const FileInfo& info, std::span<const std::byte> head) {
  const auto found = files_.find(info.key);
  for (std::uint32_t range = 0; range < info.Ranges() && !head.empty(); ++range) {
    const std::uint32_t bytes = info.RangeBytes(range);
    if (bytes > head.size()) return;
    const bool coming = found != files_.end() && found->second->ranges.contains(range);
    if (!coming && !Present(info.key, range)) {
      const pst_key key = info.key.RangeKey(range);
      const auto space = tier_->Reserve(ClassOf(info.key.mount), key, bytes);
      if (!space) return;
      std::memcpy(tier_->Bytes(*space), head.data(), bytes);
      const std::uint32_t crc = Crc32c(head.first(bytes));
      tier_->Publish(*space, key, crc, 0, 0);
      ++stats_.ranges;
      if (nvme_ != nullptr)
        nvme_->Offer({ObjectOf(info.key), range}, head.first(bytes), crc, RegionClassOf(info.key.mount));
    }
    head = head.subspan(bytes);
  }
}

void Fetcher::Mark(const FileKey& key, std::uint32_t range) {
  if (tier_->ChangeFlags(key.RangeKey(range), PST_ENTRY_READAHEAD, 0)) return;
  if (const auto found = files_.find(key); found != files_.end()) found->second->marks.insert(range);
}

void Fetcher::Unmark(const FileKey& key, std::uint32_t range) {
  (void)tier_->ChangeFlags(key.RangeKey(range), 0, PST_ENTRY_READAHEAD);
  if (const auto found = files_.find(key); found != files_.end()) found->second->marks.erase(range);
}

void Fetcher::DropPrefetch(std::uint64_t group) {
  std::vector<std::unique_ptr<Flight>> dropped;
  for (Queue& queue : prefetch_) {
    for (auto at = queue.begin(); at != queue.end();) {
      Flight* flight = (at++)->get();
      if (flight->group == group) dropped.push_back(Dequeue(flight));
    }
  }
  for (const auto& flight : dropped) Finish(flight.get(), EIO, {});  // nobody waits: it was not promoted
}

// ---- What runs ----

void Fetcher::Pump() {
  if (std::exchange(pumping_, true)) {
    pump_again_ = true;
    return;
  }
  do {
    pump_again_ = false;
    // Guesses get what the demand leaves, and never all the room.
    if (PumpAll(&demand_, options_.inflight_bytes)) {
      (void)PumpAll(&prefetch_, options_.inflight_bytes / 4 * 3);
    }
  } while (pump_again_);
  pumping_ = false;
}

// The mounts take turns. False if somebody waits for room that all share.
bool Fetcher::PumpAll(std::vector<Queue>* queues, std::uint64_t max_bytes) {
  const auto mounts = static_cast<std::uint32_t>(queues->size());
  // A mount that could start nothing is passed over; when all in a row are, that is all.
  for (std::uint32_t passed = 0; passed < mounts; turn_ = (turn_ + 1) % mounts) {
    switch (PumpOne(&(*queues)[turn_], max_bytes)) {
      case Pumped::kOne:
        passed = 0;
        break;
      case Pumped::kNothing:
        ++passed;
        break;
      case Pumped::kNoRoom:
        return false;  // it keeps its turn
    }
  }
  return true;
}

Fetcher::Pumped Fetcher::PumpOne(Queue* queue, std::uint64_t max_bytes) {
  if (queue->empty()) return Pumped::kNothing;
  Flight* next = queue->front().get();
  const bool late = MonotonicNs() >= next->give_up_ns;
  if (!late && !HasPlace(*next)) return Pumped::kNothing;
  if (!late && !HasRoom(*next, max_bytes)) return Pumped::kNoRoom;
  if (late || !ReserveAll(next)) {
    if (!late && !next->prefetch) {
      if (running_ == 0) RetryLater();
      return Pumped::kNoRoom;
    }
    const std::unique_ptr<Flight> given_up = Dequeue(next);
    Finish(given_up.get(), EIO, {});
    return Pumped::kOne;
  }
  Start(Dequeue(next));
  return Pumped::kOne;
}

bool Fetcher::HasRoom(const Flight& flight, std::uint64_t max_bytes) const {
  if (running_ > 0 && running_bytes_ + flight.bytes > max_bytes) return false;
  return running_ < options_.inflight_reads;
}

// Of what may be in flight a mount's origin holds never more than it leaves for the others (D16): one that
// does not answer must not take their room. Prefetches keep the origin busy, and as many ready to follow: it
// lets what is demanded overtake those.
bool Fetcher::HasPlace(const Flight& flight) const {
  const std::uint32_t mount = flight.file->info.key.mount;
  if (flight.prefetch && !demand_[mount].empty()) return false;
  if (flight.nvme) return true;
  if (mounts_->size() > 1 && running_of_[mount] > 0) {
    if (bytes_of_[mount] + running_bytes_ + flight.bytes > options_.inflight_bytes) return false;
    if (running_of_[mount] + running_ >= options_.inflight_reads) return false;
  }
  if (!flight.prefetch) return true;
  const std::uint32_t measured = (*mounts_)[mount].origin->Concurrency();
  const std::uint32_t places = measured == 0 ? kUnmeasuredPrefetches : 2 * measured;
  return running_of_[mount] < places;
}

void Fetcher::RetryLater() {
  if (retry_timer_ != 0) return;
  retry_timer_ = loop_->After(kRetryNs, [this] {
    retry_timer_ = 0;
    Pump();
  });
}

bool Fetcher::ReserveAll(Flight* flight) {
  const FileInfo& info = flight->file->info;
  const DataClass data_class = ClassOf(info.key.mount);
  for (std::uint32_t i = 0; i < flight->count; ++i) {
    const std::uint32_t range = flight->first + i;
    const auto space = tier_->Reserve(data_class, info.key.RangeKey(range), info.RangeBytes(range));
    if (!space) {
      for (; !flight->spaces.empty(); flight->spaces.pop_back()) tier_->Abandon(flight->spaces.back());
      return false;
    }
    flight->spaces.push_back(*space);
  }
  return true;
}

void Fetcher::Start(std::unique_ptr<Flight> flight) {
  flight->running = true;
  ++running_;
  running_bytes_ += flight->bytes;
  if (flight->nvme) return StartNvme(std::move(flight));
  StartRead(std::move(flight));
}

void Fetcher::StartNvme(std::unique_ptr<Flight> flight) {
  Flight* raw = flight.get();
  raw->read.object = ObjectOf(raw->file->info.key);
  raw->read.first = raw->first;
  for (const Space& space : raw->spaces) raw->read.to.emplace_back(tier_->Bytes(space), space.bytes);
  raw->read.user = this;
  raw->read.impl = raw;
  raw->read.done = [](NvmeRead* read) {
    static_cast<Fetcher*>(read->user)->NvmeDone(static_cast<Flight*>(read->impl));
  };
  const std::int64_t now_ns = MonotonicNs();  // half of the time is left to the origin
  raw->nvme_until_ns = now_ns + std::min(kNvmePatienceNs, (raw->give_up_ns - now_ns) / 2);
  nvme_reads_.emplace(raw, std::move(flight));
  nvme_->StartRead(&raw->read);
  if (nvme_timer_ == 0) WatchNvme();
}

// A disk that hangs must not hold those who wait, nor the room of what is in flight.
void Fetcher::WatchNvme() {
  nvme_timer_ = loop_->After(kNvmeLookNs, [this] {
    nvme_timer_ = 0;
    std::vector<Flight*> late;
    for (const auto& [flight, owner] : nvme_reads_)
      if (MonotonicNs() >= flight->nvme_until_ns) late.push_back(flight);
    for (Flight* flight : late) {
      nvme_->Cancel(&flight->read);
      flight->read.err = ETIMEDOUT;
      NvmeDone(flight);
    }
    if (!nvme_reads_.empty() && nvme_timer_ == 0) WatchNvme();
  });
}

// What the tier no longer has, or not as it was, is the origin's to give.
void Fetcher::NvmeDone(Flight* flight) {
  std::unique_ptr<Flight> owned = std::move(nvme_reads_.extract(flight).mapped());
  if (flight->read.err != 0 && !flight->orphan) {
    flight->nvme = false;
    return StartRead(std::move(owned));
  }
  --running_;
  running_bytes_ -= flight->bytes;
  Finish(flight, flight->orphan ? ECANCELED : 0, flight->read.crcs);
  Pump();
}

void Fetcher::StartRead(std::unique_ptr<Flight> flight) {
  const FileInfo& info = flight->file->info;
  const Mount& mount = (*mounts_)[info.key.mount];
  auto call = std::make_unique<ReadCall>();
  call->name = info.path;
  call->version = info.token;
  call->offset = static_cast<std::uint64_t>(flight->first) << PST_RANGE_SHIFT;
  call->deadline_ns = flight->give_up_ns;
  call->want_crcs = true;
  call->prefetch = flight->prefetch;
  for (const Space& space : flight->spaces) call->buffers.emplace_back(tier_->Bytes(space), space.bytes);
  flight->call = call.get();
  ++stats_.fetches;
  ++running_of_[info.key.mount];
  bytes_of_[info.key.mount] += flight->bytes;
  calls_->Start<ReadCall>(std::move(call), mount.origin,
                          [this, flight = std::move(flight)](ReadCall& done) mutable {
                            ReadDone(std::move(flight), done);
                          });
}

int Fetcher::Outcome(const FileInfo& file, const ReadCall& call) {
  if (!call.ok()) {
    // The file of an open descriptor that is gone is as changed as one that was replaced.
    const bool gone = call.error.code == Code::kNotFound || call.error.code == Code::kVersionChanged;
    // One that became shorter, where the read could not name a version: the answer does.
    const bool shorter = call.error.code == Code::kTruncated && !call.info.version.empty() &&
                         VersionOf(file.key.id, call.info.version) != file.key.version;
    return gone || shorter ? ESTALE : ErrnoOf(call.error);
  }
  const bool same = call.info.version.empty()
                        ? !file.token.empty()
                        : VersionOf(file.key.id, call.info.version) == file.key.version;
  return same ? 0 : ESTALE;
}

void Fetcher::ReadDone(std::unique_ptr<Flight> flight, ReadCall& call) {
  flight->call = nullptr;
  --running_;
  --running_of_[flight->file->info.key.mount];
  bytes_of_[flight->file->info.key.mount] -= flight->bytes;
  running_bytes_ -= flight->bytes;
  const int err = flight->orphan ? ECANCELED : Outcome(flight->file->info, call);
  if (err == ESTALE) version_changed_(flight->file->info.key.mount, flight->file->info.path);
  Finish(flight.get(), err, call.crcs);
  Pump();
}

void Fetcher::Finish(Flight* flight, int err, const std::vector<std::uint32_t>& crcs) {
  const std::shared_ptr<File> file = flight->file;
  const FileInfo& info = file->info;
  std::vector<Done> released;
  for (std::uint32_t i = 0; i < flight->count; ++i) {
    const std::uint32_t range = flight->first + i;
    if (flight->orphan) {  // the range may be another flight's by now
      if (i < flight->spaces.size()) tier_->Abandon(flight->spaces[i]);
      continue;
    }
    file->ranges.erase(range);
    const bool marked = file->marks.erase(range) > 0;
    if (i < flight->spaces.size()) {
      if (err == 0) {
        const Space& space = flight->spaces[i];
        const std::byte* bytes = tier_->Bytes(space);
        tier_->Publish(space, info.key.RangeKey(range), crcs[i], marked ? PST_ENTRY_READAHEAD : 0u, 0);
        ++stats_.ranges;
        if (nvme_ != nullptr && !flight->nvme)
          nvme_->Offer({ObjectOf(info.key), range}, {bytes, space.bytes}, crcs[i], RegionClassOf(info.key.mount));
      } else {
        tier_->Abandon(flight->spaces[i]);
      }
    }
    if (auto waiting = file->waiters.extract(range); !waiting.empty()) {
      for (auto& [asker, done] : waiting.mapped()) released.push_back(std::move(done));
    }
  }
  ForgetIfIdle(file);
  for (Done& done : released) done(err, flight->nvme);
}

}  // namespace penstock::cache
