#include <utility>

#include "transport/blob/az_errors.h"
#include "transport/blob/az_task.h"

namespace penstock::origin {

AzPutTask::AzPutTask(AzOrigin* origin, PutOp* op, std::string name)
    : AzTask(origin, op), put_(op), name_(std::move(name)) {
  send_body = op->body;
}

AzRequest AzPutTask::Request() const {
  AzRequest request;
  request.method = HttpMethod::kPut;
  request.name = name_;
  request.ms_headers.emplace_back("x-ms-blob-type", "BlockBlob");
  request.content_length = put_->body.size();
  return request;
}

void AzPutTask::OnAnswer() {
  if (status != 201) return End(ErrorOfAnswer(*this));
  put_->version = response.etag;
  Succeed();
}

}  // namespace penstock::origin
