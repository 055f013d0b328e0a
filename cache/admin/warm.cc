#include "cache/admin/warm.h"

#include <errno.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "cache/base/loop.h"
#include "shim/abi/record.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kChunkBytes = 1u << 20;         // one lane's work
constexpr std::size_t kListingBytes = PST_RANGE_BYTES;  // read at once: a page
constexpr std::int64_t kStepNs = 300'000'000'000;       // an operation's deadline
constexpr std::uint64_t kCursor = 0x7761726dull << 32;  // no session has it

bool IsPattern(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

std::string Joined(std::string_view a, std::string_view b) {
  if (a.empty()) return std::string(b);
  if (b.empty()) return std::string(a);
  return fmt::format("{}/{}", a, b);
}

// Cuts a pattern into the folders before its first wildcard, and the rest.
void SplitPattern(const std::string& pattern, std::string* base, std::string* rest) {
  std::size_t at = 0;
  while (at < pattern.size()) {
    const std::size_t end = std::min(pattern.find('/', at), pattern.size());
    if (IsPattern(std::string_view(pattern).substr(at, end - at))) break;
    at = end + 1;
  }
  *base = pattern.substr(0, at == 0 ? 0 : std::min(at - 1, pattern.size()));
  *rest = at >= pattern.size() ? "" : pattern.substr(at);
}

}  // namespace

// One operation of the engine, or a lane that goes through a chunk range by range.
struct WarmJob::Step {
  EngineOp op;
  WarmJob* job = nullptr;
  Walk walk;                     // kLookup, kList, kListingRead
  std::uint64_t pages = 0;       // kListingRead: that have come
  std::vector<std::byte> buffer;
  std::shared_ptr<File> file;  // kFetch
  std::uint64_t chunk_end = 0;
};

WarmJob::WarmJob(Engine* engine, std::vector<WarmTarget> targets,
                 std::vector<std::string> mount_paths)
    : engine_(engine), mount_paths_(std::move(mount_paths)) {
  for (const WarmTarget& target : targets) {
    Walk walk;
    walk.mount = target.mount;
    SplitPattern(target.pattern, &walk.path, &walk.rest);
    walk.named = true;
    walks_.push_back(std::move(walk));
  }
}

WarmJob::~WarmJob() = default;

void WarmJob::Start() {
  started_ns_ = MonotonicNs();
  Pump();
}

void WarmJob::Cancel() {
  if (std::exchange(cancelled_, true)) return;
  const std::vector<Step*> running(running_.begin(), running_.end());
  for (Step* step : running)
    if (running_.contains(step)) engine_->Cancel(&step->op);
  Pump();
}

WarmProgress WarmJob::Progress() const {
  WarmProgress progress = progress_;
  progress.listing = !walks_.empty() || walking_ > 0;
  progress.done = done_;
  progress.elapsed_ms = ((done_ ? ended_ns_ : MonotonicNs()) - started_ns_) / 1'000'000;
  return progress;
}

void WarmJob::Pump() {
  if (std::exchange(pumping_, true)) return;  // operations may end while they are started
  for (;;) {
    if (!ready_.empty()) {
      auto step = std::move(ready_.front());
      ready_.pop_front();
      Handle(std::move(step));
    } else if (running_.size() >= kOpsInFlight || !BeginNext()) {
      break;
    }
  }
  pumping_ = false;
  if (done_ || !running_.empty()) return;
  done_ = true;
  ended_ns_ = MonotonicNs();
}

bool WarmJob::BeginNext() {
  if (cancelled_) return false;
  auto step = std::make_unique<Step>();
  if (!files_.empty()) {
    const std::shared_ptr<File> file = files_.front();
    step->file = file;
    step->op.kind = EngineOpKind::kFetch;
    step->op.offset = file->next;
    step->chunk_end = std::min(file->next + kChunkBytes, file->size);
    file->next = step->chunk_end;
    if (file->next >= file->size) files_.pop_front();
  } else if (!walks_.empty()) {
    step->walk = std::move(walks_.front());
    walks_.pop_front();
    step->op.kind = EngineOpKind::kLookup;
    ++walking_;
  } else {
    return false;
  }
  Begin(std::move(step));
  return true;
}

void WarmJob::Begin(std::unique_ptr<Step> step) {
  EngineOp& op = step->op;
  const bool fetch = op.kind == EngineOpKind::kFetch;
  op.mount = fetch ? step->file->mount : step->walk.mount;
  op.path = fetch ? step->file->path : step->walk.path;
  op.id = KeyOf(op.path);
  op.err = 0;
  op.cursor = kCursor;
  if (fetch) {
    op.version = step->file->version;
    op.length = step->chunk_end - op.offset;
  }
  if (op.kind == EngineOpKind::kListingRead) {
    step->buffer.resize(kListingBytes);
    op.buffer = step->buffer;
    op.offset = step->pages * PST_RANGE_BYTES;
    op.length = step->buffer.size();
  }
  op.deadline_ns = MonotonicNs() + kStepNs;
  op.done = &WarmJob::Done;
  op.user = step.get();
  step->job = this;
  running_.insert(step.get());
  engine_->Start(&step.release()->op);
}

void WarmJob::Done(EngineOp* op) {
  std::unique_ptr<Step> step(static_cast<Step*>(op->user));
  WarmJob* job = step->job;
  job->running_.erase(step.get());
  job->ready_.push_back(std::move(step));
  job->Pump();
}

void WarmJob::Handle(std::unique_ptr<Step> step) {
  switch (step->op.kind) {
    case EngineOpKind::kLookup:
      return Looked(std::move(step));
    case EngineOpKind::kList:
      return Listed(std::move(step));
    case EngineOpKind::kListingRead:
      return ListingCame(std::move(step));
    default:
      return Fetched(std::move(step));
  }
}

