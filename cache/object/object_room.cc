// The limits: room is made by unlinking what was used longest ago and nobody has open; bytes that
// are unlinked but open count until their last reader is gone; what earlier starts left is found
// bit by bit.
#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "cache/object/object_store_impl.h"
#include "transport/base/log.h"

namespace penstock::cache::object {
namespace {

constexpr std::int64_t kFirstZombieDelayNs = 2'000'000'000;
constexpr std::int64_t kLastZombieDelayNs = 60'000'000'000;
constexpr unsigned kScanEntriesPerStep = 256;
constexpr std::int64_t kScanPauseNs = 2'000'000;
constexpr std::size_t kMaxLooksForRoom = 4096;

}  // namespace

std::uint64_t Store::Shortage(bool memory, std::uint64_t bytes) const {
  const std::uint64_t limit = memory ? config_.fallback_bytes : config_.max_bytes;
  std::uint64_t wanted = used_[memory] + reserved_[memory] + bytes;
  if (!memory && config_.others_bytes) wanted += config_.others_bytes();
  return wanted > limit ? wanted - limit : 0;
}

bool Store::EnsureRoom(bool memory, std::uint64_t bytes, int* err) {
  if (Shortage(memory, bytes) != 0) SweepZombies();
  std::size_t budget = kMaxLooksForRoom;
  while (Shortage(memory, bytes) != 0) {
    if (!EvictOne(memory, &budget)) {
      if (!memory && config_.others_drop && config_.others_drop()) continue;
      log::Warning(
          "no room for a file that a program maps or sends: all of {} MiB {} is open in "
          "programs; raise cache.nvme",
          (memory ? config_.fallback_bytes : config_.max_bytes) >> 20,
          memory ? "in memory" : "of the cache folder");
      *err = ENOSPC;
      return false;
    }
  }
  if (memory) return true;
  while (dir_->FreeBytes(config_.reserve_bytes) < bytes + reserved_[0]) {
    if (!EvictOne(false, &budget)) {
      if (config_.others_drop && config_.others_drop()) continue;
      *err = ENOSPC;
      return false;
    }
  }
  return true;
}

// True if nobody outside has the object open. Where leases are not to be had, what this start gave
// out counts as open until the next one.
bool Store::Evictable(Object* object) {
  if (!object->idle()) return false;
  int readers;
  if (object->open) {
    readers = HasReaders(object->files.data.get());
  } else {
    Fd peek = dir_ ? dir_->Peek(object->key) : Fd();
    readers = peek.valid() ? HasReaders(peek.get()) : 0;
  }
  return readers == 0 || (readers < 0 && !object->handed_out);
}

bool Store::EvictOne(bool memory, std::size_t* budget) {
  for (Object* object : by_age_) {
    if (object->memory != memory) continue;
    if (*budget == 0) return false;
    (*budget)--;
    if (!Evictable(object)) continue;
    stats_.dropped++;
    SetBytes(object, 0);  // nobody has it: the disk gets the bytes back now
    Doom(object);
    if (object->queued) return true;  // Pump() deletes it
    MaybeDelete(object);
    return true;
  }
  return false;
}

void Store::SetBytes(Object* object, std::uint64_t bytes) {
  used_[object->memory] += bytes - object->bytes;
  object->bytes = bytes;
}

// Of a doomed object: its bytes go on counting while somebody may have it open.
void Store::AddZombie(Object* object) {
  const std::uint64_t bytes = object->bytes;
  SetBytes(object, 0);
  if (bytes == 0 || !object->open) return;
  const int readers = HasReaders(object->files.data.get());
  if (readers == 0 || (readers < 0 && !object->handed_out)) return;
  used_[object->memory] += bytes;
  Fd fd(::fcntl(object->files.data.get(), F_DUPFD_CLOEXEC, 0));
  // A file system without leases never says: counted until the end, but not held open by us.
  zombies_.push_back({readers < 0 ? Fd() : std::move(fd), bytes, object->memory});
  if (readers > 0) {
    zombie_delay_ns_ = kFirstZombieDelayNs;
    ArmZombieTimer();
  }
}

void Store::SweepZombies() {
  std::erase_if(zombies_, [this](const Zombie& zombie) {
    if (!zombie.fd.valid() || HasReaders(zombie.fd.get()) != 0) return false;
    used_[zombie.memory] -= zombie.bytes;
    return true;
  });
}

void Store::ArmZombieTimer() {
  if (zombie_timer_ != 0) return;
  zombie_timer_ = loop_->After(zombie_delay_ns_, [this] {
    zombie_timer_ = 0;
    SweepZombies();
    zombie_delay_ns_ = std::min(zombie_delay_ns_ * 2, kLastZombieDelayNs);
    for (const Zombie& zombie : zombies_) {
      if (zombie.fd.valid()) {
        ArmZombieTimer();
        return;
      }
    }
  });
}

void Store::ScanStep() {
  scan_timer_ = 0;
  unsigned budget = kScanEntriesPerStep;
  while (auto found = scan_.Next(dir_.get(), &budget)) {
    if (objects_.contains(found->key)) continue;
    auto* object = new Object;
    object->key = found->key;
    objects_[found->key] = object;
    // Older than all that this start has used; among themselves in the order found.
    object->age = by_age_.insert(by_age_.begin(), object);
    SetBytes(object, found->allocated_bytes);
  }
  if (!scan_.done()) {
    scan_timer_ = loop_->After(kScanPauseNs, [this] { ScanStep(); });
    return;
  }
  std::size_t budget_to_evict = kMaxLooksForRoom;
  while ((Shortage(false, 0) != 0 || objects_.size() > config_.max_files) &&
         EvictOne(false, &budget_to_evict)) {
  }
}

}  // namespace penstock::cache::object
