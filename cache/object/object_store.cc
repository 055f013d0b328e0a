#include "cache/object/object_store.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cache/object/object_store_impl.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace object {
namespace {

// The end of file I/O whose store is gone.
void FreeOrphan(FileOp* op) {
  const std::unique_ptr<Run> run(static_cast<Run*>(op->user));
  if (--run->object->runs == 0) delete run->object;
}

}  // namespace

Store::Store(Loop* loop, ObjectStoreConfig config) : loop_(loop), config_(std::move(config)) {
  for (const std::string& origin : config_.origins) origin_digests_.push_back(OriginDigest(origin));
}

Store::~Store() {
  if (zombie_timer_ != 0) loop_->CancelTimer(zombie_timer_);
  if (scan_timer_ != 0) loop_->CancelTimer(scan_timer_);
  // Buffers and descriptors that the kernel or an origin may still use are not given back: file I/O
  // under way completes after us, and frees its run and object then.
  for (auto& [run, owner] : runs_) {
    if (run->io.user != nullptr) run->io.done = &FreeOrphan;
    (void)owner.release();
  }
  for (auto& [key, object] : objects_)
    if (object->runs == 0) delete object;
  for (Object* object : doomed_)
    if (object->runs == 0) delete object;
}

void Store::Start() {
  if (config_.dir.empty() || config_.max_bytes == 0) {
    log::Warning(
        "no cache folder: files that programs map or send are kept in memory, at most {} MiB "
        "at a time",
        config_.fallback_bytes >> 20);
    return;
  }
  auto dir = ObjectDir::Open(config_.dir);
  if (!dir) {
    log::Warning(
        "cache folder {} is unusable ({}, errno {}): files that programs map or send are kept "
        "in memory, at most {} MiB at a time",
        config_.dir, dir.error().context, dir.error().errno_value, config_.fallback_bytes >> 20);
    return;
  }
  dir_ = std::make_unique<ObjectDir>(std::move(*dir));
  ScanStep();
}

ObjectKey Store::KeyOf(const EngineOp& op) const {
  const std::uint64_t origin = op.mount < origin_digests_.size()
                                   ? origin_digests_[op.mount]
                                   : OriginDigest("mount " + std::to_string(op.mount));
  return {op.id, op.attr.version, origin};
}

void Store::Materialize(EngineOp* op, ObjectSource* source) {
  auto owned = std::make_unique<Waiter>();
  Waiter* waiter = owned.get();
  waiter->op = op;
  waiter->source = source;
  waiters_[op] = std::move(owned);
  op->fd = -1;
  const std::uint64_t size = op->attr.size;
  if (size > PST_MAX_FILE_BYTES || op->offset > PST_MAX_FILE_BYTES ||
      op->path.size() >= PST_PATH_MAX) {
    Finish(waiter, EINVAL);
    return;
  }
  const std::uint64_t from = std::min(op->offset, size);
  const std::uint64_t length =
      op->length == 0 ? size - from : std::min<std::uint64_t>(op->length, size - from);
  waiter->first = from / PST_RANGE_BYTES;
  waiter->end =
      length == 0 ? waiter->first : (from + length + PST_RANGE_BYTES - 1) / PST_RANGE_BYTES;
  if (op->deadline_ns > 0) {
    waiter->timer =
        loop_->After(std::max<std::int64_t>(op->deadline_ns - MonotonicNs(), 0), [this, waiter] {
          waiter->timer = 0;
          Finish(waiter, EIO);  // what a deadline is to a program
        });
  }
  Attach(waiter, false);
}

void Store::Cancel(EngineOp* op) {
  auto it = waiters_.find(op);
  if (it != waiters_.end()) Finish(it->second.get(), ECANCELED);
}

