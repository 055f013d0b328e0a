#include "transport/identity/http_token_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "transport/base/limits.h"
#include "transport/http/percent.h"
#include "transport/http/retry.h"

namespace penstock::identity {

using origin::Fault;
using origin::HttpExchange;

namespace {

constexpr std::int64_t kProbeMs = 2'000;
constexpr std::int64_t kMetadataUpdateWaitMs = 3'000;  // six tries from here on span 70 s and more

void TakeOut(const std::vector<std::string>& secrets, std::string* text) {
  constexpr std::size_t kShortest = 4;  // shorter ones would take out words
  for (const std::string& secret : secrets) {
    if (secret.size() < kShortest) continue;
    for (std::size_t at = text->find(secret); at != std::string::npos;
         at = text->find(secret, at)) {
      text->replace(at, secret.size(), "***");
    }
  }
}

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

class HttpTokenSource::Exchange final : public HttpExchange {
 public:
  explicit Exchange(HttpTokenSource* source) : source_(source) {}

  std::string body;

 private:
  void Prepare() override {
    body.clear();
    method = source_->call_.method;
    url = source_->call_.url;
    headers = source_->call_.headers;
    send_body = Bytes(source_->call_.body);
  }
  bool OnHeaders() override { return true; }
  bool OnBody(std::span<const char> bytes) override {
    if (body.size() + bytes.size() > limits::kMaxTokenBodyBytes) return false;
    body.append(bytes.data(), bytes.size());
    return true;
  }
  void OnOver() override { source_->OnOver(); }

