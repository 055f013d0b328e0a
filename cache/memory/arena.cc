#include "cache/memory/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/thread.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace penstock::cache {
namespace {

constexpr std::uint64_t kHugePage = PST_SEGMENT_BYTES;
constexpr std::uint64_t kMinEntries = 65'536;
constexpr std::uint64_t kBytesPerEntry = 16 * 1024;
constexpr double kMaxLoad = 0.6;
// An index up to this size is made of huge pages at start; a larger one is touched page by page.
constexpr std::uint64_t kHugeIndexBytes = 9u << 20;

std::uint64_t RoundUp(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

std::uint64_t BucketCount(std::uint64_t arena_bytes) {
  const std::uint64_t entries = std::max(kMinEntries, arena_bytes / kBytesPerEntry);
  const auto buckets = static_cast<std::uint64_t>(static_cast<double>(entries) /
                                                  (PST_BUCKET_ENTRIES * kMaxLoad));
  return std::bit_ceil(buckets);
}

std::uint64_t RandomNonZero() {
  std::uint64_t value = 0;
  while (value == 0) {
    if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
      value = static_cast<std::uint64_t>(SystemClock::Get().WallNs()) ^
              (static_cast<std::uint64_t>(getpid()) << 40);
    }
  }
  return value;
}

// Free huge pages of 2 MiB on this node; 0 if it has none.
std::uint64_t FreeHugePages() {
  std::FILE* file = std::fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
  if (file == nullptr) return 0;
  unsigned long long pages = 0;
  if (std::fscanf(file, "%llu", &pages) != 1) pages = 0;  // NOLINT(cert-err34-c): 0 is the fallback
  (void)std::fclose(file);
  return pages;
}

}  // namespace

pst_mount DescribeMount(std::uint32_t index, std::string_view path, bool writable, std::uint32_t uid,
                        std::uint32_t gid) {
  pst_mount mount{};
  mount.ns = PST_NS_FILES | (index & PST_NS_INDEX_MASK);
  mount.flags = writable ? PST_MOUNT_RW : 0;
  mount.uid = uid;
  mount.gid = gid;
  // Major 0 (the upper 12 bits), as file systems without a device have it, at the end of the minors where
  // the kernel, which counts from 1, does not come.
  mount.st_dev = 0x000FFF00u | index;
  const std::size_t length = std::min<std::size_t>(path.size(), PST_MOUNT_PATH_MAX - 1);
  mount.path_len = static_cast<std::uint32_t>(length);
  std::memcpy(mount.path, path.data(), length);
  return mount;
}

Result<std::unique_ptr<Arena>> Arena::Create(const ArenaConfig& config) {
  std::unique_ptr<Arena> arena(new Arena);
  if (auto made = arena->Init(config); !made) return std::unexpected(made.error());
  return arena;
}

