#include "cache/object/object_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "shim/abi/open_file.h"

namespace penstock::cache {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kFolderMode = 0700;  // this, not the files' modes, keeps other users out
// Nobody can open it for writing again, root apart. A program of another user that was given its
// descriptor can open it again by /dev/fd/N or /proc/self/fd/N, as dlopen, shells and the programs
// that they start do.
constexpr mode_t kObjectMode = PST_OBJECT_MODE;
constexpr mode_t kMetaMode = 0400;
constexpr int kMaxSidecarsOfOneFolder = 16;
constexpr std::uint64_t kMaxReserveBytes = 1ull << 30;

std::string Self(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// The subfolder's name: the low byte of the key.
void FolderName(unsigned number, char (&name)[4]) {
  std::snprintf(name, sizeof name, "%02x", number & 0xff);
}

Result<Fd> OpenOwn(int folder, const std::string& name, mode_t mode) {
  Fd plain(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!plain.valid()) return FailErrno("opening an object");
  struct stat st;
  if (::fstat(plain.get(), &st) != 0) return FailErrno("opening an object");
  if (!S_ISREG(st.st_mode) || st.st_uid != ::geteuid())
    return Fail(Code::kCorrupt, "an object that is no file of ours");
  // Written to only by us and only for this moment by mode.
  if (::fchmod(plain.get(), 0600) != 0) return FailErrno("opening an object");
  Fd both(::open(Self(plain.get()).c_str(), O_RDWR | O_CLOEXEC));
  const int saved = errno;
  (void)::fchmod(plain.get(), mode);
  errno = saved;
  if (!both.valid()) return FailErrno("opening an object");
  return both;
}

}  // namespace

Result<ObjectDir> ObjectDir::Open(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST)
    return FailErrno("making the cache folder");
  Fd top(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top.valid()) return FailErrno("opening the cache folder");
  for (int number = 0; number < kMaxSidecarsOfOneFolder; number++) {
    const std::string name = number == 0 ? "objects" : "objects." + std::to_string(number);
    if (::mkdirat(top.get(), name.c_str(), kFolderMode) != 0 && errno != EEXIST)
      return FailErrno("making the objects' folder");
    ObjectDir opened;
    opened.path_ = dir + "/" + name;
    opened.root_.Reset(::openat(top.get(), name.c_str(), kFolderFlags));
    if (!opened.root_.valid()) return FailErrno("opening the objects' folder");
    if (::fchmod(opened.root_.get(), kFolderMode) != 0)
      return FailErrno("closing the objects' folder to other users");
    opened.lock_.Reset(
        ::openat(opened.root_.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!opened.lock_.valid()) return FailErrno("locking the objects' folder");
    if (::flock(opened.lock_.get(), LOCK_EX | LOCK_NB) == 0) return opened;
    if (errno != EWOULDBLOCK) return FailErrno("locking the objects' folder");
  }
  return Fail(Code::kLimit, "too many sidecars share this cache folder");
}

Result<int> ObjectDir::Folder(const ObjectKey& key, bool make) {
  char name[4];
  FolderName(static_cast<unsigned>(key.id.lo), name);
  if (make && ::mkdirat(root_.get(), name, kFolderMode) != 0 && errno != EEXIST)
    return FailErrno("making an objects' folder");
  const int fd = ::openat(root_.get(), name, kFolderFlags);
  if (fd < 0) return FailErrno("opening an objects' folder");
  return fd;
}

Result<ObjectFiles> ObjectDir::Find(const ObjectKey& key) {
  auto opened = Folder(key, false);
  if (!opened) return Fail(Code::kNotFound, "no such object");
  const Fd folder(*opened);
  const std::string name = ObjectFileName(key);
  auto data = OpenOwn(folder.get(), name, kObjectMode);
  if (!data) {
    if (data.error().errno_value == ENOENT) return Fail(Code::kNotFound, "no such object");
    return std::unexpected(data.error());
  }
  auto meta = OpenOwn(folder.get(), name + kMetaSuffix, kMetaMode);
  if (!meta) return Fail(Code::kCorrupt, "an object without its .meta");
  std::byte block[kMetaHeaderBytes];
  struct stat st;
  if (::pread(meta->get(), block, sizeof block, 0) != static_cast<ssize_t>(sizeof block) ||
      ::fstat(data->get(), &st) != 0)
    return Fail(Code::kCorrupt, "an object whose .meta cannot be read");
  auto header = DecodeHeader(block);
  if (!header || !(header->key == key) || st.st_size != static_cast<off_t>(header->size))
    return Fail(Code::kCorrupt, "an object whose .meta does not verify");
  return ObjectFiles{std::move(*data), std::move(*meta), std::move(*header),
                     static_cast<std::uint64_t>(st.st_blocks) * 512};
}

Result<ObjectFiles> ObjectDir::Create(const ObjectHeader& header) {
  Unlink(header.key);
  auto opened = Folder(header.key, true);
  if (!opened) return std::unexpected(opened.error());
  const Fd folder(*opened);
  const std::string name = ObjectFileName(header.key);
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  ObjectFiles files;
  files.header = header;
  files.data.Reset(::openat(folder.get(), name.c_str(), kFlags, kObjectMode));
  if (!files.data.valid()) return FailErrno("making an object");
  std::byte block[kMetaHeaderBytes];
  EncodeHeader(header, block);
  int failed = 0;
  if (::ftruncate(files.data.get(), static_cast<off_t>(header.size)) != 0 ||
      ::fchmod(files.data.get(), kObjectMode) != 0)  // whatever the umask
    failed = errno;
  if (failed == 0) {
    files.meta.Reset(::openat(folder.get(), (name + kMetaSuffix).c_str(), kFlags, kMetaMode));
    if (!files.meta.valid()) failed = errno;
  }
  if (failed == 0) {
    const ssize_t n = ::pwrite(files.meta.get(), block, sizeof block, 0);
    if (n != static_cast<ssize_t>(sizeof block)) failed = n < 0 ? errno : ENOSPC;
  }
  if (failed == 0) return files;
  Unlink(header.key);
  return std::unexpected(ErrnoError(failed, "making an object"));
}

void ObjectDir::Unlink(const ObjectKey& key) {
  auto opened = Folder(key, false);
  if (!opened) return;
  const Fd folder(*opened);
  const std::string name = ObjectFileName(key);
  (void)::unlinkat(folder.get(), (name + kMetaSuffix).c_str(), 0);
  (void)::unlinkat(folder.get(), name.c_str(), 0);
}

Fd ObjectDir::Peek(const ObjectKey& key) {
  auto opened = Folder(key, false);
  if (!opened) return Fd();
  const Fd folder(*opened);
  return Fd(::openat(folder.get(), ObjectFileName(key).c_str(),
                     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
}

std::uint64_t ObjectDir::FreeBytes(std::uint64_t reserve_bytes) const {
  struct statvfs fs;
  if (::fstatvfs(root_.get(), &fs) != 0) return 0;
  const std::uint64_t unit = fs.f_frsize != 0 ? fs.f_frsize : fs.f_bsize;
  if (reserve_bytes == UINT64_MAX)
    reserve_bytes = std::min(kMaxReserveBytes, fs.f_blocks * unit / 20);
  const std::uint64_t free = fs.f_bavail * unit;
  return free > reserve_bytes ? free - reserve_bytes : 0;
}

std::optional<ObjectDir::Found> ObjectDir::Scan::Next(ObjectDir* dir, unsigned* budget) {
  while (!done() && *budget > 0) {
    if (!open_) {
      char name[4];
      FolderName(folder_, name);
      const int fd = ::openat(dir->root_.get(), name, kFolderFlags);
      if (fd >= 0) open_.reset(::fdopendir(fd));
      if (!open_) {
        folder_++;
        (*budget)--;
        continue;
      }
    }
    const dirent* entry = ::readdir(open_.get());
    if (entry == nullptr) {
      open_.reset();
      folder_++;
      continue;
    }
    (*budget)--;
    std::string_view name = entry->d_name;
    const bool is_meta = name.ends_with(kMetaSuffix);
    if (is_meta) name.remove_suffix(sizeof kMetaSuffix - 1);
    const auto key = ParseObjectFileName(name);
    if (!key || (key->id.lo & 0xff) != folder_) continue;  // not ours: left alone
    struct stat st;
    const int fd = ::dirfd(open_.get());
    const std::string other = std::string(name) + (is_meta ? "" : kMetaSuffix);
    if (::fstatat(fd, other.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      (void)::unlinkat(fd, entry->d_name, 0);
      continue;
    }
    if (is_meta || ::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    return Found{*key, static_cast<std::uint64_t>(st.st_blocks) * 512,
                 std::max(st.st_atim.tv_sec, st.st_mtim.tv_sec) * 1'000'000'000};
  }
  return std::nullopt;
}

int HasReaders(int fd) {
  // Should somebody open the file in the moment that the lease is held, the signal is one that is
  // ignored by default; SIGIO would end the process.
  (void)::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
    (void)::fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
  }
  return errno == EAGAIN ? 1 : -1;
}

Result<int> ReopenReadOnly(int fd) {
  const int again = ::open(Self(fd).c_str(), O_RDONLY | O_CLOEXEC);
  if (again < 0) return FailErrno("opening an object for a reader");
  return again;
}

Result<ObjectFiles> CreateMemoryFile(const ObjectHeader& header) {
  ObjectFiles files;
  files.header = header;
  Fd made(::memfd_create("penstock-object", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.valid()) return FailErrno("making an object in memory");
  // Opened once more: the kernel does not count memfd_create's own descriptor as a writer, and so
  // refuses the lease that HasReaders() asks for.
  files.data.Reset(::open(Self(made.get()).c_str(), O_RDWR | O_CLOEXEC));
  if (!files.data.valid()) return FailErrno("making an object in memory");
  if (::ftruncate(files.data.get(), static_cast<off_t>(header.size)) != 0 ||
      ::fcntl(files.data.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0 ||
      ::fchmod(files.data.get(), kObjectMode) != 0)
    return FailErrno("making an object in memory");
  return files;
}

}  // namespace penstock::cache
