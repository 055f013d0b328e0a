#include "cache/engine/page_spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>


namespace penstock::cache {
namespace {

off_t At(std::uint32_t slot) { return static_cast<off_t>(slot) * PST_RANGE_BYTES; }

}  // namespace

PageSpool::~PageSpool() {
  if (fd_ >= 0) close(fd_);
}

bool PageSpool::Open() {
  if (fd_ >= 0) return true;
  if (failed_) return false;
  if (!folder_.empty()) fd_ = open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0) fd_ = memfd_create("penstock-listings", MFD_CLOEXEC);
  failed_ = fd_ < 0;
  return !failed_;
}

std::optional<std::uint32_t> PageSpool::Write(std::span<const std::byte> page) {
  if (!Open() || (free_.empty() && made_ >= kMaxSlots)) return std::nullopt;
  const std::uint32_t slot = free_.empty() ? made_ : free_.back();
  if (!Rewrite(slot, page)) return std::nullopt;
  if (slot == made_) {
    ++made_;
  } else {
    free_.pop_back();
  }
  return slot;
}

bool PageSpool::Rewrite(std::uint32_t slot, std::span<const std::byte> page) {
  std::size_t done = 0;
  while (done < page.size()) {
    const ssize_t n = pwrite(fd_, page.data() + done, page.size() - done,
                             At(slot) + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

bool PageSpool::Read(std::uint32_t slot, std::span<std::byte> page) {
  std::size_t done = 0;
  while (done < page.size()) {
    const ssize_t n = pread(fd_, page.data() + done, page.size() - done,
                            At(slot) + static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

void PageSpool::Free(std::uint32_t slot) {
  (void)fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, At(slot), PST_RANGE_BYTES);
  free_.push_back(slot);
}

}  // namespace penstock::cache