Result<void> Arena::Init(const ArenaConfig& config) {
  if (config.arena_bytes < kMinArenaBytes) return Fail(Code::kInvalid, "arena: memory is too small");
  if (config.mounts.size() > PST_MAX_MOUNTS) return Fail(Code::kInvalid, "arena: too many mounts");
  const std::uint64_t segments = config.arena_bytes >> PST_SEGMENT_SHIFT;
  if (segments > PST_MAX_SEGMENTS) return Fail(Code::kInvalid, "arena: memory is too large");
  segment_count_ = static_cast<std::uint32_t>(segments);
  bucket_count_ = BucketCount(config.arena_bytes);

  const std::uint64_t arena_bytes = segments << PST_SEGMENT_SHIFT;
  bucket_offset_ = RoundUp(sizeof(pst_index_header), sizeof(pst_bucket));
  segment_offset_ = bucket_offset_ + bucket_count_ * sizeof(pst_bucket);
  const std::uint64_t index_bytes = RoundUp(segment_offset_ + segments * 8, 4096);

  if (!UseFiles(config, index_bytes, arena_bytes)) {
    const bool enough = config.huge_pages != HugePages::kOff && FreeHugePages() >= segments;
    if (config.huge_pages == HugePages::kOn && !enough) {
      return Fail(Code::kNoSpace, "arena: not enough free huge pages for the configured memory");
    }
    if (enough) hugetlb_ = MapMemory(&arena_, "penstock-arena", arena_bytes, true).has_value();
    if (!hugetlb_) {
      if (config.huge_pages == HugePages::kOn) return Fail(Code::kNoSpace, "arena: hugetlb mapping");
      if (auto mapped = MapMemory(&arena_, "penstock-arena", arena_bytes, false); !mapped) return mapped;
    }
    if (auto mapped = MapMemory(&index_, "penstock-index", index_bytes, false); !mapped) return mapped;
    Place();
    if (auto sealed = Seal(index_); !sealed) return sealed;
    if (auto sealed = Seal(arena_); !sealed) return sealed;
  }
  if (files_ == nullptr) own_notes_.resize(segment_count_);
  collapse_ = !hugetlb_ && config.huge_pages != HugePages::kOff;
  if (!adopted_) FillHeader(config);
  if (files_ != nullptr && !adopted_) {
    if (auto sealed = files_->Seal(); !sealed) return sealed;
  }
  helper_ = StartThread("arena", [this] { HelperMain(); });
  return {};
}

void Arena::Place() {
  buckets_ = reinterpret_cast<pst_bucket*>(index_.base + bucket_offset_);
  generations_ = reinterpret_cast<std::uint64_t*>(index_.base + segment_offset_);
}

// True if the memory is in files. Huge pages of the node's pool are no files on tmpfs.
bool Arena::UseFiles(const ArenaConfig& config, std::uint64_t index_bytes, std::uint64_t arena_bytes) {
  if (config.folder.empty() || config.huge_pages == HugePages::kOn) return false;
  ArenaFilesConfig files{config.folder, config.identity, index_bytes, arena_bytes, segment_count_};
  for (int tries = 0; tries < 2; ++tries) {
    auto opened = ArenaFiles::Open(files, &adopted_, &explanation_);
    if (!opened) return false;
    files_ = *std::move(opened);
    if (MapFile(&index_, files_->index_fd(), index_bytes) && MapFile(&arena_, files_->arena_fd(), arena_bytes)) {
      Place();
      if (!adopted_ || AdoptHeader(config)) return true;
      explanation_ = "what it says of itself does not hold";
    }
    const bool again = adopted_;
    Unmap(&arena_);
    Unmap(&index_);
    files_->Discard();
    files_.reset();
    adopted_ = false;
    if (!again) return false;
  }
  return false;
}

// A crash leaves the header as it was made; whatever else it says is not ours.
bool Arena::AdoptHeader(const ArenaConfig& config) {
  const pst_index_header* there = header();
  const std::int64_t base_ns = there->clock_base_ns;
  if (there->magic != PST_INDEX_MAGIC || there->major != PST_ABI_MAJOR || there->minor != PST_ABI_MINOR ||
      there->incarnation == 0 || there->index_bytes != index_.bytes || there->arena_bytes != arena_.bytes ||
      there->bucket_offset != bucket_offset_ || there->bucket_count != bucket_count_ ||
      there->segment_offset != segment_offset_ || there->segment_count != segment_count_ || base_ns <= 0 ||
      base_ns > SystemClock::Get().NowNs() || there->mount_count != config.mounts.size() ||
      std::memcmp(there->mounts, config.mounts.data(), config.mounts.size() * sizeof(pst_mount)) != 0) {
    return false;
  }
  std::uint64_t newest = 0;
  for (std::uint32_t i = 0; i < segment_count_; ++i) {
    if (generations_[i] == 0) continue;
    adopted_segments_ = i + 1;
    newest = std::max(newest, generations_[i]);
  }
  if (newest >= UINT64_MAX >> 1) return false;
  incarnation_ = there->incarnation;
  clock_base_ns_ = base_ns;
  // The last one that was given out stands in some segment: it is stored at once.
  generation_ = newest != 0 ? newest : RandomNonZero() >> 2;
  next_segment_ = adopted_segments_;
  stats_.segments_taken = adopted_segments_;
  // What clients have kept of names is good no more: the last change may not have been told.
  auto* epoch = const_cast<std::uint64_t*>(&there->name_epoch);
  PST_STORE_RELEASE(epoch, *epoch + 1);
  return true;
}

