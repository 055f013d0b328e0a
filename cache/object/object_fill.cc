// How an object's bytes arrive: pieces of up to 4 MiB from the source, several at a time, each
// written to the file and then recorded in the .meta; what an earlier start left is read back and
// checked. Zeros are not written: the hole that is there reads the same.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/object/object_store_impl.h"
#include "transport/base/crc32c.h"
#include "transport/base/log.h"

namespace penstock::cache::object {
namespace {

bool AllZero(const std::byte* at, std::uint64_t bytes) {
  return bytes == 0 || (*at == std::byte{0} && std::memcmp(at, at + 1, bytes - 1) == 0);
}

// Of a range that holds nothing but zeros.
std::uint32_t ZeroCrc(std::uint64_t bytes) {
  static const std::byte zeros[PST_RANGE_BYTES] = {};
  static const std::uint32_t whole = Crc32c(zeros);
  return bytes == PST_RANGE_BYTES ? whole : Crc32c({zeros, static_cast<std::size_t>(bytes)});
}

// A stretch of a file of which nothing was ever written. Where the file system can't say: false.
bool IsHole(int fd, std::uint64_t offset, std::uint64_t bytes) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  return data < 0 ? errno == ENXIO : static_cast<std::uint64_t>(data) >= offset + bytes;
}

}  // namespace

std::size_t Store::MostRuns(const Object& object) const {
  const Waiter& waiter = *object.waiters.front();
  return std::clamp<std::size_t>(2 * std::size_t{waiter.source->Parallelism(waiter.op->mount)},
                                 kMinRuns, kMaxRuns);
}