  HttpTokenSource* source_;
};

HttpTokenSource::HttpTokenSource(const origin::HttpLimits& limits, const TokenRetries& retries,
                                 TokenDialect dialect)
    : limits_(limits), retries_(retries), dialect_(dialect) {}

HttpTokenSource::~HttpTokenSource() = default;

void HttpTokenSource::Stop() { client_.reset(); }

bool HttpTokenSource::AnswerChallenge(std::string_view, TokenCall*, std::string*) { return false; }

void HttpTokenSource::Fetch(std::int64_t deadline_ns, TokenDone done) {
  done_ = std::move(done);
  deadline_ns_ = deadline_ns;
  tries_ = 0;
  challenged_ = false;
  why_.clear();
  if (client_ == nullptr) {
    exchange_ = std::make_unique<Exchange>(this);
    client_ = std::make_unique<origin::HttpClient>(limits_);
  }
  exchange_->cancelled.store(false, std::memory_order_release);
  exchange_->not_before_ns = 0;
  Begin();
}

void HttpTokenSource::Cancel() {
  if (client_ == nullptr) return;
  exchange_->cancelled.store(true, std::memory_order_release);
  client_->NoteCancelled();
}

void HttpTokenSource::Begin() {
  std::string explanation;
  auto call = MakeCall(&explanation);
  if (!call) return Fail(call.error(), std::move(explanation));
  call_ = *std::move(call);
  ++tries_;
  exchange_->deadline_ns = deadline_ns_;
  if (probing_) {
    exchange_->deadline_ns = std::min(deadline_ns_, clock_->NowNs() + kProbeMs * kNsPerMs);
  }
  client_->Submit(exchange_.get());
}

void HttpTokenSource::OnOver() {
  Exchange& exchange = *exchange_;
  if (counters_ != nullptr && exchange.wire_ns > 0) {
    // Their bytes are none of Blob's.
    counters_->NoteEnd({origin::RequestKind::kToken, exchange.status, 0, 0, exchange.wire_ns});
  }
  if (exchange.cancelled.load(std::memory_order_acquire)) {
    return Fail({Code::kCancelled, false, 0, "getting a token"}, "cancelled");
  }
  if (exchange.fault == Fault::kNone && exchange.status == 200) {
    return OnAnswer(exchange, exchange.body);
  }
  if (exchange.fault == Fault::kNone && exchange.status == 401 && !challenged_) {
    challenged_ = true;
    if (AnswerChallenge(exchange.response.challenge, &call_, &why_)) {
      return client_->Submit(&exchange);
    }
  }
  if (TryAgain(exchange)) return;
  Refused(exchange, exchange.body);
}

void HttpTokenSource::OnAnswer(const HttpExchange& exchange, std::string_view body) {
  const std::int64_t date_ns = exchange.response.date_ns;
  std::string explanation;
  auto answer =
      ParseTokenAnswer(body, dialect_, date_ns != 0 ? date_ns : clock_->WallNs(), &explanation);
  if (!answer) {
    if (tries_ < retries_.max_tries && TryAgain(exchange)) return;
    // A service that is not the one we think answers anything: on another cloud, say.
    return Fail({Code::kUnavailable, true, 0, "reading a token"},
                fmt::format("{}: {}", Where(), explanation), probing_);
  }
  TokenOutcome outcome;
  outcome.answer = *std::move(answer);
  probing_ = false;
  End(std::move(outcome));
}

bool HttpTokenSource::IsWorthAnotherTry(const HttpExchange& exchange) const {
  if (exchange.fault != Fault::kNone && exchange.status < 400) {
    return origin::IsRetryable(exchange.fault, 0);
  }
  if (exchange.status == 200) return true;  // but what it says makes no sense
  if (retries_.metadata_service && (exchange.status == 404 || exchange.status == 410)) return true;
  return exchange.status == 408 || exchange.status == 429 || exchange.status >= 500;
}

bool HttpTokenSource::TryAgain(const HttpExchange& exchange) {
  if (probing_ || tries_ >= retries_.max_tries || !IsWorthAnotherTry(exchange)) return false;
  const std::int64_t first_ms = retries_.metadata_service && exchange.status == 410
                                    ? std::max(retries_.first_wait_ms, kMetadataUpdateWaitMs)
                                    : retries_.first_wait_ms;
  const std::int64_t whole_ms =
      std::min(first_ms << std::min(tries_ - 1, 16u), retries_.longest_wait_ms);
  // Up to a quarter longer, so that nodes that failed together do not come back together.
  const auto jitter_ms =
      static_cast<std::int64_t>(random_.Fraction() * static_cast<double>(whole_ms) / 4);
  const std::int64_t wait_ms = std::max(whole_ms + jitter_ms, exchange.response.retry_after_ms);
  const std::int64_t next_ns = clock_->NowNs() + wait_ms * kNsPerMs;
  if (next_ns >= deadline_ns_) return false;
  {
    const std::lock_guard lock(trouble_mutex_);
    trouble_ = SentenceAbout(exchange, exchange_->body);
  }
  exchange_->not_before_ns = next_ns;
  Begin();
  return true;
}

std::string HttpTokenSource::SentenceAbout(const HttpExchange& exchange,
                                           std::string_view body) const {
  if (exchange.fault != Fault::kNone && exchange.status < 400) {
    const bool late = exchange.fault == Fault::kDeadline || exchange.fault == Fault::kTimeout;
    return fmt::format("{} cannot be reached: {}", Where(),
                       late ? "no answer in time" : exchange.fault_sentence);
  }
  if (exchange.status == 200) return fmt::format("{} answered with no token", Where());
  std::string said = DescribeRefusal(body);
  TakeOut(call_.secrets, &said);
  std::string sentence = fmt::format("{} answered HTTP {}{}{}", Where(), exchange.status,
                                     said.empty() ? "" : ": ", said);
  if (!why_.empty()) sentence += fmt::format(" ({})", why_);
  return sentence;
}

void HttpTokenSource::Refused(const HttpExchange& exchange, std::string_view body) {
  std::string sentence = SentenceAbout(exchange, body);
  if (exchange.fault != Fault::kNone && exchange.status < 400) {
    return Fail({Code::kUnavailable, true, 0, "reaching the identity service"}, std::move(sentence),
                probing_);
  }
  const bool not_here = probing_ && MeansNotHere(exchange);
  if (exchange.status == 429) {
    return Fail({Code::kThrottled, true, 0, "the identity service is busy"}, std::move(sentence),
                not_here);
  }
  if (exchange.status >= 500 || exchange.status == 408 || exchange.status == 410) {
    return Fail({Code::kUnavailable, true, 0, "the identity service failed"}, std::move(sentence),
                not_here);
  }
  Fail({Code::kPermission, false, 0, "the identity service refused"}, std::move(sentence),
       not_here);
}

std::string HttpTokenSource::Trouble() const {
  const std::lock_guard lock(trouble_mutex_);
  return trouble_;
}

void HttpTokenSource::End(TokenOutcome outcome) {
  // Secrets are not kept longer than they are needed.
  call_ = {};
  exchange_->headers.clear();
  exchange_->send_body = {};
  exchange_->body.clear();
  {
    const std::lock_guard lock(trouble_mutex_);
    trouble_.clear();
  }
  TokenDone done = std::move(done_);
  done(std::move(outcome));
}

void HttpTokenSource::Fail(Error error, std::string explanation, bool not_here) {
  TokenOutcome outcome;
  outcome.answer = std::unexpected(error);
  outcome.explanation = std::move(explanation);
  outcome.not_here = not_here;
  End(std::move(outcome));
}

namespace {

bool HasScheme(std::string_view url, std::string_view scheme, std::string_view* rest) {
  if (!url.starts_with(scheme)) return false;
  *rest = url.substr(scheme.size());
  return true;
}

}  // namespace

bool IsPlainUrl(std::string_view url) {
  std::string_view rest;
  if (!HasScheme(url, "https://", &rest) && !HasScheme(url, "http://", &rest)) return false;
  if (rest.empty() || rest.front() == '/' || url.size() > 2'000) return false;
  return std::all_of(rest.begin(), rest.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7F && c != '@' && c != '#' && c != '"' && c != '\\' && c != '<' &&
           c != '>';
  });
}

bool IsLoopbackUrl(std::string_view url) {
  std::string_view rest;
  if (!HasScheme(url, "http://", &rest) && !HasScheme(url, "https://", &rest)) return false;
  const std::string_view authority = rest.substr(0, rest.find('/'));
  if (authority.starts_with("[::1]")) return true;
  const std::string_view host = authority.substr(0, authority.find(':'));
  return host == "localhost" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

std::string PercentEncoded(std::string_view text) {
  std::string out;
  origin::AppendPercentEncoded(text, /*keep_slash=*/false, &out);
  return out;
}

}  // namespace penstock::identity
