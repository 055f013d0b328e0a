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
#include "transport/http/concurrency.h"
#include "transport/http/http_transfer.h"
#include "transport/http/socket_events.h"

namespace penstock::origin {
namespace {

constexpr std::int64_t kLongestPollMs = 1'000;
constexpr int kIdlePollMs = 3'600'000;  // whoever brings work wakes the poll
constexpr std::int64_t kExpiryCheckNs = 20 * kNsPerMs;
// A request that nobody waited for may be somebody's by now: held for so long, it counts as such.
constexpr std::int64_t kPrefetchPatienceNs = 200 * kNsPerMs;

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
    case HttpMethod::kPost:
      return "POST";
    case HttpMethod::kDelete:
      return "DELETE";
  }
  return "GET";
}

class HttpClient::Impl {
 public:
  Impl(const HttpLimits& limits, Clock* clock, Pacer* pacer)
      : limits_(limits), clock_(clock), pacer_(pacer), concurrency_(limits.max_connections) {
    concurrency_now_.store(concurrency_.limit(), std::memory_order_relaxed);
    InitLibcurlOnce();
    multi_ = curl_multi_init();
    share_ = curl_share_init();
    // One thread uses it: no locks. Sessions are resumed when a connection is opened anew.
    curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(limits_.max_connections));
    if (multi_ == nullptr || !events_.Attach(multi_))
      log::Error("http: no descriptors for events: are there too many open files?");
    thread_ = StartThread("pst-http", [this] { Run(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    events_.Wake();
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
    if (wake) events_.Wake();
  }

  void NoteCancelled() {
    any_cancelled_.store(true, std::memory_order_release);
    events_.Wake();
  }

  bool Withdraw(HttpExchange* exchange) {
    if (std::erase(waiting_, exchange) + std::erase(ending_, exchange) > 0) return true;
    const auto at = std::find_if(active_.begin(), active_.end(), [exchange](const auto& one) {
      return one->exchange() == exchange;
    });
    if (at != active_.end()) {
      TakeOff(at, CURLE_ABORTED_BY_CALLBACK);
      return true;
    }
    const std::lock_guard lock(mutex_);
    return std::erase(inbox_, exchange) > 0;
  }

  HttpCounters Counters() const {
    return {exchanges_.load(std::memory_order_relaxed), connects_.load(std::memory_order_relaxed),
            received_bytes_.load(std::memory_order_relaxed),
            throttled_.load(std::memory_order_relaxed),
            concurrency_now_.load(std::memory_order_relaxed)};
  }

  RequestCounts Requests() const { return requests_.Counts(); }

 private:
  void Run() {
    while (Advance()) {
      if (any_cancelled_.exchange(false, std::memory_order_acq_rel)) EndCancelled();
      EndExpired();
      RingAlarms();
      if (!BeginPolling()) continue;
      // After each socket: a whole answer makes room, and the next request goes out before the
      // bodies of others are read.
      for (const epoll_event& event : events_.Wait(PollMs())) {
        events_.Handle(event);
        if (FinishDone() && !Advance()) return;
      }
    }
  }

  // Sends what is due, until nothing more comes of it. False when it is time to stop.
  bool Advance() {
    do {
      if (!TakeInbox()) return false;
      StartDue();
      events_.HandleTimer();
    } while (FinishDone());
    return true;
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
    const bool may_start = HasPlace();
    if (next_alarm_ns_ != kNever) {
      until_ms = std::clamp<std::int64_t>((next_alarm_ns_ - now_ns) / kNsPerMs + 1, 0, until_ms);
    }
    for (const HttpExchange* exchange : waiting_) {
      std::int64_t next_ns = exchange->deadline_ns;
      if (may_start) next_ns = std::min(next_ns, std::max(exchange->not_before_ns, held_until_ns_));
      until_ms = std::min(until_ms, std::max<std::int64_t>(0, next_ns - now_ns) / kNsPerMs + 1);
    }
    return static_cast<int>(until_ms);
  }

  // Those whose time has come: first the ones for which somebody waits, each kind in its order.
  void StartDue() {
    if (pacer_ != nullptr) return StartPaced();
    const std::int64_t now_ns = clock_->NowNs();
    while (HasPlace()) {
      const auto next = FirstDue(now_ns);
      if (next == waiting_.end()) return;
      HttpExchange* exchange = *next;
      waiting_.erase(next);
      StartOne(exchange, now_ns);
    }
  }

  // The same as far as the limits allow.
  void StartPaced() {
    const std::int64_t now_ns = clock_->NowNs();
    if (now_ns < held_until_ns_) return;
    const bool was_held = std::exchange(held_until_ns_, 0) > 0;
    while (HasPlace()) {
      const auto next = FirstDue(now_ns);
      if (next == waiting_.end()) break;
      HttpExchange* exchange = *next;
      const std::int64_t wait_ns =
          pacer_->Ask(IsUrgent(*exchange, now_ns), exchange->expected_bytes, now_ns);
      if (wait_ns > 0) {
        held_until_ns_ = now_ns + wait_ns;
        if (exchange->held_since_ns == 0) exchange->held_since_ns = now_ns;
        return;
      }
      waiting_.erase(next);
      if (exchange->held_since_ns > 0) requests_.NotePaced(now_ns - exchange->held_since_ns);
      exchange->held_since_ns = 0;
      StartOne(exchange, now_ns);
    }
    if (was_held) pacer_->Leave();
  }

  static bool IsUrgent(const HttpExchange& exchange, std::int64_t now_ns) {
    return !exchange.prefetch.load(std::memory_order_relaxed) ||
           (exchange.held_since_ns > 0 && now_ns - exchange.held_since_ns >= kPrefetchPatienceNs);
  }

  std::deque<HttpExchange*>::iterator FirstDue(std::int64_t now_ns) {
    auto first = waiting_.end();
    for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
      if ((*at)->not_before_ns > now_ns) continue;
      if (IsUrgent(**at, now_ns)) return at;
      if (first == waiting_.end()) first = at;
    }
    return first;
  }

  bool HasPlace() const { return active_.size() < concurrency_.limit(); }

  void StartOne(HttpExchange* exchange, std::int64_t now_ns) {
    // It may have been cancelled before it was ours.
    if (exchange->cancelled.load(std::memory_order_acquire)) {
      return EndWithout(exchange, Fault::kCancelled, "cancelled");
    }
    if (exchange->deadline_ns <= now_ns) {
      EndWithout(exchange, Fault::kDeadline, "the deadline passed before the request was sent");
      return;
    }
    if (!events_.attached()) {
      return EndWithout(exchange, Fault::kOther, "there is no epoll (open files?)");
    }
    std::unique_ptr<HttpTransfer> transfer;
    if (!idle_.empty()) {
      transfer = std::move(idle_.back());
      idle_.pop_back();
    } else {
      transfer = HttpTransfer::Make(limits_, share_);
    }
    if (!limits_.http2) {  // whose connections have to say something at any time
      if (transfer != nullptr) events_.Prepare(transfer->handle());
      events_.DropSpoiled();
    }
    exchange->Prepare();
    exchange->sent_ns = now_ns;
    exchanges_.fetch_add(1, std::memory_order_relaxed);
    if (transfer == nullptr || !transfer->Begin(exchange, limits_, now_ns) ||
        curl_multi_add_handle(multi_, transfer->handle()) != CURLM_OK) {
      EndWithout(exchange, Fault::kOther, "the request could not be made (out of memory?)");
      return;
    }
    const std::int64_t alarm_ns = transfer->alarm_ns();
    if (alarm_ns != 0) next_alarm_ns_ = std::min(next_alarm_ns_, alarm_ns);
    active_.push_back(std::move(transfer));
  }

  void RingAlarms() {
    if (next_alarm_ns_ == kNever) return;
    const std::int64_t now_ns = clock_->NowNs();
    if (now_ns < next_alarm_ns_) return;
    next_alarm_ns_ = kNever;
    std::vector<HttpExchange*> late;
    for (const auto& transfer : active_) {
      if (transfer->alarm_ns() == 0) continue;
      if (transfer->alarm_ns() <= now_ns) {
        transfer->SilenceAlarm();
        late.push_back(transfer->exchange());
      } else {
        next_alarm_ns_ = std::min(next_alarm_ns_, transfer->alarm_ns());
      }
    }
    for (HttpExchange* exchange : late) exchange->OnAlarm();
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
    TakeOff(at, result)->OnOver();
  }

  // Off the wire: gives the connection back to the pool (or closes it, if the answer is not whole).
  HttpExchange* TakeOff(std::vector<std::unique_ptr<HttpTransfer>>::iterator at, CURLcode result) {
    std::unique_ptr<HttpTransfer> transfer = std::move(*at);
    active_.erase(at);
    curl_multi_remove_handle(multi_, transfer->handle());
    const std::int64_t now_ns = clock_->NowNs();
    HttpExchange* exchange = transfer->End(result, now_ns);
    connects_.fetch_add(transfer->connects(), std::memory_order_relaxed);
    received_bytes_.fetch_add(exchange->received_bytes, std::memory_order_relaxed);
    NoteEnd(*exchange, now_ns);
    const bool throttled = exchange->status == 429 || exchange->status == 503;
    if (throttled) throttled_.fetch_add(1, std::memory_order_relaxed);
    // A server that fails quickly has done no work, and does not ask for more.
    const bool worked = exchange->status != 0 && exchange->status < 500;
    const bool answered = worked && exchange->fault == Fault::kNone;
    // A body that cannot come in the time of a try: too many share the way. Silence is another thing.
    const bool choked = exchange->fault == Fault::kTimeout && exchange->received_bytes > 0;
    if (throttled || choked || answered) {
      concurrency_.NoteEnd({transfer->began_ns(), exchange->received_bytes, throttled || choked,
                            !waiting_.empty()},
                           now_ns);
      concurrency_now_.store(concurrency_.limit(), std::memory_order_relaxed);
    }
    idle_.push_back(std::move(transfer));
    return exchange;
  }

  void NoteEnd(const HttpExchange& exchange, std::int64_t now_ns) {
    const std::uint64_t sent_bytes = exchange.send_body.size();
    requests_.NoteEnd({exchange.kind, exchange.status, exchange.received_bytes, sent_bytes,
                       now_ns - exchange.sent_ns});
    if (pacer_ != nullptr)
      pacer_->NoteMoved(exchange.expected_bytes, exchange.received_bytes + sent_bytes, now_ns);
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
    std::erase_if(waiting_, [&](HttpExchange* exchange) {
      if (!predicate(*exchange)) return false;
      ending_.push_back(exchange);
      return true;
    });
    while (!ending_.empty()) {  // whoever is told may withdraw another one
      HttpExchange* exchange = ending_.front();
      ending_.pop_front();
      EndWithout(exchange, fault, sentence);
    }
  }

  // Ends an exchange that is not on the wire.
  static void EndWithout(HttpExchange* exchange, Fault fault, const char* sentence) {
    exchange->status = 0;
    exchange->fault = fault;
    exchange->fault_sentence = sentence;
    exchange->OnOver();
  }

  static constexpr std::int64_t kNever = INT64_MAX;

  const HttpLimits limits_;
  Clock* const clock_;
  Pacer* const pacer_;
  SocketEvents events_;
  CURLM* multi_ = nullptr;
  CURLSH* share_ = nullptr;

  std::mutex mutex_;
  std::vector<HttpExchange*> inbox_;  // guarded by mutex_
  bool polling_ = false;              // guarded by mutex_
  bool stopping_ = false;             // guarded by mutex_
  std::atomic<bool> any_cancelled_{false};

  // The thread's own.
  std::deque<HttpExchange*> waiting_;
  std::deque<HttpExchange*> ending_;  // will be told that they are over
  std::vector<std::unique_ptr<HttpTransfer>> active_;
  std::vector<std::unique_ptr<HttpTransfer>> idle_;
  std::int64_t next_expiry_check_ns_ = 0;
  std::int64_t held_until_ns_ = 0;  // by the pacer
  std::int64_t next_alarm_ns_ = kNever;
  ConcurrencyLimit concurrency_;

  std::atomic<std::uint64_t> exchanges_{0};
  std::atomic<std::uint64_t> connects_{0};
  std::atomic<std::uint64_t> received_bytes_{0};
  RequestCounters requests_;
  std::atomic<std::uint64_t> throttled_{0};
  std::atomic<std::uint32_t> concurrency_now_{0};
  std::thread thread_;
};

HttpClient::HttpClient(const HttpLimits& limits, Clock* clock, Pacer* pacer)
    : impl_(std::make_unique<Impl>(limits, clock, pacer)) {}
HttpClient::~HttpClient() = default;

void HttpClient::Submit(HttpExchange* exchange) { impl_->Submit(exchange); }
void HttpClient::NoteCancelled() { impl_->NoteCancelled(); }
bool HttpClient::Withdraw(HttpExchange* exchange) { return impl_->Withdraw(exchange); }
HttpCounters HttpClient::Counters() const { return impl_->Counters(); }
RequestCounts HttpClient::Requests() const { return impl_->Requests(); }

}  // namespace penstock::origin
