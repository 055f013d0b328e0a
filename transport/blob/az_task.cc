#include "transport/blob/az_task.h"

#include "transport/blob/az_errors.h"
#include "transport/blob/az_origin.h"

namespace penstock::origin {

AzTask::AzTask(AzOrigin* origin, Op* op)
    : origin_(origin), op_(op), retry_limits_(origin->retry_limits()) {
  deadline_ns = op->deadline_ns;
}

void AzTask::MakeProbe(std::string* explanation) {
  explanation_ = explanation;
  retry_limits_.max_tries = 2;
  retry_limits_.wait_for_unreachable = false;
}

void AzTask::SendNext() {
  failures_ = 0;
  not_before_ns = 0;
  origin_->client().Submit(this);
}

void AzTask::Dress(HttpExchange* exchange) const { origin_->service().Fill(Request(), exchange); }

void AzTask::Prepare() {
  BeforeSend();
  Dress(this);
}

void AzTask::OnOver() {
  if (cancelled.load(std::memory_order_acquire)) {
    return End({Code::kCancelled, false, 0, "asking the Blob service"});
  }
  const bool decided = fault == Fault::kCancelled || fault == Fault::kDeadline;
  const bool final_status = status >= 400 && !IsRetryable(Fault::kNone, status);
  const bool complete = fault == Fault::kNone && status < 400;
  if (!decided && (final_status || complete || fault == Fault::kRejected)) return OnAnswer();
  // A retryable status decides even where its body broke off.
  RetryOrEnd(status >= 400 && !decided ? Fault::kNone : fault, ErrorOfAnswer(*this));
}

void AzTask::RetryOrEnd(Fault with, Error error) {
  const FailedTry failed{++failures_, with, status, response.retry_after_ms};
  const auto next_ns = origin_->NextTry(failed, retry_limits_, deadline_ns);
  if (!next_ns) return OnGivenUp(error);
  Rewind();
  not_before_ns = *next_ns;
  origin_->client().Submit(this);
}

void AzTask::Succeed() {
  origin_->NoteSuccess();
  End({Code::kOk, false, 0, ""});
}

void AzTask::End(Error error) {
  const bool no_container = status == 404 && response.error_code == "ContainerNotFound";
  if (error.code == Code::kPermission || no_container) origin_->NoteForPerson(*this);
  if (explanation_ != nullptr && error.code != Code::kOk) *explanation_ = origin_->Explain(*this);
  OnEnd();
  origin_->Complete(this, error);
}

}  // namespace penstock::origin
