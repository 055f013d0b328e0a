#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "cache/doctor/checks.h"
#include "cache/job/fd.h"

namespace penstock::cache::doctor {
namespace {

constexpr std::uint64_t kLittleSpace = 1ull << 30;

struct FileSystem {
  long magic;
  const char* name;
  bool remote;
};
constexpr FileSystem kFileSystems[] = {
    {EXT4_SUPER_MAGIC, "ext4", false},
    {XFS_SUPER_MAGIC, "xfs", false},
    {BTRFS_SUPER_MAGIC, "btrfs", false},
    {TMPFS_MAGIC, "tmpfs", false},
    {OVERLAYFS_SUPER_MAGIC, "overlayfs", false},
    {NFS_SUPER_MAGIC, "nfs", true},
    {0x01021997, "9p", true},
    {0x65735546, "fuse", true},
    {0xff534d42, "cifs", true},
    {0x2fc12fc1, "zfs", false},
    {0xf2f52010, "f2fs", false},
    {0x6a656a63, "virtiofs", true},
};

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// 0, or why `dir` cannot be written: tries it with a file of its own, removed at once.
int TryWrite(const std::string& dir, bool direct) {
  std::string name = dir + "/.penstock-doctor-XXXXXX";
  const Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return errno;
  int failed = 0;
  if (direct) {
    const Fd again(::open(name.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    void* block = nullptr;
    if (!again.valid())
      failed = errno;
    else if (::posix_memalign(&block, 4096, 4096) != 0)
      failed = ENOMEM;
    else {
      std::memset(block, 0, 4096);
      if (::pwrite(again.get(), block, 4096, 0) != 4096) failed = errno;
    }
    std::free(block);
  } else if (::write(fd.get(), "x", 1) != 1) {
    failed = errno;
  }
  (void)::unlink(name.c_str());
  return failed;
}

}  // namespace

void CheckSocketFolder(Checks& to, const DoctorConfig& config) {
  constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (config.socket.size() > kLongest) {
    Add(to, "socket-folder", Verdict::kFail,
        fmt::format("sidecar.socket is {} bytes long, {} are possible", config.socket.size(),
                    kLongest),
        "choose a shorter path, such as /run/penstock/job.sock");
    return;
  }
  const std::string folder = ParentOf(config.socket);
  struct stat st;
  if (::stat(folder.c_str(), &st) != 0) {
    Add(to, "socket-folder", Verdict::kFail, fmt::format("{}: {}", folder, std::strerror(errno)),
        "make the folder, or mount the volume that program and sidecar share there");
    return;
  }
  if (const int failed = TryWrite(folder, false); failed != 0) {
    struct stat socket;
    const bool there = ::stat(config.socket.c_str(), &socket) == 0;
    // A program's container may have the folder read-only; the sidecar's may not.
    Add(to, "socket-folder", there ? Verdict::kWarn : Verdict::kFail,
        fmt::format("{} cannot be written by uid {}: {}", folder, ::geteuid(),
                    std::strerror(failed)),
        "fine for a program's container; the sidecar must be able to make files there");
    return;
  }
  Add(to, "socket-folder", Verdict::kOk, folder + " can be written");
}

void CheckCacheDir(Checks& to, const std::string& dir, const DoctorConfig& config) {
  struct stat st;
  std::string at = dir;
  const bool exists = ::stat(dir.c_str(), &st) == 0;
  if (!exists) at = ParentOf(dir);
  if ((exists && !S_ISDIR(st.st_mode)) || (!exists && ::stat(at.c_str(), &st) != 0)) {
    Add(to, "cache-dir", Verdict::kWarn,
        fmt::format("{}: {}", dir, exists ? "is not a folder" : "neither it nor its parent exists"),
        "make it, or mount the NVMe disk: until then files that programs map live in memory");
    return;
  }
  if (const int failed = TryWrite(at, false); failed != 0) {
    Add(to, "cache-dir", Verdict::kWarn,
        fmt::format("{} cannot be written by uid {}: {}", at, ::geteuid(), std::strerror(failed)),
        "give it to the sidecar's user: until then files that programs map live in memory");
    return;
  }
  struct statfs fs{};
  (void)::statfs(at.c_str(), &fs);
  const FileSystem* type = std::find_if(std::begin(kFileSystems), std::end(kFileSystems),
                                        [&](const FileSystem& f) { return f.magic == fs.f_type; });
  const bool known = type != std::end(kFileSystems);
  const std::string name = known ? type->name : fmt::format("type {:#x}", fs.f_type);
  const std::uint64_t free = std::uint64_t{fs.f_bavail} * static_cast<std::uint64_t>(fs.f_bsize);
  const int direct = TryWrite(at, true);
  const std::string found =
      fmt::format("{} on {}, {} free{}{}", dir, name, Sizes(free),
                  direct == 0 ? "" : ", without O_DIRECT", exists ? "" : ", will be made");
  if (known && type->remote) {
    Add(to, "cache-dir", Verdict::kWarn, found,
        "a network file system is slower than it looks and has no leases: use a local disk");
  } else if (type->magic == TMPFS_MAGIC && known) {
    Add(to, "cache-dir", Verdict::kWarn, found,
        "tmpfs is memory: what lies there counts twice; use a disk, or lower cache.nvme");
  } else if (free < kLittleSpace || free < config.nvme_bytes / 2) {
    Add(to, "cache-dir", Verdict::kWarn, found,
        fmt::format("less than half of cache.nvme ({}) is free: lower it or make room",
                    Sizes(config.nvme_bytes)));
  } else {
    Add(to, "cache-dir", Verdict::kOk, found);
  }
}

void CheckMountPaths(Checks& to, const DoctorConfig& config) {
  for (const DoctorMount& mount : config.mounts) {
    const std::string local = LocalFilesUnder(mount.path, mount.origin);
    if (local.empty())
      Add(to, "mount-path", Verdict::kOk, mount.path + " hides nothing on the local disk");
    else
      Add(to, "mount-path", Verdict::kWarn, local,
          "static programs, and programs that are not run under Penstock, see the local files: "
          "remove them, or mount elsewhere");
  }
}

}  // namespace penstock::cache::doctor

namespace penstock::cache {

std::string LocalFilesUnder(const std::string& mount_path, const std::string& origin) {
  namespace fs = std::filesystem;
  // Below our own shim the look would find the mount.
  const char* preload = std::getenv("LD_PRELOAD");
  if (preload != nullptr && std::strstr(preload, "libpenstock") != nullptr) return "";
  std::error_code error;
  const fs::directory_iterator first(mount_path, error);
  if (error || first == fs::directory_iterator()) return "";
  constexpr std::string_view kFile = "file://";
  if (origin.starts_with(kFile) &&
      fs::equivalent(mount_path, origin.substr(kFile.size()), error) && !error)
    return "";
  return fmt::format("{} is also a folder with files on the local disk, which the mount hides",
                     mount_path);
}

}  // namespace penstock::cache
