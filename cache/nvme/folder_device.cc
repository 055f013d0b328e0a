#include "cache/nvme/folder_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <string_view>
#include <utility>

namespace penstock::cache {
namespace {

constexpr std::string_view kSuffix = ".region";
constexpr std::uint64_t kMaxReserveBytes = 1ull << 30;

std::string NameOf(std::uint64_t file) {
  char name[32];
  std::snprintf(name, sizeof name, "%016" PRIx64 ".region", file);
  return name;
}

bool ParseName(std::string_view name, std::uint64_t* file) {
  if (name.size() != 16 + kSuffix.size() || !name.ends_with(kSuffix)) return false;
  const auto parsed = std::from_chars(name.data(), name.data() + 16, *file, 16);
  return parsed.ec == std::errc() && parsed.ptr == name.data() + 16 && NameOf(*file) == name;
}

// All of it, whatever the kernel does at a time. 0 or an errno.
template <typename Move>
int MoveAll(std::size_t bytes, Move move) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n = move(done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;  // the file is shorter than it was
    done += static_cast<std::size_t>(n);
  }
  return 0;
}

}  // namespace

// One operation on its way through the loop, which may outlive the device.
struct FolderDevice::Io {
  FolderDevice* device = nullptr;
  std::shared_ptr<Handle> handle;
  std::unique_ptr<BlockOp> op;
  std::uint32_t moved = 0;
  FileOp file;
};

FolderDevice::FolderDevice(Loop* loop, std::string path, const Options& options)
    : loop_(loop), path_(std::move(path)), options_(options) {}

Result<std::unique_ptr<FolderDevice>> FolderDevice::Open(Loop* loop, const std::string& folder,
                                                         const Options& options) {
  if (!options.read_only && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return std::unexpected(ErrnoError(errno, "making the regions' folder"));
  std::unique_ptr<FolderDevice> device(new FolderDevice(loop, folder, options));
  device->folder_.Reset(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!device->folder_.valid())
    return std::unexpected(ErrnoError(errno, "opening the regions' folder"));
  return device;
}

FolderDevice::~FolderDevice() {
  for (Io* io : waiting_) running_.erase(io);
  // What the kernel still works on goes with its completion.
  for (auto& [io, owner] : running_) {
    io->file.done = [](FileOp* file) {
      const std::unique_ptr<Io> last(static_cast<Io*>(file->user));
    };
    (void)owner.release();
  }
}

Result<Fd> FolderDevice::OpenFile(std::uint64_t file, int flags) const {
  const std::string name = NameOf(file);
  flags |= O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  Fd fd(::openat(folder_.get(), name.c_str(), flags | O_DIRECT, 0600));
  if (!fd.valid() && errno == EINVAL)  // a file system without O_DIRECT
    fd.Reset(::openat(folder_.get(), name.c_str(), flags & ~O_EXCL, 0600));
  if (!fd.valid()) return std::unexpected(ErrnoError(errno, "opening a region"));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != ::geteuid())
    return Fail(Code::kCorrupt, "a region that is no file of ours");
  return fd;
}

