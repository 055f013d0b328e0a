#include "transport/http/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/base/thread.h"
#include "transport/http/http_transfer.h"

namespace penstock::origin {
namespace {

constexpr std::int64_t kLongestPollMs = 1'000;
constexpr int kIdlePollMs = 3'600'000;  // whoever brings work wakes the poll
constexpr std::int64_t kExpiryCheckNs = 20 * kNsPerMs;

void InitLibcurlOnce() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace

const char* HttpMethodName(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet:
      return "GET";
    case HttpMethod::kHead:
      return "HEAD";
    case HttpMethod::kPut:
      return "PUT";
    case HttpMethod::kDelete:
      return "DELETE";
  }
  return "GET";
}

class HttpClient::Impl {
 public:
  Impl(const HttpLimits& limits, Clock* clock) : limits_(limits), clock_(clock) {
    InitLibcurlOnce();
    multi_ = curl_multi_init();
    share_ = curl_share_init();
    // One thread uses it: no locks. Sessions are resumed when a connection is opened anew.
    curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(limits_.max_connections));
    thread_ = StartThread("pst-http", [this] { Run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    curl_multi_wakeup(multi_);
    thread_.join();
    idle_.clear();
    curl_multi_cleanup(multi_);
    curl_share_cleanup(share_);
  }

  void Submit(HttpExchange* exchange) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      inbox_.push_back(exchange);
      wake = std::exchange(polling_, false);
    }
    if (wake) curl_multi_wakeup(multi_);
  }

  void NoteCancelled() {
    any_cancelled_.store(true, std::memory_order_release);
    curl_multi_wakeup(multi_);
  }

  HttpCounters Counters() const {
    return {exchanges_.load(std::memory_order_relaxed), connects_.load(std::memory_order_relaxed),
            received_bytes_.load(std::memory_order_relaxed)};
  }

 private:
  void Run() {
    while (TakeInbox()) {
      if (any_cancelled_.exchange(false, std::memory_order_acq_rel)) EndCancelled();
      EndExpired();
      StartDue();
      int running = 0;
      curl_multi_perform(multi_, &running);
      if (FinishDone()) continue;
      if (BeginPolling()) curl_multi_poll(multi_, nullptr, 0, PollMs(), nullptr);
    }
  }

  // False when it is time to stop.
  bool TakeInbox() {
    const std::lock_guard lock(mutex_);
    polling_ = false;
    for (HttpExchange* exchange : inbox_) waiting_.push_back(exchange);
    inbox_.clear();
    return !stopping_;
  }

  // From here on Submit() wakes the poll. False if something came in already.
  bool BeginPolling() {
    const std::lock_guard lock(mutex_);
    polling_ = inbox_.empty() && !stopping_;
    return polling_;
  }

  int PollMs() const {
    if (active_.empty() && waiting_.empty()) return kIdlePollMs;
    std::int64_t until_ms = kLongestPollMs;
    const std::int64_t now_ns = clock_->NowNs();
    const bool may_start = active_.size() < limits_.max_connections;
    for (const HttpExchange* exchange : waiting_) {
      std::int64_t next_ns = exchange->deadline_ns;
      if (may_start) next_ns = std::min(next_ns, exchange->not_before_ns);
      until_ms = std::min(until_ms, std::max<std::int64_t>(0, next_ns - now_ns) / kNsPerMs + 1);
    }
    return static_cast<int>(until_ms);
  }

  // First come, first served among those whose time has come.
  void StartDue() {
    if (waiting_.empty()) return;
    const std::int64_t now_ns = clock_->NowNs();
    for (auto at = waiting_.begin();
         at != waiting_.end() && active_.size() < limits_.max_connections;) {
      HttpExchange* exchange = *at;
      if (exchange->not_before_ns > now_ns) {
        ++at;
        continue;
      }
      at = waiting_.erase(at);
      StartOne(exchange, now_ns);
    }
  }

  void StartOne(HttpExchange* exchange, std::int64_t now_ns) {
    if (exchange->deadline_ns <= now_ns) {
      EndWithout(exchange, Fault::kDeadline, "the deadline passed before the request was sent");
      return;
    }
    std::unique_ptr<HttpTransfer> transfer;
    if (!idle_.empty()) {
      transfer = std::move(idle_.back());
      idle_.pop_back();
    } else {
      transfer = HttpTransfer::Make(limits_, share_);
    }
    exchange->Prepare();
    exchanges_.fetch_add(1, std::memory_order_relaxed);
    if (transfer == nullptr || !transfer->Begin(exchange, limits_, now_ns) ||
        curl_multi_add_handle(multi_, transfer->handle()) != CURLM_OK) {
      EndWithout(exchange, Fault::kOther, "the request could not be made (out of memory?)");
      return;
    }
    active_.push_back(std::move(transfer));
  }

