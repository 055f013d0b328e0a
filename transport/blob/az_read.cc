#include "transport/blob/az_read.h"

#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/base/stream_copy.h"
#include "transport/blob/az_errors.h"
#include "transport/blob/az_origin.h"

namespace penstock::origin {
namespace {

bool IsError(const HttpExchange& answer) { return answer.status < 200 || answer.status >= 300; }

}  // namespace

bool WantedRange::IsRightVersion(const HttpExchange& answer) const {
  const std::string& etag = answer.response.etag;
  return !etag.empty() && (version.empty() || etag == version);
}

bool WantedRange::IsRightRange(const HttpExchange& answer) const {
  const ResponseHeaders& response = answer.response;
  // Without a length that can be believed the body would only end with the connection.
  if (response.bad_content_length) return false;
  if (response.content_length && *response.content_length != size) return false;
  if (answer.status == 200) return offset == 0 && response.content_length == size;
  return answer.status == 206 && response.content_range &&
         response.content_range->first == offset &&
         response.content_range->last - offset + 1 == size && response.content_range->total;
}

bool WantedRange::EndsBefore(const HttpExchange& answer) const {
  const auto& range = answer.response.content_range;
  if (range) return range->total && *range->total - offset < size;
  return answer.response.content_length == 0u && !answer.response.bad_content_range;
}

// The second request beside a slow one.
class AzReadTask::Hedge final : public HttpExchange {
 public:
  explicit Hedge(AzReadTask* task) : task_(task), bytes_(task->wanted_.size) {
    deadline_ns = task->deadline_ns;
    expected_bytes = bytes_.size();
  }
  std::span<const char> bytes() const { return bytes_; }

 private:
  void Prepare() override { task_->Dress(this); }
  bool OnHeaders() override {
    check_.Begin(response, task_->origin()->verify());
    return task_->wanted_.IsRightVersion(*this) && task_->wanted_.IsRightRange(*this);
  }
  bool OnBody(std::span<const char> bytes) override {
    if (bytes.size() > bytes_.size() - filled_) return false;
    check_.Take(bytes);
    std::memcpy(bytes_.data() + filled_, bytes.data(), bytes.size());
    filled_ += bytes.size();
    return true;
  }
  void OnOver() override {
    if (status == 429 || status == 503) task_->origin()->NoteThrottled();
    const bool won = fault == Fault::kNone && !IsError(*this) && !response.is_folder &&
                     filled_ == bytes_.size() && check_.Matches();
    if (won) return task_->OnHedgeWon();
    task_->hedge_.reset();  // destroys this
  }

