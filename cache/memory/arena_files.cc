#include "cache/memory/arena_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "shim/abi/index.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kMagic = 0x45544154534d5350;  // "PSMSTATE"
constexpr std::uint32_t kFormat = 1;
constexpr std::uint64_t kNotesAt = 4096;
constexpr std::uint64_t kSpareBytes =
    16ull << 20;  // what others in the same tmpfs may want at the same time
constexpr const char* kIndexName = "index";
constexpr const char* kArenaName = "arena";
constexpr const char* kStateName = "state";

struct StateHeader {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint16_t abi_major;
  std::uint16_t abi_minor;
  std::uint64_t identity[2];
  std::uint64_t index_bytes;
  std::uint64_t arena_bytes;
  std::uint64_t index_inode;
  std::uint64_t arena_inode;
  std::uint32_t segments;
  std::uint32_t reserved;
  std::uint64_t check;  // of all before it
};
static_assert(sizeof(StateHeader) <= kNotesAt);

std::uint64_t CheckOf(const StateHeader& header) {
  return XXH3_64bits(&header, offsetof(StateHeader, check));
}

std::uint64_t StateBytes(std::uint32_t segments) {
  return kNotesAt + std::uint64_t{segments} * sizeof(SegmentNote);
}

StateHeader HeaderFor(const ArenaFilesConfig& config, std::uint64_t index_inode,
                      std::uint64_t arena_inode) {
  const XXH128_hash_t identity = XXH3_128bits(config.identity.data(), config.identity.size());
  StateHeader header{};
  header.magic = kMagic;
  header.format = kFormat;
  header.abi_major = PST_ABI_MAJOR;
  header.abi_minor = PST_ABI_MINOR;
  header.identity[0] = identity.low64;
  header.identity[1] = identity.high64;
  header.index_bytes = config.index_bytes;
  header.arena_bytes = config.arena_bytes;
  header.index_inode = index_inode;
  header.arena_inode = arena_inode;
  header.segments = config.segments;
  header.check = CheckOf(header);
  return header;
}

// A regular file of ours that nobody else may open, of exactly this size.
bool IsSound(int fd, std::uint64_t bytes, struct stat* status) {
  return fstat(fd, status) == 0 && S_ISREG(status->st_mode) && status->st_uid == geteuid() &&
         (status->st_mode & 07777) == 0600 && status->st_nlink == 1 &&
         static_cast<std::uint64_t>(status->st_size) == bytes;
}

Fd OpenFile(int folder, const char* name, int flags) {
  return Fd(openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
}

}  // namespace