Result<std::shared_ptr<FolderDevice::Handle>> FolderDevice::Acquire(std::uint64_t file) {
  if (const auto found = handles_.find(file); found != handles_.end()) {
    by_age_.splice(by_age_.end(), by_age_, found->second->age);
    return found->second;
  }
  auto fd = OpenFile(file, options_.read_only ? O_RDONLY : O_RDWR);
  if (!fd && fd.error().errno_value == EROFS) fd = OpenFile(file, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  auto handle = std::make_shared<Handle>();
  handle->fd = std::move(*fd);
  handle->age = by_age_.insert(by_age_.end(), file);
  handles_.emplace(file, handle);
  return handle;
}

// Makes room for so many more, as far as nobody uses what is open.
void FolderDevice::CloseSome(std::size_t wanted) {
  for (auto at = by_age_.begin(); handles_.size() + wanted > options_.max_open && at != by_age_.end();) {
    const auto found = handles_.find(*at);
    if (found->second.use_count() > 1) {
      ++at;
      continue;
    }
    handles_.erase(found);
    at = by_age_.erase(at);
  }
}

// Ranges that lie in many regions are read at once: each read would take a descriptor.
bool FolderDevice::CanOpen(std::uint64_t file) {
  if (handles_.contains(file)) return true;
  CloseSome(1);
  return handles_.size() < options_.max_open;
}

Result<void> FolderDevice::Create(std::uint64_t file, std::uint64_t bytes) {
  auto fd = OpenFile(file, O_RDWR | O_CREAT | O_EXCL);
  if (!fd) return std::unexpected(fd.error());
  CloseSome(1);
  // One stretch of the disk, and an ENOSPC now rather than later. Not every file system can.
  if (::fallocate(fd->get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS) {
    const int err = errno;
    Remove(file);
    return std::unexpected(ErrnoError(err, "making a region"));
  }
  auto handle = std::make_shared<Handle>();
  handle->fd = std::move(*fd);
  handle->age = by_age_.insert(by_age_.end(), file);
  handles_.emplace(file, std::move(handle));
  return {};
}

void FolderDevice::Start(std::unique_ptr<BlockOp> op) {
  auto io = std::make_unique<Io>();
  Io* raw = io.get();
  raw->device = this;
  raw->op = std::move(op);
  running_.emplace(raw, std::move(io));
  waiting_.push_back(raw);
  StartWaiting();
}

void FolderDevice::StartWaiting() {
  while (!waiting_.empty() && CanOpen(waiting_.front()->op->file)) {
    Io* next = waiting_.front();
    waiting_.pop_front();
    Begin(next);
  }
}

void FolderDevice::Begin(Io* raw) {
  auto handle = Acquire(raw->op->file);
  if (!handle) {
    const int err = handle.error().errno_value != 0 ? handle.error().errno_value : EIO;
    // After this call, as every other end: by the loop's next turn, unless the device has gone.
    raw->file.result = -err;
    raw->file.user = raw;
    raw->file.done = [](FileOp* file) {
      auto* self = static_cast<Io*>(file->user);
      self->device->Finish(self, static_cast<int>(-file->result));
    };
    loop_->Post([raw] { raw->file.done(&raw->file); });
    return;
  }
  raw->handle = std::move(*handle);
  raw->file.fd = raw->handle->fd.get();
  raw->file.write = raw->op->write;
  raw->file.user = raw;
  raw->file.done = [](FileOp* file) {
    auto* self = static_cast<Io*>(file->user);
    self->device->Step(self);
  };
  raw->file.buffer = raw->op->buffer.data();
  raw->file.length = raw->op->length;
  raw->file.offset = raw->op->offset;
  loop_->Start(&raw->file);
}

void FolderDevice::Step(Io* io) {
  const std::int64_t result = io->file.result;
  if (result < 0 && result != -EINTR && result != -EAGAIN)
    return Finish(io, static_cast<int>(-result));
  if (result == 0) return Finish(io, io->op->write ? ENOSPC : EIO);
  if (result > 0) io->moved += static_cast<std::uint32_t>(result);
  if (io->moved >= io->op->length) return Finish(io, 0);
  io->file.buffer = io->op->buffer.data() + io->moved;
  io->file.length = io->op->length - io->moved;
  io->file.offset = io->op->offset + io->moved;
  loop_->Start(&io->file);
}

void FolderDevice::Finish(Io* io, int err) {
  auto node = running_.extract(io);
  const std::unique_ptr<BlockOp> op = std::move(io->op);
  io->handle.reset();
  node = {};
  StartWaiting();
  op->err = err;
  op->done(op.get());
}

int FolderDevice::ReadNow(std::uint64_t file, std::uint64_t offset, std::span<std::byte> to) {
  const auto fd = OpenFile(file, O_RDONLY);
  if (!fd) return fd.error().errno_value != 0 ? fd.error().errno_value : EIO;
  return MoveAll(to.size(), [&](std::size_t done) {
    return ::pread(fd->get(), to.data() + done, to.size() - done,
                   static_cast<off_t>(offset + done));
  });
}

int FolderDevice::WriteNow(std::uint64_t file, std::uint64_t offset,
                           std::span<const std::byte> from) {
  const auto fd = OpenFile(file, O_RDWR);
  if (!fd) return fd.error().errno_value != 0 ? fd.error().errno_value : EIO;
  return MoveAll(from.size(), [&](std::size_t done) {
    return ::pwrite(fd->get(), from.data() + done, from.size() - done,
                    static_cast<off_t>(offset + done));
  });
}

void FolderDevice::Trim(std::uint64_t file, std::uint64_t bytes) {
  const auto fd = OpenFile(file, O_RDWR);
  if (fd) (void)!::ftruncate(fd->get(), static_cast<off_t>(bytes));
}

void FolderDevice::Remove(std::uint64_t file) {
  (void)::unlinkat(folder_.get(), NameOf(file).c_str(), 0);
  const auto found = handles_.find(file);
  if (found == handles_.end()) return;
  by_age_.erase(found->second->age);  // operations under way hold the descriptor
  handles_.erase(found);
}

std::vector<BlockFile> FolderDevice::List() {
  std::vector<BlockFile> files;
  const int fd = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (dir == nullptr) {
    if (fd >= 0) ::close(fd);
    return files;
  }
  while (const dirent* entry = ::readdir(dir)) {
    BlockFile file;
    struct stat st;
    if (!ParseName(entry->d_name, &file.number)) continue;  // not ours: left alone
    if (::fstatat(folder_.get(), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    file.bytes = S_ISREG(st.st_mode) ? static_cast<std::uint64_t>(st.st_size) : 0;
    files.push_back(file);
  }
  ::closedir(dir);
  return files;
}

std::uint64_t FolderDevice::FreeBytes() {
  struct statvfs fs;
  if (::fstatvfs(folder_.get(), &fs) != 0) return 0;
  const std::uint64_t unit = fs.f_frsize != 0 ? fs.f_frsize : fs.f_bsize;
  std::uint64_t reserve = options_.reserve_bytes;
  if (reserve == UINT64_MAX) reserve = std::min(kMaxReserveBytes, fs.f_blocks * unit / 20);
  const std::uint64_t free = fs.f_bavail * unit;
  return free > reserve ? free - reserve : 0;
}

}  // namespace penstock::cache
