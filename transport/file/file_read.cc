#include "transport/file/file_read.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/file/file_version.h"

namespace penstock::origin {
namespace {

constexpr unsigned kMaxStarts = 3;
constexpr unsigned kMaxTickWaits = 5;
constexpr std::uint64_t kLeastStepBytes = 64 << 10;  // many small holes are read through
constexpr std::int64_t kTickNs = 20 * kNsPerMs;      // no less than a tick at 100 Hz, with room
static_assert(std::tuple_size_v<std::array<iovec, 64>> == limits::kFileReadStepBuffers);

}  // namespace

FileRead::FileRead(FileIo* io, ReadOp* op, std::string file_path, void* owner, Finished finished)
    : io_(io), op_(op), path_(std::move(file_path)), owner_(owner), finished_(finished) {
  for (const auto& buffer : op->buffers) size_ += buffer.size();
  FileCall::done = [](FileCall* call) {
    FileRead* read = Of(call);
    (read->*read->step_)();
  };
}

void FileRead::SubmitStep(void (FileRead::*step)()) {
  step_ = step;
  io_->Submit(this);
}

void FileRead::Start() { Open(); }

void FileRead::Open() {
  ++starts_;
  FileCall::kind = Kind::kOpen;
  FileCall::path = path_.c_str();
  // O_NONBLOCK: should it be a pipe, the open must not wait for a writer.
  FileCall::flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  SubmitStep(&FileRead::OnOpened);
}

void FileRead::OnOpened() {
  if (result < 0) return End(ErrnoError(static_cast<int>(-result), "opening a file"));
  file_ = static_cast<int>(result);
  fcntl(file_, F_SETFL, 0);  // the reads themselves may wait
  CheckBefore();
}

void FileRead::CheckBefore() {
  const struct stat earlier = before_;
  if (const int err = FreshStat(file_, "", &before_); err != 0)
    return End(ErrnoError(err, "looking at a file"));
  if (S_ISDIR(before_.st_mode)) return Fail(Code::kIsDirectory, "opening a file");
  if (!S_ISREG(before_.st_mode)) return Fail(Code::kNotFound, "opening a file that is not regular");
  op_->info.name = op_->name;
  FillInfo(before_, &op_->info);
  if (!op_->version.empty() && op_->version != op_->info.version) {
    return Fail(Code::kVersionChanged, "comparing a file's version before a read");
  }
  if (op_->offset > op_->info.size || size_ > op_->info.size - op_->offset) {
    return Fail(Code::kTruncated, "reading past the end of a file");
  }
  sparse_ = before_.st_blocks * 512 < before_.st_size;
  const bool waited = tick_waits_ > 0 && SameVersion(earlier, before_);
  const std::int64_t left_ns = TickLeftNs(before_, SystemClock::Get().WallNs(), kTickNs, waited);
  if (left_ns > 0) return WaitForTick(left_ns);
  ReadMore();
}

void FileRead::WaitForTick(std::int64_t ns) {
  if (++tick_waits_ > kMaxTickWaits) {
    return Fail(Code::kVersionChanged, "reading a file that is being written", true);
  }
  FileCall::kind = Kind::kDelay;
  FileCall::delay = {ns / kNsPerSecond, ns % kNsPerSecond};
  SubmitStep(&FileRead::CheckBefore);
}

// Zeros for the stretches that the file system knows to be holes: reading them would fill the page
// cache with them. Returns how far a read may go before the next hole. Where the file system can't
// tell, all is data.
std::uint64_t FileRead::FillHoles() {
  while (sparse_ && done_bytes_ < size_) {
    const std::uint64_t at = op_->offset + done_bytes_;
    const off_t data = lseek(file_, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno != ENXIO) sparse_ = false;
    const std::uint64_t end = data < 0 ? op_->info.size : static_cast<std::uint64_t>(data);
    if (!sparse_) break;
    if (end <= at) {
      const off_t hole = lseek(file_, static_cast<off_t>(at), SEEK_HOLE);
      return std::max(hole < 0 ? 0 : static_cast<std::uint64_t>(hole) - at, kLeastStepBytes);
    }
    const std::uint64_t step =
        std::min({end - at, size_ - done_bytes_, op_->buffers[buffer_].size() - buffer_filled_});
    std::memset(op_->buffers[buffer_].data() + buffer_filled_, 0, step);
    hole_bytes_ += step;
    Advance(step);
  }
  return limits::kFileReadStepBytes;
}

void FileRead::ReadMore() {
  const std::uint64_t most = std::min<std::uint64_t>(FillHoles(), limits::kFileReadStepBytes);
  if (cancelled_.load(std::memory_order_relaxed)) return Fail(Code::kCancelled, "reading a file");
  if (SystemClock::Get().NowNs() >= op_->deadline_ns) {
    return Fail(Code::kDeadline, "reading a file", true);
  }
  unsigned count = 0;
  std::size_t bytes = 0;
  std::size_t skip = buffer_filled_;
  for (std::size_t i = buffer_; i < op_->buffers.size() && count < vector_.size() && bytes < most;
       ++i, skip = 0) {
    const auto rest = op_->buffers[i].subspan(skip);
    if (rest.empty()) continue;
    const std::size_t take = std::min<std::size_t>(rest.size(), most - bytes);
    vector_[count++] = {rest.data(), take};
    bytes += take;
  }
  if (count == 0) return CheckAfter();
  FileCall::kind = Kind::kRead;
  FileCall::fd = file_;
  FileCall::buffers = vector_.data();
  FileCall::buffer_count = count;
  FileCall::offset = op_->offset + done_bytes_;
  SubmitStep(&FileRead::OnRead);
}

void FileRead::OnRead() {
  if (result == -EINTR) return ReadMore();
  if (result < 0) return End(ErrnoError(static_cast<int>(-result), "reading a file"));
  if (result == 0) return Changed("reading a file that became shorter");
  Advance(static_cast<std::uint64_t>(result));
  ReadMore();
}

void FileRead::Advance(std::uint64_t read) {
  done_bytes_ += read;
  while (read > 0) {
    const std::size_t room = op_->buffers[buffer_].size() - buffer_filled_;
    const std::size_t step = std::min<std::uint64_t>(room, read);
    read -= step;
    buffer_filled_ += step;
    if (buffer_filled_ == op_->buffers[buffer_].size()) {
      ++buffer_;
      buffer_filled_ = 0;
    }
  }
}

void FileRead::CheckAfter() {
  struct stat now;
  if (const int err = FreshStat(file_, "", &now); err != 0)
    return End(ErrnoError(err, "looking at a file again"));
  if (!SameVersion(before_, now)) return Changed("comparing a file's version after a read");
  if (FreshStat(AT_FDCWD, path_.c_str(), &now) != 0 || !SameVersion(before_, now)) {
    return Changed("comparing a name's version after a read");
  }
  End(Error{Code::kOk, false, 0, ""});
}

// The file is another one now. Who asked for no version in particular gets the new one.
void FileRead::Changed(const char* context) {
  if (!op_->version.empty() || starts_ >= kMaxStarts) {
    return Fail(Code::kVersionChanged, context, op_->version.empty());
  }
  close(file_);
  file_ = -1;
  done_bytes_ = 0;
  hole_bytes_ = 0;
  buffer_ = 0;
  buffer_filled_ = 0;
  Open();
}

void FileRead::End(Error error) {
  if (file_ >= 0) close(file_);
  file_ = -1;
  finished_(owner_, this, error);
}

}  // namespace penstock::origin