Result<std::unique_ptr<ArenaFiles>> ArenaFiles::Open(const ArenaFilesConfig& config, bool* adopted,
                                                     std::string* explanation) {
  std::unique_ptr<ArenaFiles> files(new ArenaFiles);
  files->config_ = config;
  *adopted = false;
  if (mkdir(config.folder.c_str(), 0700) != 0 && errno != EEXIST) {
    *explanation = fmt::format("{} cannot be made: {}", config.folder, strerror(errno));
    return std::unexpected(ErrnoError(errno, "making the memory's folder"));
  }
  files->folder_ = Fd(open(config.folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status{};
  struct statfs system{};
  if (!files->folder_.valid() || fstat(files->folder_.get(), &status) != 0 ||
      status.st_uid != geteuid() || (status.st_mode & 0777) != 0700) {  // a pod's fsGroup sets the group bit
    *explanation = fmt::format("{} is not a folder of our own", config.folder);
    return Fail(Code::kPermission, "opening the memory's folder");
  }
  if (fstatfs(files->folder_.get(), &system) != 0 || system.f_type != TMPFS_MAGIC) {
    *explanation = fmt::format("{} does not lie on tmpfs", config.folder);
    (void)rmdir(config.folder.c_str());
    return Fail(Code::kInvalid, "opening the memory's folder");
  }
  if (files->Adopt(explanation)) {
    *adopted = true;
    return files;
  }
  if (auto made = files->Make(explanation); !made) {
    files->Discard();
    return std::unexpected(made.error());
  }
  return files;
}

bool ArenaFiles::MapState(int fd) {
  void* at = mmap(nullptr, StateBytes(config_.segments), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return false;
  state_ = static_cast<std::byte*>(at);
  notes_ = reinterpret_cast<SegmentNote*>(state_ + kNotesAt);
  return true;
}

bool ArenaFiles::Adopt(std::string* explanation) {
  const Fd state = OpenFile(folder_.get(), kStateName, O_RDWR);
  if (!state.valid()) {
    explanation->clear();  // nobody was there before
    return false;
  }
  index_ = OpenFile(folder_.get(), kIndexName, O_RDWR);
  arena_ = OpenFile(folder_.get(), kArenaName, O_RDWR);
  index_reader_ = OpenFile(folder_.get(), kIndexName, O_RDONLY);
  arena_reader_ = OpenFile(folder_.get(), kArenaName, O_RDONLY);
  struct stat index{}, arena{}, notes{};
  if (!index_.valid() || !arena_.valid() || !index_reader_.valid() || !arena_reader_.valid() ||
      !IsSound(index_.get(), config_.index_bytes, &index) ||
      !IsSound(arena_.get(), config_.arena_bytes, &arena) ||
      !IsSound(state.get(), StateBytes(config_.segments), &notes)) {
    *explanation = "it is of another size, or not whole";
    return false;
  }
  StateHeader there{};
  const StateHeader wanted = HeaderFor(config_, index.st_ino, arena.st_ino);
  if (pread(state.get(), &there, sizeof there, 0) != sizeof there ||
      memcmp(&there, &wanted, sizeof there) != 0) {
    *explanation = there.check == CheckOf(there) ? "it is of another configuration or version"
                                                 : "it was not complete";
    return false;
  }
  if (!MapState(state.get())) {
    *explanation = strerror(errno);
    return false;
  }
  return true;
}

Result<void> ArenaFiles::Make(std::string* explanation) {
  Discard();
  if (mkdir(config_.folder.c_str(), 0700) != 0 && errno != EEXIST)
    return std::unexpected(ErrnoError(errno, "making the memory's folder"));
  folder_ = Fd(open(config_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const std::string before = *explanation;
  const auto fail = [&](const char* what) {
    *explanation = fmt::format("{}: {}: {}", config_.folder, what, strerror(errno));
    return std::unexpected(ErrnoError(errno, "making the memory's files"));
  };
  struct statfs system{};
  if (fstatfs(folder_.get(), &system) != 0) return fail("statfs");
  const std::uint64_t wanted = config_.index_bytes + config_.arena_bytes + kSpareBytes;
  const std::uint64_t free =
      static_cast<std::uint64_t>(system.f_bavail) * static_cast<std::uint64_t>(system.f_bsize);
  if (system.f_blocks != 0 && free < wanted) {  // no blocks at all: no limit
    *explanation = fmt::format("the tmpfs of {} has {} MiB free and {} are needed", config_.folder,
                               free >> 20, wanted >> 20);
    return Fail(Code::kNoSpace, "making the memory's files");
  }
  constexpr int kNew = O_RDWR | O_CREAT | O_EXCL;
  index_ = OpenFile(folder_.get(), kIndexName, kNew);
  arena_ = OpenFile(folder_.get(), kArenaName, kNew);
  const Fd state = OpenFile(folder_.get(), kStateName, kNew);
  index_reader_ = OpenFile(folder_.get(), kIndexName, O_RDONLY);
  arena_reader_ = OpenFile(folder_.get(), kArenaName, O_RDONLY);
  if (!index_.valid() || !arena_.valid() || !state.valid() || !index_reader_.valid() ||
      !arena_reader_.valid())
    return fail("open");
  for (const int fd : {index_.get(), arena_.get(), state.get()})
    if (fchmod(fd, 0600) != 0) return fail("chmod");
  if (ftruncate(arena_.get(), static_cast<off_t>(config_.arena_bytes)) != 0)
    return fail("ftruncate");
  // Stores to these must not find the file system full; the arena's segments follow one by one.
  if ((errno = posix_fallocate(index_.get(), 0, static_cast<off_t>(config_.index_bytes))) != 0 ||
      (errno = posix_fallocate(state.get(), 0, static_cast<off_t>(StateBytes(config_.segments)))) !=
          0)
    return fail("fallocate");
  if (!MapState(state.get())) return fail("mmap");
  *explanation = before;
  return {};
}

Result<void> ArenaFiles::Seal() {
  struct stat index{}, arena{};
  if (fstat(index_.get(), &index) != 0 || fstat(arena_.get(), &arena) != 0)
    return std::unexpected(ErrnoError(errno, "looking at the memory's files"));
  const StateHeader header = HeaderFor(config_, index.st_ino, arena.st_ino);
  std::memcpy(state_, &header, sizeof header);
  return {};
}

bool ArenaFiles::Allocate(std::uint64_t at, std::uint64_t bytes) {
  int err = 0;
  do {
    err = posix_fallocate(arena_.get(), static_cast<off_t>(at), static_cast<off_t>(bytes));
  } while (err == EINTR);
  return err == 0;
}

bool ArenaFiles::Replace(std::uint64_t at, std::uint64_t bytes) {
  // A reader that is in the middle of a copy may touch the hole, which takes a page: there must be
  // some.
  struct statfs system{};
  if (fstatfs(arena_.get(), &system) != 0) return false;
  if (system.f_blocks != 0 &&
      static_cast<std::uint64_t>(system.f_bavail) * static_cast<std::uint64_t>(system.f_bsize) <
          kSpareBytes)
    return false;
  return fallocate(arena_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                   static_cast<off_t>(bytes)) == 0 &&
         Allocate(at, bytes);
}

void ArenaFiles::Discard() {
  if (state_ != nullptr) munmap(state_, StateBytes(config_.segments));
  state_ = nullptr;
  notes_ = nullptr;
  // The state first: what is left of the others then means nothing.
  for (const char* name : {kStateName, kIndexName, kArenaName})
    if (folder_.valid()) (void)unlinkat(folder_.get(), name, 0);
  (void)rmdir(config_.folder.c_str());
}

ArenaFiles::~ArenaFiles() {
  if (state_ != nullptr) munmap(state_, StateBytes(config_.segments));
}

}  // namespace penstock::cache