void Store::Attach(Waiter* waiter, bool force_memory) {
  if (++waiter->attempts > kMaxAttempts) {
    Finish(waiter, EIO);
    return;
  }
  auto object = Acquire(*waiter, force_memory);
  if (!object) {
    Finish(waiter, ErrnoOf(object.error()));
    return;
  }
  waiter->object = *object;
  waiter->complete_to = waiter->asked_to = waiter->first;
  (*object)->waiters.push_back(waiter);
  by_age_.splice(by_age_.end(), by_age_, (*object)->age);
  if (Advance(waiter)) {
    Finish(waiter, 0);
    return;
  }
  if (!(*object)->queued) {
    (*object)->queued = true;
    wanting_.push_back(*object);
  }
  Pump();
}

Result<Object*> Store::Acquire(const Waiter& waiter, bool force_memory) {
  const ObjectKey key = KeyOf(*waiter.op);
  ObjectHeader header{key, waiter.op->attr.size, waiter.op->attr.mtime_ns, waiter.op->path};
  auto it = objects_.find(key);
  Object* object = it == objects_.end() ? nullptr : it->second;
  if (object != nullptr && object->open) {
    if (object->files.header.size == header.size && object->files.header.name == header.name)
      return object;
    // The same key and version, yet another name or size: one of the two is not what it says.
    stats_.corrupt++;
    Doom(object);
    MoveWaiters(object, false, ESTALE);
    object = nullptr;
  }
  const std::uint64_t need =
      std::min(header.size, waiter.end * PST_RANGE_BYTES) - waiter.first * PST_RANGE_BYTES;
  const bool on_disk = dir_ != nullptr && !force_memory;
  const std::uint64_t limit = on_disk ? config_.max_bytes : config_.fallback_bytes;
  if (need > limit) {
    log::Warning(
        "a program needs {} MiB of one file as a real file, {} holds {} MiB: raise cache.nvme{}",
        need >> 20, on_disk ? "the cache folder" : "memory", limit >> 20,
        on_disk ? ", or let it read() the file" : " and give the sidecar a cache.dir");
    return Fail(Code::kNoSpace, "a file larger than the cache");
  }
  if (object == nullptr) {
    object = new Object;
    object->key = key;
    objects_[key] = object;
    object->age = by_age_.insert(by_age_.end(), object);
  }
  object->runs++;  // in use already: making room must not take it
  const auto opened = OpenFiles(object, header, force_memory);
  object->runs--;
  if (!opened) {
    Forget(object);
    return std::unexpected(opened.error());
  }
  CloseSome(object);
  return object;
}

// Finds or makes the object's files. An unusable disk leads to a memory file.
Result<void> Store::OpenFiles(Object* object, const ObjectHeader& header, bool force_memory) {
  if (dir_ && !force_memory) {
    auto found = dir_->Find(object->key);
    if (found && (found->header.size != header.size || found->header.name != header.name)) {
      found = Fail(Code::kCorrupt, "an object of another name or size");
    }
    if (found) {
      object->files = std::move(*found);
      object->open = true;
      open_count_++;
      SetBytes(object, object->files.allocated_bytes);
      return {};
    }
    if (found.error().code != Code::kNotFound) {
      stats_.corrupt++;
      log::Warning("dropped an object of the cache folder: {}", found.error().context);
    }
    object->pieces.clear();
    SetBytes(object, 0);
    if (objects_.size() > config_.max_files) {
      std::size_t budget = 64;
      while (objects_.size() > config_.max_files && EvictOne(false, &budget)) {
      }
    }
    if (dir_->FreeBytes(config_.reserve_bytes) > 0) {
      auto made = dir_->Create(header);
      if (made) {
        object->files = std::move(*made);
        object->open = true;
        open_count_++;
        return {};
      }
      DiskTrouble(made.error());
    } else {
      DiskTrouble(ErrnoError(ENOSPC, "making an object"));
    }
  }
  auto made = CreateMemoryFile(header);
  if (!made) return std::unexpected(made.error());
  object->files = std::move(*made);
  object->memory = true;
  object->open = true;
  open_count_++;
  return {};
}

void Store::DiskTrouble(const Error& error) {
  constexpr std::int64_t kEveryNs = 60'000'000'000;
  const std::int64_t now = MonotonicNs();
  if (now < next_trouble_log_ns_) return;
  next_trouble_log_ns_ = now + kEveryNs;
  log::Warning(
      "cache folder {}: {} (errno {}); files that programs map or send go to memory until it "
      "works again",
      config_.dir, error.context, error.errno_value);
}

