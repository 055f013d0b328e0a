#include "transport/snapshot/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <semaphore>
#include <utility>
#include <vector>

#include "transport/base/clock.h"

namespace penstock::snapshot {
namespace {

constexpr std::uint64_t kStepBytes = 4u << 20;
constexpr std::uint64_t kBlocksMapped = 256;  // the kernel maps 64 KiB around each: 16 MiB

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<Error> Failed(std::string* explanation, std::string sentence, int error) {
  *explanation = fmt::format("{}: {}", sentence, strerror(error));
  return std::unexpected(ErrnoError(error, "copying a snapshot's manifest"));
}

bool WriteAll(int fd, const std::byte* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(fd, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

Result<std::uint64_t> TooLarge(std::string* explanation) {
  *explanation = fmt::format("it is larger than {} bytes", kManifestMaxBytes);
  return Fail(Code::kLimit, "copying a snapshot's manifest");
}

Result<std::uint64_t> CopyFile(const std::string& path, int to, std::string* explanation) {
  const Descriptor from(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status{};
  if (from.get() < 0 || fstat(from.get(), &status) != 0) {
    return Failed(explanation, "it cannot be opened", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    *explanation = "it is no regular file";
    return Fail(Code::kInvalid, "copying a snapshot's manifest");
  }
  std::vector<std::byte> buffer(kStepBytes);
  for (std::uint64_t done = 0;;) {
    const ssize_t n = read(from.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(explanation, "it cannot be read", errno);
    if (n == 0) return done;
    done += static_cast<std::uint64_t>(n);
    if (done > kManifestMaxBytes) return TooLarge(explanation);
    if (!WriteAll(to, buffer.data(), static_cast<std::size_t>(n))) {
      return Failed(explanation, "its copy in the cache folder cannot be written", errno);
    }
  }
}

// Starts `op` with `start` and waits for its end.
template <typename AnyOp>
bool Wait(AnyOp* op, std::int64_t timeout_ms, void (origin::Origin::*start)(AnyOp*),
          origin::Origin* from) {
  std::binary_semaphore over(0);
  op->deadline_ns = SystemClock::Get().NowNs() + timeout_ms * kNsPerMs;
  op->user = &over;
  op->done = [](origin::Op* done) { static_cast<std::binary_semaphore*>(done->user)->release(); };
  (from->*start)(op);
  over.acquire();
  return op->ok();
}

Result<std::uint64_t> CopyBlob(const std::string& url, origin::OriginConfig config, int to,
                               std::string* explanation) {
  auto address = SplitBlobAddress(url, explanation);
  if (!address) return std::unexpected(address.error());
  config.url = address->origin_url;
  auto from = origin::MakeOrigin(config, explanation);
  if (!from) return std::unexpected(from.error());
  origin::StatOp stat;
  stat.name = address->name;
  if (!Wait(&stat, config.request_timeout_ms, &origin::Origin::Stat, from->get())) {
    *explanation =
        fmt::format("it cannot be read: {} ({})", stat.error.context, CodeName(stat.error.code));
    return std::unexpected(stat.error);
  }
  if (stat.info.kind != origin::ObjectKind::kFile) {
    *explanation = "it is a directory";
    return Fail(Code::kInvalid, "copying a snapshot's manifest");
  }
  if (stat.info.size > kManifestMaxBytes) return TooLarge(explanation);
  std::vector<std::byte> buffer(kStepBytes);
  for (std::uint64_t done = 0; done < stat.info.size;) {
    origin::ReadOp read;
    read.name = address->name;
    read.version = stat.info.version;
    read.offset = done;
    const std::uint64_t step = std::min(kStepBytes, stat.info.size - done);
    read.buffers.emplace_back(buffer.data(), step);
    if (!Wait(&read, config.request_timeout_ms, &origin::Origin::Read, from->get())) {
      *explanation =
          fmt::format("it cannot be read: {} ({})", read.error.context, CodeName(read.error.code));
      return std::unexpected(read.error);
    }
    if (!WriteAll(to, buffer.data(), step)) {
      return Failed(explanation, "its copy in the cache folder cannot be written", errno);
    }
    done += step;
  }
  return stat.info.size;
}

}  // namespace

Result<BlobAddress> SplitBlobAddress(const std::string& url, std::string* explanation) {
  const std::size_t scheme = url.find("://");
  const std::size_t slash = url.rfind('/');
  if (scheme == std::string::npos || slash <= scheme + 2 || slash + 1 == url.size()) {
    *explanation = fmt::format("'{}' names no blob", url);
    return Fail(Code::kInvalid, "reading a blob's address");
  }
  return BlobAddress{url.substr(0, slash), url.substr(slash + 1)};
}

int OpenUnnamed(const std::string& folder) {
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  std::string name = folder + "/.penstock-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

Result<std::unique_ptr<SnapshotFile>> SnapshotFile::Load(const std::string& url,
                                                         const origin::OriginConfig& config,
                                                         const std::string& folder,
                                                         std::string* explanation) {
  const Descriptor copy(OpenUnnamed(folder));
  if (copy.get() < 0) {
    return Failed(explanation, fmt::format("a copy of it cannot be made in {}", folder), errno);
  }
  const bool local = url.starts_with('/') || url.starts_with("file://");
  const auto bytes =
      local ? CopyFile(url.starts_with('/') ? url : url.substr(7), copy.get(), explanation)
            : CopyBlob(url, config, copy.get(), explanation);
  if (!bytes) return std::unexpected(bytes.error());
  std::unique_ptr<SnapshotFile> file(new SnapshotFile());
  if (*bytes == 0) {
    *explanation = "it is empty";
    return Fail(Code::kCorrupt, "reading a snapshot's manifest");
  }
  if (!file->Map(copy.get(), *bytes)) return Failed(explanation, "it cannot be mapped", errno);
  const std::span mapped(static_cast<const std::byte*>(file->memory_), file->bytes_);
  auto manifest = Manifest::Open(mapped, explanation);
  if (!manifest) return std::unexpected(manifest.error());
  file->manifest_ = *std::move(manifest);
  file->LetGo();
  return file;
}

SnapshotFile::~SnapshotFile() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

bool SnapshotFile::Map(int fd, std::uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return false;
  memory_ = memory;
  bytes_ = bytes;
  return true;
}

void SnapshotFile::LetGo() { (void)madvise(memory_, bytes_, MADV_DONTNEED); }

void SnapshotFile::NoteBlocks(std::uint64_t blocks) {
  if (blocks_.fetch_add(blocks, std::memory_order_relaxed) + blocks < kBlocksMapped) return;
  blocks_.store(0, std::memory_order_relaxed);
  LetGo();
}

}  // namespace penstock::snapshot
