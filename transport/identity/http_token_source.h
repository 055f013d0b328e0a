// A token source that asks an HTTP service: the request, its retries, and what the answer means.
//
// Thread safety: as TokenSource. MakeCall() and AnswerChallenge() run on the caller's thread of
// Fetch() or on the HTTP client's, never at once. A derived class is final and calls Stop() in its
// destructor, so that no callback meets a half-destroyed object.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/random.h"
#include "transport/http/http_client.h"
#include "transport/identity/token_source.h"

namespace penstock::identity {

struct TokenCall {
  origin::HttpMethod method = origin::HttpMethod::kGet;
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;                  // a form, for kPost
  std::vector<std::string> secrets;  // taken out of whatever a service says about them
};

// Which answers are worth another try, and when.
struct TokenRetries {
  // The instance metadata service answers 404 while an identity is being set up and 410 while it is
  // being updated (for up to 70 s); both, 429 and 5xx are to be tried again with exponentially
  // growing waits (Microsoft's "How to use managed identities ... to acquire an access token",
  // section "Retry guidance"). Token endpoints: 408, 429, 5xx.
  bool metadata_service = false;
  unsigned max_tries = 6;
  std::int64_t first_wait_ms = 800;
  std::int64_t longest_wait_ms = 30'000;
};

class HttpTokenSource : public TokenSource {
 public:
  HttpTokenSource(const origin::HttpLimits& limits, const TokenRetries& retries,
                  TokenDialect dialect);
  ~HttpTokenSource() override;

  void Fetch(std::int64_t deadline_ns, TokenDone done) final;
  std::string Trouble() const final;
  void Cancel() final;
  void CountInto(origin::RequestCounters* counters) final { counters_ = counters; }

 protected:
  // The request, made anew for each try. kPermission with a sentence if it cannot be made.
  virtual Result<TokenCall> MakeCall(std::string* explanation) = 0;
  // A 401 came with `challenge`. True: send `call`, as changed, at once. Asked once for each
  // Fetch().
  virtual bool AnswerChallenge(std::string_view challenge, TokenCall* call,
                               std::string* explanation);
  // Where this source asks, for sentences: "the metadata service at http://169.254.169.254".
  virtual std::string Where() const = 0;
  // True if this answer means that there is no such service on this machine.
  virtual bool MeansNotHere(const origin::HttpExchange&) const { return false; }

  // One try with short timeouts, until the service has answered as what it should be.
  void SetProbing(bool probing) { probing_ = probing; }
  bool probing() const { return probing_; }
  void Stop();

 private:
  class Exchange;

  void Begin();
  void OnOver();
  void OnAnswer(const origin::HttpExchange& exchange, std::string_view body);
  bool TryAgain(const origin::HttpExchange& exchange);
  bool IsWorthAnotherTry(const origin::HttpExchange& exchange) const;
  void Refused(const origin::HttpExchange& exchange, std::string_view body);
  // What went wrong, for a person.
  std::string SentenceAbout(const origin::HttpExchange& exchange, std::string_view body) const;
  void End(TokenOutcome outcome);
  void Fail(Error error, std::string explanation, bool not_here = false);

  const origin::HttpLimits limits_;
  const TokenRetries retries_;
  const TokenDialect dialect_;
  Clock* const clock_ = &SystemClock::Get();
  std::atomic<bool> probing_{false};
  Random random_ = Random::FromEnvironment();

  origin::RequestCounters* counters_ = nullptr;
  TokenDone done_;
  TokenCall call_;
  std::int64_t deadline_ns_ = 0;
  unsigned tries_ = 0;
  bool challenged_ = false;
  std::string why_;  // of a challenge that could not be answered
  mutable std::mutex trouble_mutex_;
  std::string trouble_;  // guarded by trouble_mutex_
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<origin::HttpClient> client_;  // last: its thread ends before what it uses
};

// "https://host[:port]/path" or "http://...": no spaces, controls, credentials or fragment.
bool IsPlainUrl(std::string_view url);
// http on this very machine, where nobody else can listen: 127.0.0.0/8, [::1], localhost.
bool IsLoopbackUrl(std::string_view url);
std::string PercentEncoded(std::string_view text);

}  // namespace penstock::identity