bool Store::Advance(Waiter* waiter) {
  Object* object = waiter->object;
  while (waiter->complete_to < waiter->end) {
    const Piece& piece = PieceOf(object, waiter->complete_to / kPieceRanges);
    const auto bit = static_cast<unsigned>(waiter->complete_to % kPieceRanges);
    if (bit == 0 && piece.present == ~std::uint64_t{0}) {
      waiter->complete_to = std::min(waiter->end, waiter->complete_to + kPieceRanges);
    } else if (piece.present >> bit & 1) {
      waiter->complete_to++;
    } else {
      return false;
    }
  }
  return true;
}

void Store::Finish(Waiter* waiter, int err) {
  EngineOp* op = waiter->op;
  Object* object = waiter->object;
  if (object != nullptr) std::erase(object->waiters, waiter);
  if (waiter->timer != 0) loop_->CancelTimer(waiter->timer);
  if (err == 0) {
    auto fd = ReopenReadOnly(object->files.data.get());
    if (fd) {
      op->fd = *fd;
      object->handed_out = true;
      if (!waiter->filled) stats_.hits++;
    } else {
      err = ErrnoOf(fd.error());
    }
  }
  op->err = err;
  waiters_.erase(op);
  if (object != nullptr) MaybeDelete(object);
  op->done(op);
}

// After the object turned out bad: its waiters ask anew, or fail with `err` if they can't.
void Store::MoveWaiters(Object* object, bool force_memory, int err) {
  std::vector<EngineOp*> ops;
  for (Waiter* waiter : std::exchange(object->waiters, {})) {
    waiter->object = nullptr;
    ops.push_back(waiter->op);
  }
  for (EngineOp* op : ops) {
    auto it = waiters_.find(op);
    if (it == waiters_.end() || it->second->object != nullptr) continue;
    if (err != 0) {
      Finish(it->second.get(), err);
    } else {
      Attach(it->second.get(), force_memory);
    }
  }
  MaybeDelete(object);
}

// Unlinks the object: who has it open keeps it, nobody finds it any more. Its waiters are the
// caller's.
void Store::Doom(Object* object) {
  if (object->doomed) return;
  object->doomed = true;
  if (!object->memory && dir_) dir_->Unlink(object->key);
  objects_.erase(object->key);
  by_age_.erase(object->age);
  doomed_.insert(object);
  AddZombie(object);
}

// Drops what is known of an object that has no files open.
void Store::Forget(Object* object) {
  SetBytes(object, 0);
  objects_.erase(object->key);
  by_age_.erase(object->age);
  delete object;
}

void Store::MaybeDelete(Object* object) {
  if (!object->doomed || !object->idle() || object->queued) return;
  doomed_.erase(object);
  if (object->open) open_count_--;
  delete object;
}

// Descriptors are for objects in use: the rest is opened again by name.
void Store::CloseSome(const Object* keep) {
  if (open_count_ <= config_.max_open) return;
  int looks = 32;
  for (Object* object : by_age_) {
    if (open_count_ <= config_.max_open || looks == 0) return;
    // `keep` has just been opened and has no waiter yet.
    if (object == keep || !object->open || object->memory || !object->idle()) continue;
    looks--;
    object->files = {};
    object->open = false;
    open_count_--;
  }
}

ObjectStoreStats Store::Stats() const {
  stats_.objects = objects_.size();
  stats_.bytes = used_[0] + used_[1];
  stats_.memory_objects = 0;
  for (const auto& [key, object] : objects_) stats_.memory_objects += object->memory;
  return stats_;
}

}  // namespace object

Result<std::unique_ptr<ObjectStore>> MakeObjectStore(Loop* loop, const ObjectStoreConfig& config) {
  auto store = std::make_unique<object::Store>(loop, config);
  store->Start();
  return store;
}

}  // namespace penstock::cache
