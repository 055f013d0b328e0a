#include "cache/engine/source_reads.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cache/base/loop.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kPartBytes = std::uint64_t{kMaxNvmeReadRanges} * PST_RANGE_BYTES;

std::uint32_t RangeAt(std::uint64_t offset) {
  return static_cast<std::uint32_t>(offset >> PST_RANGE_SHIFT);
}

}  // namespace

SourceReads::~SourceReads() {
  for (auto& [part, owner] : parts_) nvme_->Cancel(&part->read);
}

void SourceReads::Start(SourceRead* read, const FileInfo& info) {
  const auto whole = std::make_shared<Whole>(Whole{read, info, 1, 0});
  const std::uint64_t end = read->offset + read->length;
  const auto range_end = [end](std::uint64_t at) {
    return std::min((at | (PST_RANGE_BYTES - 1)) + 1, end);
  };
  for (std::uint64_t at = read->offset; at < end;) {
    std::uint64_t stop = range_end(at);
    if (FromArena(*whole, at, stop)) {
      at = stop;
      continue;
    }
    const bool nvme = OnNvme(*whole, at, stop);
    while (stop < end && stop - at < kPartBytes && !fetcher_->Present(info.key, RangeAt(stop)) &&
           OnNvme(*whole, stop, range_end(stop)) == nvme)
      stop = range_end(stop);
    ++whole->left;
    if (nvme) {
      StartNvme(whole, at, stop);
    } else {
      StartOrigin(whole, at, stop);
    }
    at = stop;
  }
  PartDone(whole.get(), 0);
}

void SourceReads::PartDone(Whole* whole, int err) {
  if (whole->err == 0) whole->err = err;
  if (--whole->left != 0) return;
  whole->read->err = whole->err;
  whole->read->done(whole->read);
}

bool SourceReads::FromArena(const Whole& whole, std::uint64_t at, std::uint64_t stop) {
  const pst_entry* entry = tier_->Find(whole.info.key.RangeKey(RangeAt(at)));
  if (entry == nullptr) return false;
  const std::uint64_t skip = at & (PST_RANGE_BYTES - 1);
  const std::span<const std::byte> bytes = tier_->BytesOf(*entry);
  if (bytes.size() < skip + (stop - at)) return false;
  std::memcpy(whole.read->buffer + (at - whole.read->offset), bytes.data() + skip, stop - at);
  return true;
}

// Whole ranges only: what is checked is a range's checksum.
bool SourceReads::OnNvme(const Whole& whole, std::uint64_t at, std::uint64_t stop) const {
  return at % PST_RANGE_BYTES == 0 && stop - at == whole.info.RangeBytes(RangeAt(at)) &&
         fetcher_->OnNvme(whole.info.key, RangeAt(at));
}

void SourceReads::StartNvme(const std::shared_ptr<Whole>& whole, std::uint64_t at,
                            std::uint64_t stop) {
  auto owned = std::make_unique<Part>();
  Part* part = owned.get();
  part->owner = this;
  part->whole = whole;
  part->at = at;
  part->stop = stop;
  part->read.object = fetcher_->ObjectOf(whole->info.key);
  part->read.first = RangeAt(at);
  for (std::uint64_t next = at; next < stop; next += PST_RANGE_BYTES)
    part->read.to.emplace_back(whole->read->buffer + (next - whole->read->offset),
                               std::min<std::uint64_t>(PST_RANGE_BYTES, stop - next));
  part->read.user = part;
  part->read.done = [](NvmeRead* read) {
    auto* self = static_cast<Part*>(read->user);
    self->owner->NvmeDone(self);
  };
  parts_.emplace(part, std::move(owned));
  nvme_->StartRead(&part->read);
}

void SourceReads::NvmeDone(Part* part) {
  const std::unique_ptr<Part> owned = std::move(parts_.extract(part).mapped());
  if (part->read.err != 0) return StartOrigin(part->whole, part->at, part->stop);
  PartDone(part->whole.get(), 0);
}

void SourceReads::StartOrigin(const std::shared_ptr<Whole>& whole, std::uint64_t at,
                              std::uint64_t stop) {
  const SourceRead& read = *whole->read;
  const Mount& mount = (*mounts_)[read.mount];
  const std::int64_t limit_ns = MonotonicNs() + mount.deadline_ns;
  auto call = std::make_unique<ReadCall>();
  call->name = whole->info.path;
  call->version = whole->info.token;
  call->offset = at;
  call->deadline_ns = read.deadline_ns > 0 ? std::min(read.deadline_ns, limit_ns) : limit_ns;
  call->buffers.emplace_back(read.buffer + (at - read.offset), stop - at);
  calls_->Start<ReadCall>(std::move(call), mount.origin, [this, whole](ReadCall& done) {
    const int err = Fetcher::Outcome(whole->info, done);
    if (err == ESTALE) version_changed_(whole->info.key.mount, whole->info.path);
    PartDone(whole.get(), err);
  });
}

}  // namespace penstock::cache