bool Arena::ReplacePages(std::uint32_t number) {
  return files_ != nullptr &&
         files_->Replace(static_cast<std::uint64_t>(number) << PST_SEGMENT_SHIFT, PST_SEGMENT_BYTES);
}

void Arena::Discard() {
  if (files_ != nullptr) files_->Discard();
}

void Arena::FillHeader(const ArenaConfig& config) {
  incarnation_ = RandomNonZero();
  // Counted up from a random number of 62 bits: two sidecars never give out the same one, and never 0.
  generation_ = RandomNonZero() >> 2;
  clock_base_ns_ = SystemClock::Get().NowNs();
  auto* header = reinterpret_cast<pst_index_header*>(index_.base);
  header->major = PST_ABI_MAJOR;
  header->minor = PST_ABI_MINOR;
  header->incarnation = incarnation_;
  header->index_bytes = index_.bytes;
  header->arena_bytes = arena_.bytes;
  header->bucket_offset = bucket_offset_;
  header->bucket_count = bucket_count_;
  header->segment_offset = segment_offset_;
  header->segment_count = segment_count_;
  header->clock_base_ns = clock_base_ns_;
  // The same for names: a client that still has its view of the sidecar before, over this memory,
  // must not find an epoch that it has kept names of.
  header->name_epoch = RandomNonZero() >> 2;
  header->mount_count = static_cast<std::uint32_t>(config.mounts.size());
  std::copy(config.mounts.begin(), config.mounts.end(), header->mounts);
  PST_STORE_RELEASE(&header->magic, PST_INDEX_MAGIC);
}

Result<void> Arena::MapMemory(Mapping* mapping, const char* name, std::uint64_t bytes, bool hugetlb) {
  const int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (hugetlb ? MFD_HUGETLB : 0u));
  if (fd < 0) return std::unexpected(ErrnoError(errno, "arena: memfd_create"));
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    const Error error = ErrnoError(errno, "arena: ftruncate");
    close(fd);
    return std::unexpected(error);
  }
  auto mapped = MapFile(mapping, fd, bytes);
  mapping->fd = fd;
  if (!mapped) Unmap(mapping);
  return mapped;
}

// Leaves mapping->fd alone: whose the descriptor is, is the caller's business.
Result<void> Arena::MapFile(Mapping* mapping, int fd, std::uint64_t bytes) {
  mapping->bytes = bytes;
  // An aligned address lets one huge page back a whole segment.
  mapping->reserved_bytes = RoundUp(bytes, kHugePage) + kHugePage;
  void* reserved = mmap(nullptr, mapping->reserved_bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    const Error error = ErrnoError(errno, "arena: reserving address space");
    Unmap(mapping);
    return std::unexpected(error);
  }
  mapping->reserved = static_cast<std::byte*>(reserved);
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(reserved);
  std::byte* aligned = mapping->reserved + (RoundUp(address, kHugePage) - address);
  if (mmap(aligned, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const Error error = ErrnoError(errno, "arena: mapping");
    Unmap(mapping);
    return std::unexpected(error);
  }
  mapping->base = aligned;
  (void)madvise(aligned, bytes, MADV_DONTDUMP);  // a crash report must not hold the whole cache
  return {};
}

Result<void> Arena::Seal(const Mapping& mapping) {
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  if (fcntl(mapping.fd, F_ADD_SEALS, seals) != 0) return std::unexpected(ErrnoError(errno, "arena: sealing"));
  return {};
}

void Arena::Unmap(Mapping* mapping) {
  if (mapping->reserved != nullptr) munmap(mapping->reserved, mapping->reserved_bytes);
  if (mapping->fd >= 0) close(mapping->fd);
  *mapping = Mapping{};
}

Arena::~Arena() {
  if (helper_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    helper_.join();
  }
  Unmap(&arena_);
  Unmap(&index_);
}

const pst_index_header* Arena::header() const {
  return reinterpret_cast<const pst_index_header*>(index_.base);
}

pst_view Arena::View() const {
  pst_view view{};
  (void)pst_view_init(&view, index_.base, index_.bytes, arena_.base, arena_.bytes);
  return view;
}

std::uint32_t Arena::ExpiresDs(std::int64_t monotonic_ns) const {
  if (monotonic_ns == INT64_MAX) return 0;
  const std::int64_t ds = (monotonic_ns - clock_base_ns_) / 100'000'000;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ds, 1, UINT32_MAX));
}

