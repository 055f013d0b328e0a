#include "transport/base/limits.h"
#include "transport/blob/az_errors.h"
#include "transport/blob/az_list_xml.h"
#include "transport/blob/az_origin.h"
#include "transport/blob/az_path_list.h"
#include "transport/blob/az_task.h"

namespace penstock::origin {
namespace {

// A service may answer a listing with no names and a marker; not for ever.
constexpr unsigned kMaxEmptyPages = 32;

}  // namespace

AzStatTask::AzStatTask(AzOrigin* origin, StatOp* op, std::string name)
    : AzTask(origin, op),
      stat_(op),
      name_(std::move(name)),
      // The root is a directory if its container is there, with or without blobs.
      step_(op->name.empty() ? Step::kList : Step::kHead) {}

AzRequest AzStatTask::Request() const {
  if (step_ == Step::kNamespace) return MakeNamespaceRequest();
  if (step_ == Step::kHead) {
    AzRequest request;
    request.method = HttpMethod::kHead;
    request.name = name_;
    return request;
  }
  return MakeListRequest({.prefix = name_.empty() ? std::string() : name_ + "/",
                          .marker = marker_,
                          .delimiter = "",
                          .max_results = 1,
                          .metadata = false});
}

bool AzStatTask::OnBody(std::span<const char> bytes) {
  if (status != 200) return true;
  if (body_.size() + bytes.size() > limits::kMaxListBodyBytes) return false;
  body_.append(bytes.data(), bytes.size());
  return true;
}

void AzStatTask::OnAnswer() {
  switch (step_) {
    case Step::kHead:
      return OnHeadAnswer();
    case Step::kList:
      return OnListAnswer();
    case Step::kNamespace:
      // Anything but the root's access control says that there is none, or that it is of no use.
      origin()->SetListsByDfs(status == 200);
      return Succeed();
  }
}

// Blob's own listing serves accounts of both kinds: without an answer it is the one to use.
void AzStatTask::OnGivenUp(Error error) {
  if (step_ == Step::kNamespace) return Succeed();
  End(error);
}

void AzStatTask::OnHeadAnswer() {
  if (status == 404 && response.error_code != "ContainerNotFound") {
    step_ = Step::kList;
    return SendNext();
  }
  if (status != 200) return End(ErrorOfAnswer(*this));
  if (response.is_folder) return SucceedAsDirectory();
  if (!response.content_length || response.etag.empty()) {
    return End({Code::kCorrupt, false, 0, "a blob's headers lack its size or its ETag"});
  }
  stat_->info.name = stat_->name;
  stat_->info.kind = ObjectKind::kFile;
  stat_->info.size = *response.content_length;
  stat_->info.mtime_ns = response.last_modified_ns;
  stat_->info.version = response.etag;
  Succeed();
}

void AzStatTask::SucceedAsDirectory() {
  stat_->info.name = stat_->name;
  stat_->info.kind = ObjectKind::kDirectory;
  stat_->info.size = 0;
  stat_->info.mtime_ns = step_ == Step::kHead ? response.last_modified_ns : 0;
  stat_->info.version.clear();
  if (probing() && origin()->TakeNamespaceQuestion(&deadline_ns)) {
    step_ = Step::kNamespace;
    return SendNext();
  }
  Succeed();
}

void AzStatTask::OnListAnswer() {
  if (status != 200) return End(ErrorOfAnswer(*this));
  const auto page = ParseListXml(body_);
  body_.clear();
  if (!page) return RetryOrEnd(Fault::kTruncated, page.error());
  if (stat_->name.empty() || !page->blobs.empty()) return SucceedAsDirectory();
  if (page->next_marker.empty()) return End({Code::kNotFound, false, 0, "looking for a blob"});
  if (page->next_marker == marker_ || ++pages_ >= kMaxEmptyPages) {
    return End({Code::kCorrupt, true, 0, "a listing does not end"});
  }
  marker_ = page->next_marker;
  SendNext();
}

}  // namespace penstock::origin
