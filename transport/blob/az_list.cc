#include <utility>

#include "transport/base/limits.h"
#include "transport/blob/az_errors.h"
#include "transport/blob/az_list_xml.h"
#include "transport/blob/az_task.h"

namespace penstock::origin {

AzListTask::AzListTask(AzOrigin* origin, ListOp* op, std::string name)
    : AzTask(origin, op), list_(op), name_(std::move(name)) {}

std::string AzListTask::Prefix() const { return name_.empty() ? std::string() : name_ + "/"; }

AzRequest AzListTask::Request() const {
  if (step_ == Step::kHead) {
    AzRequest request;
    request.method = HttpMethod::kHead;
    request.name = name_;
    return request;
  }
  return MakeListRequest({.prefix = Prefix(),
                          .marker = list_->marker,
                          .delimiter = "/",
                          .max_results = limits::kListPageEntries,
                          .metadata = true});
}

bool AzListTask::OnHeaders() {
  if (status == 200 && response.content_length) {
    if (*response.content_length > limits::kMaxListBodyBytes) return false;
    body_.reserve(*response.content_length);
  }
  return true;
}

bool AzListTask::OnBody(std::span<const char> bytes) {
  if (status != 200) return true;
  if (body_.size() + bytes.size() > limits::kMaxListBodyBytes) return false;
  body_.append(bytes.data(), bytes.size());
  return true;
}

void AzListTask::OnAnswer() {
  if (fault == Fault::kRejected) {
    return End({Code::kLimit, false, 0, "a page of a listing is too large"});
  }
  step_ == Step::kList ? OnListAnswer() : OnHeadAnswer();
}

void AzListTask::OnListAnswer() {
  if (status != 200) return End(ErrorOfAnswer(*this));
  auto page = ParseListXml(body_);
  std::string().swap(body_);
  if (!page) return RetryOrEnd(Fault::kTruncated, page.error());
  if (!page->next_marker.empty() && page->next_marker == list_->marker) {
    return End({Code::kCorrupt, false, 0, "a listing repeats its marker"});
  }
  list_->next_marker = std::move(page->next_marker);
  DirectoryPage directory = MakeDirectoryPage(*std::move(page), Prefix());
  list_->entries = std::move(directory.entries);
  list_->skipped = directory.skipped;
  const bool first_and_last = list_->marker.empty() && list_->next_marker.empty();
  if (first_and_last && !directory.is_there && !list_->directory.empty()) {
    // No name lies below. An empty directory that something stands for, a file, or nothing?
    step_ = Step::kHead;
    return SendNext();
  }
  Succeed();
}

void AzListTask::OnHeadAnswer() {
  if (status != 200) return End(ErrorOfAnswer(*this));
  if (!response.is_folder) return End({Code::kNotDirectory, false, 0, "listing a blob"});
  Succeed();
}

}  // namespace penstock::origin