void WarmJob::Looked(std::unique_ptr<Step> step) {
  const Walk& walk = step->walk;
  const pst_attr& attr = step->op.attr;
  int err = step->op.err;
  if (err == 0 && attr.kind == PST_KIND_ABSENT) err = attr.err != 0 ? attr.err : ENOENT;
  if (err == 0 && attr.kind == PST_KIND_FILE && !walk.rest.empty()) err = ENOTDIR;
  if (err != 0 || attr.kind == PST_KIND_FILE || cancelled_) {
    --walking_;
    if (err != 0)
      Problem(walk, err);
    else if (attr.kind == PST_KIND_FILE)
      AddFile(walk, attr);
    return;
  }
  step->op.kind = EngineOpKind::kList;
  Begin(std::move(step));
}

void WarmJob::Listed(std::unique_ptr<Step> step) {
  if (step->op.err != 0 || cancelled_) {
    --walking_;
    if (step->op.err != 0) Problem(step->walk, step->op.err);
    return;
  }
  step->op.kind = EngineOpKind::kListingRead;
  step->op.version = step->op.result_version;
  Begin(std::move(step));
}

void WarmJob::ListingCame(std::unique_ptr<Step> step) {
  const std::size_t n = std::min<std::size_t>(step->op.result_length, step->buffer.size());
  if (step->op.err == 0 && n > 0 && !cancelled_) {
    TakePage(*step, std::span(step->buffer).first(n));
    ++step->pages;
    return Begin(std::move(step));
  }
  --walking_;
  if (step->op.err != 0) Problem(step->walk, step->op.err);
}

// Goes through the entries of a page, every length checked.
void WarmJob::TakePage(const Step& step, std::span<const std::byte> all) {
  for (std::size_t at = 0; at + sizeof(pst_listing_page) <= all.size();) {
    pst_listing_page page;
    memcpy(&page, &all[at], sizeof page);
    if (page.magic != PST_LISTING_MAGIC || page.bytes < sizeof page || page.bytes > all.size() - at)
      return Problem(step.walk, EIO);
    std::size_t entry_at = at + sizeof page;
    for (std::uint32_t i = 0; i < page.count; ++i) {
      pst_listing_entry entry;
      if (entry_at + sizeof entry > at + page.bytes) return Problem(step.walk, EIO);
      memcpy(&entry, &all[entry_at], sizeof entry);
      const std::size_t name_at = entry_at + offsetof(pst_listing_entry, name);
      if (entry.record_bytes < sizeof entry || entry_at + entry.record_bytes > at + page.bytes)
        return Problem(step.walk, EIO);
      const char* name = reinterpret_cast<const char*>(&all[name_at]);
      Child(step.walk,
            std::string_view(name, strnlen(name, entry_at + entry.record_bytes - name_at)),
            entry.type == PST_LISTING_DIRECTORY);
      entry_at += entry.record_bytes;
    }
    at += page.bytes;
  }
}

void WarmJob::Child(const Walk& parent, std::string_view name, bool directory) {
  Walk walk;
  walk.mount = parent.mount;
  walk.path = Joined(parent.path, name);
  if (!parent.rest.empty()) {
    const std::size_t slash = parent.rest.find('/');
    const std::string pattern = parent.rest.substr(0, slash);
    const std::string name_text(name);
    if (fnmatch(pattern.c_str(), name_text.c_str(), FNM_PERIOD) != 0) return;
    if (slash != std::string::npos) walk.rest = parent.rest.substr(slash + 1);
    if (!walk.rest.empty() && !directory) return;
  }
  walks_.push_back(std::move(walk));
}

void WarmJob::AddFile(const Walk& walk, const pst_attr& attr) {
  ++progress_.files;
  progress_.bytes += attr.size;
  if (attr.size == 0) {
    ++progress_.files_done;
    return;
  }
  auto file = std::make_shared<File>();
  file->mount = walk.mount;
  file->path = walk.path;
  file->size = attr.size;
  file->version = attr.version;
  file->chunks_left = static_cast<std::uint32_t>((attr.size + kChunkBytes - 1) / kChunkBytes);
  files_.push_back(std::move(file));
}

// The range at the operation's offset is present: on to the next of the chunk.
void WarmJob::Fetched(std::unique_ptr<Step> step) {
  const std::shared_ptr<File> file = step->file;
  EngineOp& op = step->op;
  if (op.err == 0 && !cancelled_ && !file->failed) {
    const std::uint64_t next =
        std::min((op.offset / PST_RANGE_BYTES + 1) * PST_RANGE_BYTES, step->chunk_end);
    progress_.bytes_done += next - op.offset;
    if (next < step->chunk_end) {
      op.offset = next;
      return Begin(std::move(step));
    }
  } else if (op.err != 0 && !cancelled_ && !std::exchange(file->failed, true)) {
    ++progress_.failed;
    Problem({file->mount, file->path, "", true}, op.err);
    if (!files_.empty() && files_.front() == file) files_.pop_front();
  }
  if (--file->chunks_left == 0 && !file->failed) ++progress_.files_done;
}

void WarmJob::Problem(const Walk& walk, int err) {
  if (cancelled_ || (err == ENOENT && !walk.named)) return;  // gone since it was listed
  if (progress_.problems.size() >= kMaxProblems) return;
  progress_.problems.push_back(fmt::format(
      "{}: {}", Joined(mount_paths_[walk.mount], Joined(walk.path, walk.rest)), strerror(err)));
}

}  // namespace penstock::cache
