#include "transport/traffic/node_share.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace penstock::origin {
namespace {

constexpr std::uint64_t kMagic = 0x3165646f6e747370;  // "pstnode1"
constexpr std::size_t kPageBytes = 4096;
constexpr mode_t kMode = 0660;

// Moves `moment` on by `cost_ns`; gives where it stood.
std::int64_t Claim(std::atomic<std::int64_t>& moment, std::int64_t cost_ns, std::int64_t now_ns) {
  std::int64_t seen = moment.load(std::memory_order_relaxed);
  for (;;) {
    const std::int64_t free_ns = FreeAt(seen, now_ns);
    if (moment.compare_exchange_weak(seen, free_ns + cost_ns, std::memory_order_relaxed))
      return free_ns;
  }
}

// A descriptor of the file with its bytes behind it, or -1 with errno.
int OpenFile(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/'));
  if (!folder.empty() && mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return -1;
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) {
    fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, kMode);
    if (fd >= 0) (void)fchmod(fd, kMode);  // the umask must not keep the group out
  }
  if (fd < 0) return -1;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    const int err = posix_fallocate(fd, 0, kPageBytes);
    if (err == 0) return fd;
    errno = err;
  } else {
    errno = EINVAL;
  }
  const int err = errno;
  close(fd);
  errno = err;
  return -1;
}

}  // namespace

struct NodeShare::Page {
  std::atomic<std::uint64_t> magic;  // 0 until somebody has used the file
  std::atomic<std::int64_t> requests_free_ns;
  std::atomic<std::int64_t> bytes_free_ns;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

Result<std::unique_ptr<NodeShare>> NodeShare::Open(const std::string& path,
                                                   const TrafficLimits& limits) {
  const int fd = OpenFile(path);
  if (fd < 0) return std::unexpected(ErrnoError(errno, "opening the node's file of limits"));
  void* const mapped = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int err = errno;
  close(fd);
  errno = err;
  if (mapped == MAP_FAILED)
    return std::unexpected(ErrnoError(errno, "mapping the node's file of limits"));
  std::unique_ptr<NodeShare> share(new NodeShare(static_cast<Page*>(mapped), limits));
  std::uint64_t magic = 0;
  if (!share->page_->magic.compare_exchange_strong(magic, kMagic) && magic != kMagic)
    return Fail(Code::kInvalid, "reading the node's file of limits: it is something else");
  return share;
}

NodeShare::~NodeShare() { munmap(page_, kPageBytes); }

std::int64_t NodeShare::Take(std::uint64_t bytes, std::int64_t now_ns) {
  std::int64_t when_ns = now_ns;
  if (limits_.requests_per_second > 0)
    when_ns = std::max(
        when_ns, Claim(page_->requests_free_ns, CostNs(1, limits_.requests_per_second), now_ns));
  if (limits_.bytes_per_second > 0)
    when_ns = std::max(
        when_ns, Claim(page_->bytes_free_ns, CostNs(bytes, limits_.bytes_per_second), now_ns));
  return when_ns;
}

void NodeShare::Correct(std::uint64_t asked, std::uint64_t moved, std::int64_t now_ns) {
  if (limits_.bytes_per_second == 0 || asked == moved) return;
  const std::int64_t difference_ns =
      CostNs(moved, limits_.bytes_per_second) - CostNs(asked, limits_.bytes_per_second);
  (void)Claim(page_->bytes_free_ns, difference_ns, now_ns);
}

}  // namespace penstock::origin