// Memory that was just used costs nothing to touch; fresh memory costs as much as the copy into it.
std::unique_ptr<std::byte[]> Store::TakeBuffer(std::uint64_t bytes) {
  if (bytes <= kPieceBytes / 4) return std::make_unique_for_overwrite<std::byte[]>(bytes);
  if (spare_.empty()) return std::make_unique_for_overwrite<std::byte[]>(kPieceBytes);
  auto buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

// REQUIRES: the run is out of runs_.
void Store::GiveBuffer(Run* run) {
  if (run->buffer != nullptr && run->bytes > kPieceBytes / 4) {
    spare_.push_back(std::move(run->buffer));
  }
  run->buffer.reset();
}

// Fetches go round robin over the objects, so that a small file does not wait for a large one.
void Store::Pump() {
  if (pumping_) return;  // a source may answer at once
  pumping_ = true;
  std::size_t turns = wanting_.size();
  while (runs_.size() < kMaxRuns && !wanting_.empty() && turns > 0) {
    Object* object = wanting_.front();
    wanting_.pop_front();
    object->queued = false;
    turns--;
    if (object->doomed || object->waiters.empty()) {
      MaybeDelete(object);
      continue;
    }
    if (runs_.size() >= MostRuns(*object)) {
      object->queued = true;
      wanting_.push_back(object);
      continue;
    }
    object->runs++;  // keeps it: what is started may fail at once and end the object
    if (StartNextRun(object)) {
      if (!object->queued && !object->doomed) {
        object->queued = true;
        wanting_.push_back(object);
      }
      turns = wanting_.size();
    }
    object->runs--;
    MaybeDelete(object);
  }
  if (runs_.empty()) spare_.clear();
  pumping_ = false;
}

Piece& Store::PieceOf(Object* object, std::uint64_t number) {
  Piece& piece = object->pieces[number];
  if (piece.loaded) return piece;
  piece.loaded = true;
  if (object->memory) return piece;
  std::byte records[kPieceRanges * kMetaRecordBytes] = {};
  const ssize_t n = ::pread(object->files.meta.get(), records, sizeof records,
                            static_cast<off_t>(MetaRecordOffset(number * kPieceRanges)));
  for (std::uint32_t i = 0; i < kPieceRanges; i++) {
    if (n < static_cast<ssize_t>((i + 1) * kMetaRecordBytes)) break;
    const std::uint64_t range = number * kPieceRanges + i;
    if (DecodeRecord(object->key, range, records + i * kMetaRecordBytes))
      piece.unchecked |= std::uint64_t{1} << i;
  }
  return piece;
}

// Starts one run for the first waiter that lacks something. False if there is nothing to start.
bool Store::StartNextRun(Object* object) {
  for (Waiter* waiter : object->waiters) {
    while (waiter->asked_to < waiter->end) {
      const std::uint64_t number = waiter->asked_to / kPieceRanges;
      const Piece& piece = PieceOf(object, number);
      const auto at = static_cast<std::uint32_t>(waiter->asked_to % kPieceRanges);
      const std::uint64_t piece_end = (number + 1) * kPieceRanges;
      const auto stop =
          static_cast<std::uint32_t>(std::min(waiter->end, piece_end) - number * kPieceRanges);
      if ((piece.present | piece.running) >> at & 1) {
        waiter->asked_to++;
        continue;
      }
      const std::uint64_t kind = piece.unchecked >> at & 1;
      std::uint32_t count = 1;
      while (at + count < stop && ((piece.present | piece.running) >> (at + count) & 1) == 0 &&
             (piece.unchecked >> (at + count) & 1) == kind)
        count++;
      waiter->asked_to += count;
      StartRun(object, waiter, number, at, count, kind != 0);
      return true;
    }
  }
  return false;
}

void Store::StartRun(Object* object, Waiter* waiter, std::uint64_t piece, std::uint32_t first,
                     std::uint32_t count, bool check) {
  auto owned = std::make_unique<Run>();
  Run* run = owned.get();
  run->store = this;
  run->object = object;
  run->piece = piece;
  run->first = first;
  run->count = count;
  run->check = check;
  run->bytes = object->BytesOf(run->range(), count);
  if (!check) {
    int err = 0;
    if (!EnsureRoom(object->memory, run->bytes, &err)) {
      object->runs++;
      runs_[run] = std::move(owned);
      object->pieces[piece].running |= run->mask();
      RunFailed(run, err, true);
      return;
    }
    run->reserved = run->bytes;
    reserved_[object->memory] += run->reserved;
  }
  if (!check) run->buffer = TakeBuffer(run->bytes);
  object->runs++;
  object->pieces[piece].running |= run->mask();
  runs_[run] = std::move(owned);
  const std::uint64_t offset = run->range() * PST_RANGE_BYTES;
  if (check) {
    run->hole = IsHole(object->files.data.get(), offset, run->bytes);
    if (run->hole) {
      // Zeros: no page of cache, and no time, is spent on them.
      StartIo(run, object->files.meta.get(), run->records, count * kMetaRecordBytes,
              MetaRecordOffset(run->range()), false, [](FileOp* op) {
                auto* self = static_cast<Run*>(op->user);
                self->store->OnData(self);
              });
      return;
    }
    run->buffer = TakeBuffer(run->bytes);
    StartIo(run, object->files.data.get(), run->buffer.get(), run->bytes, offset, false,
            [](FileOp* op) {
              auto* self = static_cast<Run*>(op->user);
              self->store->OnData(self);
            });
    return;
  }
  waiter->filled = true;
  SourceRead& read = run->read;
  read.mount = waiter->op->mount;
  read.path = waiter->op->path;
  read.id = object->key.id;
  read.version = object->key.version;
  read.offset = offset;
  read.length = run->bytes;
  read.buffer = run->buffer.get();
  read.deadline_ns = MonotonicNs() + kRunTimeoutNs;  // others may have come to wait for it
  read.user = run;
  read.done = [](SourceRead* done) {
    auto* self = static_cast<Run*>(done->user);
    self->store->OnSource(self);
  };
  waiter->source->StartRead(&read);
}

void Store::OnSource(Run* run) {
  if (run->read.err != 0) {
    RunFailed(run, run->read.err, false);
    return;
  }
  std::uint64_t first = run->bytes, end = 0;  // what is not zeros
  for (std::uint32_t i = 0; i < run->count; i++) {
    const std::uint64_t at = std::uint64_t{i} * PST_RANGE_BYTES;
    const std::uint64_t length = std::min<std::uint64_t>(PST_RANGE_BYTES, run->bytes - at);
    const std::byte* bytes = run->buffer.get() + at;
    const bool zero = AllZero(bytes, length);
    if (!zero) {
      first = std::min(first, at);
      end = at + length;
    }
    EncodeRecord(run->object->key, run->range() + i,
                 zero ? ZeroCrc(length) : Crc32c({bytes, static_cast<std::size_t>(length)}),
                 run->records + i * kMetaRecordBytes);
  }
  run->written = end > first ? end - first : 0;
  if (run->written == 0) {
    DataWritten(run);
    return;
  }
  StartIo(run, run->object->files.data.get(), run->buffer.get() + first, run->written,
          run->range() * PST_RANGE_BYTES + first, true, [](FileOp* op) {
            auto* self = static_cast<Run*>(op->user);
            self->store->OnData(self);
          });
}

void Store::StartIo(Run* run, int fd, std::byte* buffer, std::uint64_t length, std::uint64_t offset,
                    bool write, void (*done)(FileOp*)) {
  run->io_done = 0;
  run->io = FileOp{};
  run->io.fd = fd;
  run->io.buffer = buffer;
  run->io.length = static_cast<std::uint32_t>(length);
  run->io.offset = offset;
  run->io.write = write;
  run->io.done = done;
  run->io.user = run;
  loop_->Start(&run->io);
}

int Store::ContinueIo(Run* run, std::uint64_t length) {
  const std::int64_t result = run->io.result;
  if (result == -EINTR || result == -EAGAIN) {
    run->store->loop_->Start(&run->io);
    return 0;
  }
  if (result < 0) return static_cast<int>(result);
  if (result == 0) return run->io.write ? -ENOSPC : -EIO;  // a file of ours is never shorter
  run->io_done += static_cast<std::uint64_t>(result);
  if (run->io_done >= length) return 1;
  run->io.buffer = static_cast<std::byte*>(run->io.buffer) + result;
  run->io.length -= static_cast<std::uint32_t>(result);
  run->io.offset += static_cast<std::uint64_t>(result);
  run->store->loop_->Start(&run->io);
  return 0;
}

void Store::OnData(Run* run) {
  const int state = ContinueIo(run, run->hole    ? run->count * kMetaRecordBytes
                                    : run->check ? run->bytes
                                                 : run->written);
  if (state == 0) return;
  if (run->check) {
    if (state > 0 && CheckRun(run)) {
      EndRun(run);
    } else {
      Corrupt(run->object);
      EndRun(run);
    }
    return;
  }
  if (state < 0) {
    RunFailed(run, -state, true);
  } else {
    DataWritten(run);
  }
}

void Store::DataWritten(Run* run) {
  if (run->object->memory) {
    EndRun(run);
  } else {
    // Only now: presence is recorded when the bytes are there.
    StartIo(run, run->object->files.meta.get(), run->records, run->count * kMetaRecordBytes,
            MetaRecordOffset(run->range()), true, [](FileOp* op) {
              auto* self = static_cast<Run*>(op->user);
              self->store->OnRecords(self);
            });
  }
}

void Store::OnRecords(Run* run) {
  const int state = ContinueIo(run, run->count * kMetaRecordBytes);
  if (state == 0) return;
  // Without its record a range is fetched again after a restart: slower, not wrong.
  if (state < 0) DiskTrouble(ErrnoError(-state, "recording an object's ranges"));
  EndRun(run);
}

bool Store::CheckRun(Run* run) {
  const auto length = static_cast<ssize_t>(run->count * kMetaRecordBytes);
  if (!run->hole &&
      ::pread(run->object->files.meta.get(), run->records, static_cast<std::size_t>(length),
              static_cast<off_t>(MetaRecordOffset(run->range()))) != length)
    return false;
  for (std::uint32_t i = 0; i < run->count; i++) {
    const std::uint64_t at = std::uint64_t{i} * PST_RANGE_BYTES;
    const std::uint64_t bytes = std::min<std::uint64_t>(PST_RANGE_BYTES, run->bytes - at);
    const auto crc =
        DecodeRecord(run->object->key, run->range() + i, run->records + i * kMetaRecordBytes);
    if (!crc ||
        *crc != (run->hole ? ZeroCrc(bytes)
                           : Crc32c({run->buffer.get() + at, static_cast<std::size_t>(bytes)})))
      return false;
  }
  return true;
}

// What an earlier start wrote does not hold. Present bytes are never rewritten: the whole object
// goes.
void Store::Corrupt(Object* object) {
  if (object->doomed) return;
  stats_.corrupt++;
  log::Warning("dropped an object of the cache folder: its bytes do not match their checksums");
  Doom(object);
  object->runs++;  // keeps it while its waiters move
  MoveWaiters(object, false, 0);
  object->runs--;
}

// Takes the run out; what it brought counts unless the object was doomed meanwhile.
void Store::EndRun(Run* run) {
  auto it = runs_.find(run);
  std::unique_ptr<Run> owned = std::move(it->second);
  runs_.erase(it);
  Object* object = run->object;
  Piece& piece = object->pieces[run->piece];
  piece.running &= ~run->mask();
  reserved_[object->memory] -= run->reserved;
  if (!object->doomed) {
    piece.present |= run->mask();
    piece.unchecked &= ~run->mask();
    if (!run->check) SetBytes(object, object->bytes + run->written);
    GiveBuffer(run);
    std::vector<EngineOp*> complete;
    for (Waiter* waiter : object->waiters) {
      if (Advance(waiter)) complete.push_back(waiter->op);
    }
    for (EngineOp* op : complete) {
      auto waiter = waiters_.find(op);
      if (waiter != waiters_.end() && waiter->second->object == object)
        Finish(waiter->second.get(), 0);
    }
  }
  object->runs--;
  MaybeDelete(object);
  Pump();
}

void Store::RunFailed(Run* run, int err, bool of_disk) {
  Object* object = run->object;
  auto it = runs_.find(run);
  std::unique_ptr<Run> owned = std::move(it->second);
  runs_.erase(it);
  GiveBuffer(run);
  object->pieces[run->piece].running &= ~run->mask();
  reserved_[object->memory] -= run->reserved;
  const std::uint64_t from = run->range(), to = from + run->count;
  if (of_disk && !object->doomed && !object->memory && !object->handed_out) {
    // Nobody has it yet, so another inode can take its place.
    DiskTrouble(ErrnoError(err, "writing an object"));
    Doom(object);
    MoveWaiters(object, true, 0);
  } else if (!object->doomed) {
    std::vector<EngineOp*> hit;
    for (Waiter* waiter : object->waiters) {
      if (waiter->first < to && from < waiter->end) hit.push_back(waiter->op);
    }
    for (EngineOp* op : hit) {
      auto waiter = waiters_.find(op);
      if (waiter != waiters_.end() && waiter->second->object == object)
        Finish(waiter->second.get(), err);
    }
  }
  object->runs--;
  MaybeDelete(object);
  Pump();
}

}  // namespace penstock::cache::object
