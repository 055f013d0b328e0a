#include <algorithm>
#include <cstring>

#include "transport/blob/az_errors.h"
#include "transport/blob/az_task.h"

namespace penstock::origin {

AzReadTask::AzReadTask(AzOrigin* origin, ReadOp* op, std::string name)
    : AzTask(origin, op), read_(op), name_(std::move(name)) {
  for (const auto& buffer : op->buffers) size_ += buffer.size();
  expected_bytes = size_;
  prefetch = op->prefetch;
}

AzRequest AzReadTask::Request() const {
  AzRequest request;
  request.method = size_ == 0 ? HttpMethod::kHead : HttpMethod::kGet;
  request.name = name_;
  request.if_match = read_->version;
  if (size_ > 0) request.range = MakeRange(read_->offset, size_);
  return request;
}

bool AzReadTask::IsRightVersion() const {
  return !response.etag.empty() && (read_->version.empty() || response.etag == read_->version);
}

// What was asked for and nothing else; a server that ignores ranges may send the whole, if that is
// it.
bool AzReadTask::IsRightRange() const {
  if (response.content_length && *response.content_length != size_) return false;
  if (status == 200) return read_->offset == 0 && response.content_length == size_;
  return status == 206 && response.content_range &&
         response.content_range->first == read_->offset &&
         response.content_range->last - read_->offset + 1 == size_ && response.content_range->total;
}

// The blob is too short for what was asked: no other try will find more.
bool AzReadTask::EndsBeforeRange() const {
  const auto& range = response.content_range;
  return response.content_length == 0u ||
         (range && range->total && *range->total - read_->offset < size_);
}

bool AzReadTask::OnHeaders() {
  if (IsError()) return true;  // an error's body is let pass
  return IsRightVersion() && IsRightRange();
}

bool AzReadTask::OnBody(std::span<const char> bytes) {
  if (IsError()) return true;
  if (bytes.size() > size_ - filled_) return false;
  filled_ += bytes.size();
  while (!bytes.empty()) {
    const auto room = read_->buffers[buffer_].subspan(buffer_filled_);
    const std::size_t step = std::min(room.size(), bytes.size());
    if (step > 0) std::memcpy(room.data(), bytes.data(), step);
    bytes = bytes.subspan(step);
    buffer_filled_ += step;
    if (step == room.size()) {
      ++buffer_;
      buffer_filled_ = 0;
    }
  }
  return true;
}

void AzReadTask::Rewind() {
  filled_ = 0;
  buffer_ = 0;
  buffer_filled_ = 0;
}

void AzReadTask::FillInfo() {
  read_->info.name = read_->name;
  read_->info.kind = ObjectKind::kFile;
  read_->info.mtime_ns = response.last_modified_ns;
  read_->info.version = response.etag;
  if (status == 206) {
    read_->info.size = response.content_range->total.value();
  } else {
    read_->info.size = response.content_length.value_or(0);
  }
}

void AzReadTask::OnAnswer() {
  if (IsError()) {
    // A directory's marker has no bytes, so that every range of it is past its end.
    const bool marker = status == 416 && response.is_folder;
    return End(marker ? Error{Code::kIsDirectory, false, 0, "reading a directory"}
                      : ErrorOfAnswer(*this));
  }
  if (response.is_folder) return End({Code::kIsDirectory, false, 0, "reading a directory"});
  if (!IsRightVersion()) {
    if (response.etag.empty())
      return End({Code::kCorrupt, false, 0, "a blob came without an ETag"});
    return End({Code::kVersionChanged, false, 0, "another version of the blob came"});
  }
  if (size_ == 0) {
    const bool inside = response.content_length && read_->offset <= *response.content_length;
    if (status != 200) return End({Code::kCorrupt, false, 0, "looking at a blob"});
    if (!inside) return End({Code::kTruncated, false, 0, "reading past the end of a blob"});
  } else if (EndsBeforeRange()) {
    return End({Code::kTruncated, false, 0, "reading past the end of a blob"});
  } else if (!IsRightRange()) {
    return RetryOrEnd(Fault::kTruncated,
                      {Code::kTruncated, true, 0, "another range came than was asked for"});
  } else if (filled_ != size_) {
    return RetryOrEnd(Fault::kTruncated, {Code::kTruncated, true, 0, "the body ended early"});
  }
  FillInfo();
  Succeed();
}

}  // namespace penstock::origin
