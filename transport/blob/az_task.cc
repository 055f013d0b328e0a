#include "transport/blob/az_task.h"

#include "transport/blob/az_errors.h"
#include "transport/blob/az_origin.h"

namespace penstock::origin {

AzTask::AzTask(AzOrigin* origin, Op* op)
    : tokens_(origin->service().credentials().tokens.get()),
      origin_(origin),
      op_(op),
      retry_limits_(origin->retry_limits()) {
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
  Send();
}

void AzTask::Send() {
  if (tokens_ == nullptr || (token_ = tokens_->Current()) != nullptr) {
    return origin_->client().Submit(this);
  }
  token_wait_.wait_until_ns = deadline_ns;
  tokens_->Wait(&token_wait_);
}

void AzTask::OnToken() {
  token_ = token_wait_.token;
  // Without one it goes to the client's thread all the same, to end there, unsent.
  if (token_ == nullptr) deadline_ns = 0;
  HttpClient& client = origin_->client();
  const bool stop = cancelled.load(std::memory_order_acquire);
  client.Submit(this);
  if (stop) client.NoteCancelled();
}

void AzTask::NoteCancelled() {
  if (tokens_ != nullptr) tokens_->Cancel(&token_wait_);
}

bool AzTask::ReplaceToken() {
  const bool refused =
      status == 401 || (status == 403 && response.error_code == "AuthenticationFailed");
  if (token_ == nullptr || token_replaced_ || !refused) return false;
  token_replaced_ = true;
  return tokens_->Refuse(token_);
}

void AzTask::Dress(HttpExchange* exchange) const {
  // The newest: it may have waited for its turn, or stand beside an older one.
  const identity::TokenPtr newest = tokens_ == nullptr ? nullptr : tokens_->Current();
  const identity::Token* token = newest == nullptr ? token_.get() : newest.get();
  origin_->service().Fill(Request(), exchange, token);
}

void AzTask::Prepare() {
  BeforeSend();
  if (tokens_ != nullptr) {
    if (auto newest = tokens_->Current()) token_ = std::move(newest);
  }
  Dress(this);
}

void AzTask::OnOver() {
  if (cancelled.load(std::memory_order_acquire)) {
    return End({Code::kCancelled, false, 0, "asking the Blob service"});
  }
  if (token_wait_.token_error.code != Code::kOk) return End(token_wait_.token_error);
  if (ReplaceToken()) {
    Rewind();
    not_before_ns = 0;
    return Send();
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
  Send();
}

void AzTask::Succeed() {
  origin_->NoteSuccess();
  End({Code::kOk, false, 0, ""});
}

void AzTask::End(Error error) {
  const bool no_token = token_wait_.token_error.code != Code::kOk;  // the keeper has said so
  const bool no_container = status == 404 && response.error_code == "ContainerNotFound";
  if (!no_token && (error.code == Code::kPermission || no_container)) origin_->NoteForPerson(*this);
  if (explanation_ != nullptr && error.code != Code::kOk) {
    *explanation_ = no_token ? "no token: " + token_wait_.problem : origin_->Explain(*this);
  }
  OnEnd();
  origin_->Complete(this, error);
}

}  // namespace penstock::origin