  // True if an exchange ended: its successor may be in the inbox.
  bool FinishDone() {
    bool any = false;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Finish(message->easy_handle, message->data.result);
      any = true;
    }
    return any;
  }

  void Finish(CURL* handle, CURLcode result) {
    const auto at = std::find_if(active_.begin(), active_.end(),
                                 [handle](const auto& one) { return one->handle() == handle; });
    if (at == active_.end()) return;
    std::unique_ptr<HttpTransfer> transfer = std::move(*at);
    active_.erase(at);
    // Gives the connection back to the pool before OnOver() may want one.
    curl_multi_remove_handle(multi_, handle);
    const std::int64_t now_ns = clock_->NowNs();
    HttpExchange* exchange = transfer->End(result, now_ns);
    connects_.fetch_add(transfer->connects(), std::memory_order_relaxed);
    received_bytes_.fetch_add(exchange->received_bytes, std::memory_order_relaxed);
    idle_.push_back(std::move(transfer));
    exchange->OnOver();
  }

  void EndCancelled() {
    EndWaitingIf(
        [](const HttpExchange& one) { return one.cancelled.load(std::memory_order_acquire); },
        Fault::kCancelled, "cancelled");
    std::vector<CURL*> handles;
    for (const auto& transfer : active_) {
      if (transfer->exchange()->cancelled.load(std::memory_order_acquire)) {
        handles.push_back(transfer->handle());
      }
    }
    for (CURL* handle : handles) Finish(handle, CURLE_ABORTED_BY_CALLBACK);
  }

  void EndExpired() {
    if (waiting_.empty()) return;
    const std::int64_t now_ns = clock_->NowNs();
    if (now_ns < next_expiry_check_ns_) return;
    next_expiry_check_ns_ = now_ns + kExpiryCheckNs;
    EndWaitingIf([now_ns](const HttpExchange& one) { return one.deadline_ns <= now_ns; },
                 Fault::kDeadline, "the deadline passed while waiting for a connection");
  }

  template <typename Predicate>
  void EndWaitingIf(Predicate predicate, Fault fault, const char* sentence) {
    std::vector<HttpExchange*> ended;
    std::erase_if(waiting_, [&](HttpExchange* exchange) {
      if (!predicate(*exchange)) return false;
      ended.push_back(exchange);
      return true;
    });
    for (HttpExchange* exchange : ended) EndWithout(exchange, fault, sentence);
  }

  // Ends an exchange that is not on the wire.
  static void EndWithout(HttpExchange* exchange, Fault fault, const char* sentence) {
    exchange->status = 0;
    exchange->fault = fault;
    exchange->fault_sentence = sentence;
    exchange->OnOver();
  }

  const HttpLimits limits_;
  Clock* const clock_;
  CURLM* multi_ = nullptr;
  CURLSH* share_ = nullptr;

  std::mutex mutex_;
  std::vector<HttpExchange*> inbox_;  // guarded by mutex_
  bool polling_ = false;              // guarded by mutex_
  bool stopping_ = false;             // guarded by mutex_
  std::atomic<bool> any_cancelled_{false};

  // The thread's own.
  std::deque<HttpExchange*> waiting_;
  std::vector<std::unique_ptr<HttpTransfer>> active_;
  std::vector<std::unique_ptr<HttpTransfer>> idle_;
  std::int64_t next_expiry_check_ns_ = 0;

  std::atomic<std::uint64_t> exchanges_{0};
  std::atomic<std::uint64_t> connects_{0};
  std::atomic<std::uint64_t> received_bytes_{0};
  std::thread thread_;
};

HttpClient::HttpClient(const HttpLimits& limits, Clock* clock)
    : impl_(std::make_unique<Impl>(limits, clock)) {}
HttpClient::~HttpClient() = default;

void HttpClient::Submit(HttpExchange* exchange) { impl_->Submit(exchange); }
void HttpClient::NoteCancelled() { impl_->NoteCancelled(); }
HttpCounters HttpClient::Counters() const { return impl_->Counters(); }

}  // namespace penstock::origin