  AzReadTask* const task_;
  std::vector<char> bytes_;
  std::size_t filled_ = 0;
  BodyCheck check_;
};

AzReadTask::AzReadTask(AzOrigin* origin, ReadOp* op, std::string name)
    : AzTask(origin, op), read_(op), name_(std::move(name)) {
  wanted_.offset = op->offset;
  wanted_.version = op->version;
  for (const auto& buffer : op->buffers) asked_ += buffer.size();
  wanted_.size = asked_;
  expected_bytes = asked_;
  prefetch = op->prefetch;
}

AzRequest AzReadTask::Request() const {
  AzRequest request;
  request.method = asked_ == 0 ? HttpMethod::kHead : HttpMethod::kGet;
  request.name = name_;
  request.if_match = wanted_.version;
  if (asked_ == 0) return request;
  request.range = MakeRange(wanted_.offset, asked_);
  if (asked_ <= kMaxCheckedRange) {
    const Verify verify = origin()->verify();
    if (verify == Verify::kMd5) {
      request.ms_headers.emplace_back("x-ms-range-get-content-md5", "true");
    }
    if (verify == Verify::kCrc64) {
      request.ms_headers.emplace_back("x-ms-range-get-content-crc64", "true");
    }
  }
  return request;
}

void AzReadTask::BeforeSend() {
  wanted_.size = asked_;
  // Only where somebody waits: a guess that comes late costs nothing.
  const bool guess = prefetch.load(std::memory_order_relaxed);
  const bool hedged = asked_ > 0 && !guess && !read_->head;
  alarm_after_ns = hedged ? origin()->HedgeDelayNs(wanted_.size) : 0;
}

bool AzReadTask::OnHeaders() {
  if (IsError(*this)) return true;  // an error's body is let pass
  if (read_->head) FitToBlob();
  check_.Begin(response, origin()->verify());
  return wanted_.IsRightVersion(*this) && wanted_.IsRightRange(*this);
}

void AzReadTask::FitToBlob() {
  const auto& range = response.content_range;
  const auto total = status == 206 && range ? range->total : response.content_length;
  if (total && *total > 0) wanted_.size = std::min(asked_, *total);
}

bool AzReadTask::OnBody(std::span<const char> bytes) {
  if (IsError(*this)) return true;
  if (bytes.size() > wanted_.size - filled_) return false;
  check_.Take(bytes);
  TakeBytes(bytes);
  return true;
}

void AzReadTask::TakeBytes(std::span<const char> bytes) {
  filled_ += bytes.size();
  while (!bytes.empty()) {
    const auto room = read_->buffers[buffer_].subspan(buffer_filled_);
    const std::size_t step = std::min(room.size(), bytes.size());
    if (asked_ >= limits::kStreamedReadBytes) {
      StreamCopy(room.data(), bytes.data(), step);
    } else if (step > 0) {
      std::memcpy(room.data(), bytes.data(), step);
    }
    bytes = bytes.subspan(step);
    buffer_filled_ += step;
    if (step == room.size()) {
      ++buffer_;
      buffer_filled_ = 0;
    }
  }
}

void AzReadTask::Rewind() {
  filled_ = 0;
  buffer_ = 0;
  buffer_filled_ = 0;
}

// Slow: unless most of it is there already, another one may be there first.
void AzReadTask::OnAlarm() {
  if (hedge_ != nullptr || filled_ > wanted_.size / 2) return;
  if (cancelled.load(std::memory_order_acquire) || !origin()->TakeHedge()) return;
  hedge_ = std::make_unique<Hedge>(this);
  origin()->client().Submit(hedge_.get());
}

void AzReadTask::OnHedgeWon() {
  // Where it is nobody's (between two tries), its next one decides.
  if (!origin()->client().Withdraw(this)) return hedge_.reset();
  origin()->NoteHedgeWon();
  Rewind();
  TakeBytes(hedge_->bytes());
  FillInfo(*hedge_);
  Succeed();
}

void AzReadTask::OnEnd() {
  if (hedge_ != nullptr) origin()->client().Withdraw(hedge_.get());
}

void AzReadTask::FillInfo(const HttpExchange& answer) {
  read_->info.name = read_->name;
  read_->info.kind = ObjectKind::kFile;
  read_->info.mtime_ns = answer.response.last_modified_ns;
  read_->info.version = answer.response.etag;
  if (answer.status == 206) {
    read_->info.size = answer.response.content_range->total.value();
  } else {
    read_->info.size = answer.response.content_length.value_or(0);
  }
}

void AzReadTask::OnAnswer() {
  if (IsError(*this)) {
    // A directory's marker has no bytes, so that every range of it is past its end.
    const bool marker = status == 416 && response.is_folder;
    return End(marker ? Error{Code::kIsDirectory, false, 0, "reading a directory"}
                      : ErrorOfAnswer(*this));
  }
  if (response.is_folder) return End({Code::kIsDirectory, false, 0, "reading a directory"});
  if (!wanted_.IsRightVersion(*this)) {
    if (response.etag.empty())
      return End({Code::kCorrupt, false, 0, "a blob came without an ETag"});
    return End({Code::kVersionChanged, false, 0, "another version of the blob came"});
  }
  if (wanted_.size == 0) {
    const bool inside = response.content_length && wanted_.offset <= *response.content_length;
    if (status != 200) return End({Code::kCorrupt, false, 0, "looking at a blob"});
    if (!inside) return End({Code::kTruncated, false, 0, "reading past the end of a blob"});
  } else if (wanted_.EndsBefore(*this)) {
    return End({Code::kTruncated, false, 0, "reading past the end of a blob"});
  } else if (!wanted_.IsRightRange(*this)) {
    return RetryOrEnd(Fault::kTruncated,
                      {Code::kTruncated, true, 0, "another range came than was asked for"});
  } else if (filled_ != wanted_.size) {
    return RetryOrEnd(Fault::kTruncated, {Code::kTruncated, true, 0, "the body ended early"});
  } else if (!check_.Matches()) {
    return RetryOrEnd(Fault::kTruncated,
                      {Code::kCorrupt, true, 0, "the bytes are not those of the checksum"});
  } else {
    origin()->NoteReadLatency(wanted_.size, wire_ns);
  }
  FillInfo(*this);
  Succeed();
}

}  // namespace penstock::origin
