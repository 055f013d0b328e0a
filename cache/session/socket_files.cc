#include "cache/session/socket_files.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "transport/base/clock.h"

namespace penstock::cache {
namespace {

// mkdir -p. The last folder gets `mode`, its parents 0755.
int MakeFolders(const std::string& folder, mode_t mode) {
  if (mkdir(folder.c_str(), mode) == 0) {
    chmod(folder.c_str(), mode);  // whatever the umask says
    return 0;
  }
  if (errno != ENOENT) return errno == EEXIST ? 0 : errno;
  const std::size_t slash = folder.rfind('/');
  if (slash == 0 || slash == std::string::npos) return ENOENT;
  if (const int err = MakeFolders(folder.substr(0, slash), 0755); err != 0) return err;
  if (mkdir(folder.c_str(), mode) != 0) return errno == EEXIST ? 0 : errno;
  chmod(folder.c_str(), mode);
  return 0;
}

std::string FolderOf(const std::string& socket) {
  return socket.substr(0, std::max<std::size_t>(socket.rfind('/'), 1));
}

// True while `path` still names the file that `fd` is: a former holder may have removed it.
bool StillNamed(int fd, const std::string& path) {
  struct stat ours{};
  struct stat named{};
  return fstat(fd, &ours) == 0 && lstat(path.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

LockHolder HolderIn(int fd) {
  char text[PATH_MAX + 32] = {};
  LockHolder holder;
  if (pread(fd, text, sizeof text - 1, 0) <= 0) return holder;
  char* end = nullptr;
  holder.pid = static_cast<std::uint32_t>(strtoul(text, &end, 10));
  if (*end != '\n') return holder;
  holder.program = end + 1;
  while (!holder.program.empty() && holder.program.back() == '\n') holder.program.pop_back();
  return holder;
}

}  // namespace

bool IsOwnFolder(const struct stat& folder) {
  if (!S_ISDIR(folder.st_mode)) return false;
  // Also a pod's volume, which is for everybody in it; IsTrustedServer looks at /tmp and its like.
  if (folder.st_uid == 0) return true;
  return folder.st_uid == geteuid() && (folder.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

Result<void> CheckDefaultFolder(const std::string& socket, std::string* explanation) {
  const std::string folder = FolderOf(socket);
  struct stat status{};
  if (lstat(folder.c_str(), &status) != 0 || IsOwnFolder(status)) return {};
  *explanation = fmt::format(
      "the socket's folder {} belongs to user {} with mode {:o}: another user could have put a "
      "sidecar there; remove it, or choose another place as sidecar.socket",
      folder, status.st_uid, status.st_mode & 07777);
  return Fail(Code::kPermission, "looking at the socket's folder");
}

bool IsTrustedServer(std::uint32_t uid, const std::string& socket) {
  if (uid == geteuid() || uid == 0) return true;
  struct stat folder{};
  if (stat(FolderOf(socket).c_str(), &folder) != 0) return false;
  if (uid == folder.st_uid) return true;
  if ((folder.st_mode & S_ISVTX) != 0) return false;
  struct stat file{};
  return lstat(socket.c_str(), &file) == 0 && uid == file.st_uid;
}

Result<void> PrepareSocketFolder(const std::string& socket, bool for_other_users,
                                 std::string* explanation) {
  const std::string folder = FolderOf(socket);
  if (const int err = MakeFolders(folder, for_other_users ? 0755 : 0700); err != 0) {
    *explanation = fmt::format("the socket's folder {} cannot be made: {}", folder, strerror(err));
    return std::unexpected(ErrnoError(err, "making the socket's folder"));
  }
  struct stat status{};
  if (stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    *explanation = fmt::format("the socket's folder {} is no folder", folder);
    return Fail(Code::kNotDirectory, "looking at the socket's folder");
  }
  // A folder of a third person in /tmp could have its socket replaced under us.
  const bool shared = (status.st_mode & S_IWOTH) != 0;
  if (status.st_uid != geteuid() && status.st_uid != 0 && !shared) {
    *explanation = fmt::format(
        "the socket's folder {} belongs to user {}, who could replace the "
        "socket; choose another one as sidecar.socket",
        folder, status.st_uid);
    return Fail(Code::kPermission, "looking at the socket's folder");
  }
  return {};
}

Result<FileLock> FileLock::Acquire(const std::string& path, std::int64_t timeout_ms,
                                   std::uint32_t* holder_pid) {
  const std::int64_t deadline_ns = SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  for (;;) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) return std::unexpected(ErrnoError(errno, "opening a lock file"));
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      if (!StillNamed(fd.get(), path)) continue;
      FileLock lock(std::move(fd), path);
      lock.NoteHolder();
      return lock;
    }
    if (errno != EWOULDBLOCK && errno != EINTR)
      return std::unexpected(ErrnoError(errno, "locking a lock file"));
    if (SystemClock::Get().NowNs() >= deadline_ns) {
      if (holder_pid != nullptr) *holder_pid = HolderIn(fd.get()).pid;
      return Fail(Code::kLimit, "waiting for a lock that another process holds");
    }
    fd.Reset();
    poll(nullptr, 0, 5);
  }
}

std::string OwnProgram() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0 || n == static_cast<ssize_t>(sizeof path)) return {};
  std::string program(path, static_cast<std::size_t>(n));
  constexpr std::string_view kReplaced = " (deleted)";
  if (program.ends_with(kReplaced)) program.resize(program.size() - kReplaced.size());
  return program;
}

LockHolder ReadLockHolder(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status{};
  if (!fd.valid() || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid())
    return {};
  return HolderIn(fd.get());
}

Result<FileLock> FileLock::TakeOver(Fd fd, const std::string& path) {
  // The same open file: asking again changes nothing, and fails for one that is not locked by it.
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || !StillNamed(fd.get(), path))
    return Fail(Code::kInvalid, "the lock that was passed on is not the job's");
  FileLock lock(std::move(fd), path);
  lock.NoteHolder();
  return lock;
}

// For messages and for the keeper: a full disk does not stop anybody.
void FileLock::NoteHolder() {
  const std::string holder = std::to_string(getpid()) + "\n" + OwnProgram() + "\n";
  if (ftruncate(fd_.get(), 0) == 0) (void)!pwrite(fd_.get(), holder.data(), holder.size(), 0);
}

FileLock::~FileLock() {
  if (fd_.valid()) unlink(path_.c_str());  // while still locked: see StillNamed
}

}  // namespace penstock::cache
