// One operation on Blob storage: a chain of requests, each with its retries. Internal to AzOrigin.
//
// Thread safety: made on any thread, lives on the HTTP client's thread after Start().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/blob/az_request.h"
#include "transport/http/http_client.h"
#include "transport/http/retry.h"
#include "transport/identity/token_keeper.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

class AzOrigin;

class AzTask : public HttpExchange {
 public:
  AzTask(AzOrigin* origin, Op* op);

  void Start() { SendNext(); }
  Op* op() const { return op_; }
  // Its `cancelled` has been set.
  void NoteCancelled();

  // For Probe: few tries, and a sentence about a failure.
  void MakeProbe(std::string* explanation);

 protected:
  // The request to send now.
  virtual AzRequest Request() const = 0;
  // An answer came that no retry can better: a success, or a final error in `status`.
  virtual void OnAnswer() = 0;
  // No try has brought an answer, and there will be no other.
  virtual void OnGivenUp(Error error) { End(error); }
  // Right before each try is sent.
  virtual void BeforeSend() {}
  // Forget what a broken try has delivered.
  virtual void Rewind() {}
  // The task is about to be destroyed.
  virtual void OnEnd() {}

  bool OnHeaders() override { return true; }
  bool OnBody(std::span<const char>) override { return true; }

  AzOrigin* origin() const { return origin_; }
  // Dresses `exchange` for the request to send now.
  void Dress(HttpExchange* exchange) const;
  // The next request of the chain.
  void SendNext();
  // Tries again if that can help and is allowed; else ends with `error`.
  void RetryOrEnd(Fault with, Error error);
  void Succeed();
  void End(Error error);  // destroys this
  bool probing() const { return explanation_ != nullptr; }

 private:
  // Waits for a token, where there is none yet.
  struct TokenWait final : identity::TokenWaiter {
    explicit TokenWait(AzTask* owner) : task(owner) {}
    void OnToken() override { task->OnToken(); }
    AzTask* task;
  };

  void Prepare() final;
  void OnOver() final;
  // Puts it into the HTTP client's hands, once there is a token where one is needed.
  void Send();
  void OnToken();
  // True if the token was refused and another one is on its way: the request is sent again, once.
  bool ReplaceToken();

  identity::TokenKeeper* tokens_;  // the service's; nullptr without an identity
  identity::TokenPtr token_;       // that the last request was sent with
  bool token_replaced_ = false;
  TokenWait token_wait_{this};
  AzOrigin* origin_;
  Op* op_;
  RetryLimits retry_limits_;
  unsigned failures_ = 0;
  std::string* explanation_ = nullptr;
};


// HEAD of a blob; where there is none, a listing tells whether the name is a directory. The first
// probe of the root asks for the account's kind of namespace as well.
class AzStatTask final : public AzTask {
 public:
  AzStatTask(AzOrigin* origin, StatOp* op, std::string name);

 private:
  enum class Step { kHead, kList, kNamespace };

  AzRequest Request() const override;
  bool OnBody(std::span<const char> bytes) override;
  void OnAnswer() override;
  void OnGivenUp(Error error) override;
  void Rewind() override { body_.clear(); }

  void OnHeadAnswer();
  void OnListAnswer();
  void SucceedAsDirectory();

  StatOp* stat_;
  std::string name_;
  Step step_;
  std::string body_;
  std::string marker_;
  unsigned pages_ = 0;
};

// One page of a directory; an empty one is looked at again, whether it is there at all.
class AzListTask final : public AzTask {
 public:
  AzListTask(AzOrigin* origin, ListOp* op, std::string name);

 private:
  enum class Step { kList, kHead };

  AzRequest Request() const override;
  bool OnHeaders() override;
  bool OnBody(std::span<const char> bytes) override;
  void OnAnswer() override;
  void Rewind() override { body_.clear(); }

  void OnListAnswer();
  void OnHeadAnswer();
  void ListByBlob();
  std::string Prefix() const;

  ListOp* list_;
  std::string name_;
  bool by_dfs_;
  Step step_ = Step::kList;
  std::string body_;
};

// Put Blob: the whole in one request, so that readers see the old blob or the new one.
class AzPutTask final : public AzTask {
 public:
  AzPutTask(AzOrigin* origin, PutOp* op, std::string name);

 private:
  AzRequest Request() const override;
  void OnAnswer() override;

  PutOp* put_;
  std::string name_;
};

}  // namespace penstock::origin
