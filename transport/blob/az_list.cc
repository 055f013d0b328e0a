#include <algorithm>
#include <utility>

#include "transport/base/limits.h"
#include "transport/blob/az_errors.h"
#include "transport/blob/az_list_xml.h"
#include "transport/blob/az_origin.h"
#include "transport/blob/az_path_list.h"
#include "transport/blob/az_task.h"

namespace penstock::origin {

namespace {

// Of markers that came from the dfs endpoint, so that a page is asked for where the last one came
// from.
constexpr std::string_view kDfsMarker = "dfs:";

}  // namespace

AzListTask::AzListTask(AzOrigin* from, ListOp* op, std::string name)
    : AzTask(from, op),
      list_(op),
      name_(std::move(name)),
      by_dfs_(op->marker.empty() ? from->lists_by_dfs() && !op->recursive
                                 : op->marker.starts_with(kDfsMarker)) {}

std::string AzListTask::Prefix() const { return name_.empty() ? std::string() : name_ + "/"; }

AzRequest AzListTask::Request() const {
  if (step_ == Step::kHead) {
    AzRequest request;
    request.method = HttpMethod::kHead;
    request.name = name_;
    return request;
  }
  if (by_dfs_) {
    return MakePathListRequest(
        name_, list_->marker.substr(std::min(kDfsMarker.size(), list_->marker.size())));
  }
  return MakeListRequest({.prefix = Prefix() + list_->name_prefix,
                          .marker = list_->marker,
                          .delimiter = list_->recursive ? "" : "/",
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
  const bool refused = status == 400 || status == 403 || status == 405 || status == 501;
  if (by_dfs_ && list_->marker.empty() && refused) return ListByBlob();
  if (status != 200) return End(ErrorOfAnswer(*this));
  auto page = by_dfs_ ? ParsePathList(body_) : ParseListXml(body_);
  std::string().swap(body_);
  if (!page && by_dfs_ && list_->marker.empty()) return ListByBlob();
  if (!page) return RetryOrEnd(Fault::kTruncated, page.error());
  if (by_dfs_ && !response.continuation.empty()) {
    page->next_marker = std::string(kDfsMarker) + response.continuation;
  }
  const bool nothing = page->blobs.empty();
  if (!page->next_marker.empty() && page->next_marker == list_->marker) {
    return End({Code::kCorrupt, false, 0, "a listing repeats its marker"});
  }
  list_->next_marker = std::move(page->next_marker);
  DirectoryPage directory = list_->recursive ? MakeTreePage(*std::move(page), Prefix())
                                             : MakeDirectoryPage(*std::move(page), Prefix());
  list_->entries = std::move(directory.entries);
  list_->skipped = directory.skipped;
  const bool first_and_last = list_->marker.empty() && list_->next_marker.empty();
  // The dfs endpoint says itself that a directory does not exist.
  if (by_dfs_ && nothing) return Succeed();
  if (first_and_last && !directory.is_there && !list_->directory.empty() && !list_->recursive) {
    // No name lies below. An empty directory that something stands for, a file, or nothing?
    step_ = Step::kHead;
    return SendNext();
  }
  Succeed();
}

// Blob's own listing serves accounts of both kinds: it is asked where the dfs endpoint gives nothing
// that can be used, now and from now on.
void AzListTask::ListByBlob() {
  origin()->SetListsByDfs(false);
  by_dfs_ = false;
  body_.clear();
  SendNext();
}

void AzListTask::OnHeadAnswer() {
  if (status != 200) return End(ErrorOfAnswer(*this));
  if (!response.is_folder) return End({Code::kNotDirectory, false, 0, "listing a blob"});
  Succeed();
}

}  // namespace penstock::origin