std::optional<std::uint32_t> Arena::TakeSegment(bool* prepared) {
  std::optional<std::uint32_t> taken;
  {
    const std::lock_guard lock(mutex_);
    if (prepared != nullptr) *prepared = !prepared_.empty();
    if (!prepared_.empty()) {
      taken = prepared_.front();
      prepared_.pop_front();
    } else if (next_segment_ < segment_count_) {
      taken = next_segment_++;
      if (!Allocate(*taken)) {
        next_segment_ = segment_count_;
        taken.reset();
      }
    }
    if (taken) ++stats_.segments_taken;
  }
  if (taken) wake_.notify_one();
  return taken;
}

void Arena::CollapseLater(std::uint32_t number) {
  if (!collapse_) return;
  {
    const std::lock_guard lock(mutex_);
    late_.push_back(number);
  }
  wake_.notify_one();
}

// A file's segment has its pages before anybody stores to it: a full tmpfs would be a SIGBUS.
bool Arena::Allocate(std::uint32_t number) {
  return files_ == nullptr ||
         files_->Allocate(static_cast<std::uint64_t>(number) << PST_SEGMENT_SHIFT, PST_SEGMENT_BYTES);
}

// Touches a segment that nobody has yet (a collapse needs a page to be there) and asks for a huge page.
// Any failure leaves small pages, which work.
bool Arena::MakeHuge(std::uint32_t number, bool untouched) {
  std::byte* at = segment(number);
  if (untouched) *reinterpret_cast<volatile std::byte*>(at) = std::byte{0};
  if (hugetlb_) return true;
  return collapse_ && madvise(at, PST_SEGMENT_BYTES, MADV_COLLAPSE) == 0;
}

void Arena::HelperMain() {
  if (collapse_ && index_.bytes <= kHugeIndexBytes) {
    for (std::uint64_t at = 0; at + kHugePage <= index_.bytes; at += kHugePage) {
      (void)madvise(index_.base + at, kHugePage, MADV_COLLAPSE);
    }
  }
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const bool ahead = prepared_.size() < kPreparedSegments && next_segment_ < segment_count_;
    if (!ahead && late_.empty()) {
      wake_.wait(lock);
      continue;
    }
    std::uint32_t number = 0;
    if (ahead) {
      number = next_segment_++;
    } else {
      number = late_.front();
      late_.pop_front();
    }
    lock.unlock();
    const bool there = !ahead || Allocate(number);
    const bool huge = there && MakeHuge(number, ahead);
    lock.lock();
    if (!there) {
      next_segment_ = segment_count_;  // others have filled the tmpfs: what we have must do
    } else if (ahead) {
      prepared_.push_back(number);
      ++stats_.segments_prepared;
    }
    if (huge) ++stats_.segments_huge;
  }
}

ArenaStats Arena::Stats() const {
  const std::lock_guard lock(mutex_);
  ArenaStats stats = stats_;
  stats.bytes_prepared = prepared_.size() * PST_SEGMENT_BYTES;
  return stats;
}

}  // namespace penstock::cache
