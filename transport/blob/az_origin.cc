#include "transport/blob/az_origin.h"

#include <algorithm>
#include <utility>

#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/blob/az_errors.h"
#include "transport/blob/az_read.h"
#include "transport/blob/az_task.h"
#include "transport/identity/http_token_source.h"
#include "transport/origin/names.h"

namespace penstock::origin {
namespace {

constexpr std::int64_t kNamespaceNs = 3 * kNsPerSecond;
constexpr std::int64_t kNoteEveryNs = 60 * kNsPerSecond;

// Plain http on this very machine: a proxy would see what nobody else can, and reach another machine.
bool IsPlainAndNear(const std::string& place) {
  return place.starts_with("http://") && identity::IsLoopbackUrl(place);
}

// What may stand in a header: a version can come from a listing or a manifest that is not trusted.
bool IsHeaderText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c >= ' ' && c < 0x7F; });
}

HttpLimits MakeHttpLimits(const OriginConfig& config, const AzLocation& location) {
  HttpLimits limits;
  limits.max_connections = config.max_connections == 0 ? 1 : config.max_connections;
  limits.connect_timeout_ms = config.connect_timeout_ms;
  limits.request_timeout_ms = config.request_timeout_ms;
  limits.stall_timeout_ms = std::min(limits.stall_timeout_ms, config.request_timeout_ms);
  limits.ca_file = config.ca_file;
  limits.http2 = config.http_version == "2";
  limits.use_proxy = !IsPlainAndNear(location.origin) && !IsPlainAndNear(location.dfs_origin);
  return limits;
}

}  // namespace

AzOrigin::AzOrigin(AzLocation location, AzCredentials credentials, const OriginConfig& config,
                   std::string usual_account, Clock* clock)
    : clock_(clock),
      service_(std::move(location), std::move(credentials), clock),
      usual_account_(std::move(usual_account)),
      verify_(VerifyFromName(config.verify)),
      budget_(clock->NowNs()),
      client_(MakeHttpLimits(config, service_.location()), clock, config.pacer) {
  retry_limits_.max_tries = config.max_tries == 0 ? 1 : config.max_tries;
}

AzOrigin::~AzOrigin() {
  if (shows_tokens_) service_.credentials().tokens->ReleaseRequests();
}

Result<std::string> AzOrigin::FullName(std::string_view name) const {
  if (auto valid = CheckName(name); !valid) return std::unexpected(valid.error());
  // Blob's names are Unicode: no other can be there.
  if (!IsUtf8(name)) return Fail(Code::kNotFound, "looking for a name that is not UTF-8");
  std::string full = JoinNames(service_.location().prefix, name);
  if (CountCharacters(full) > limits::kMaxBlobNameCharacters) {
    return Fail(Code::kNameTooLong, "looking for a blob with a longer name than there can be");
  }
  return full;
}

template <typename Task, typename AnyOp>
void AzOrigin::StartTask(AnyOp* op, std::string_view name, std::string* probe_explanation) {
  auto full = FullName(name);
  if (!full) return EndAtOnce(op, full.error());
  auto* task = new Task(this, op, *std::move(full));
  if (probe_explanation != nullptr) task->MakeProbe(probe_explanation);
  {
    const std::lock_guard lock(mutex_);
    active_.emplace(op, task);
  }
  task->Start();
}

void AzOrigin::Stat(StatOp* op) { StartTask<AzStatTask>(op, op->name); }
void AzOrigin::Read(ReadOp* op) {
  if (!IsHeaderText(op->version)) {
    return EndAtOnce(op, {Code::kVersionChanged, false, 0, "reading a version that cannot be"});
  }
  StartTask<AzReadTask>(op, op->name);
}
void AzOrigin::Put(PutOp* op) { StartTask<AzPutTask>(op, op->name); }
void AzOrigin::List(ListOp* op) { StartTask<AzListTask>(op, op->directory); }

void AzOrigin::EndAtOnce(Op* op, Error error) {
  errors_.fetch_add(1, std::memory_order_relaxed);
  op->error = error;
  op->done(op);
}

void AzOrigin::Complete(AzTask* task, Error error) {
  Op* op = task->op();
  {
    const std::lock_guard lock(mutex_);
    active_.erase(op);
  }
  delete task;
  if (error.code != Code::kOk) errors_.fetch_add(1, std::memory_order_relaxed);
  op->error = error;
  op->done(op);
}

void AzOrigin::Cancel(Op* op) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(op);
    if (found == active_.end()) return;
    found->second->cancelled.store(true, std::memory_order_release);
    found->second->NoteCancelled();
  }
  client_.NoteCancelled();
}

void AzOrigin::Hurry(ReadOp* op) {
  const std::lock_guard lock(mutex_);
  const auto found = active_.find(op);
  if (found != active_.end()) found->second->prefetch.store(false, std::memory_order_relaxed);
}

OriginStats AzOrigin::Stats() const {
  const HttpCounters http = client_.Counters();
  OriginStats stats;
  stats.requests = http.exchanges;
  stats.bytes_read = http.received_bytes;
  stats.errors = errors_.load(std::memory_order_relaxed);
  stats.retries = retries_.load(std::memory_order_relaxed);
  stats.connects = http.connects;
  stats.hedges = hedges_.load(std::memory_order_relaxed);
  stats.hedges_won = hedges_won_.load(std::memory_order_relaxed);
  stats.throttled = http.throttled;
  stats.concurrency = http.concurrency;
  return stats;
}

RequestCounts AzOrigin::Requests() const {
  RequestCounts counts = client_.Requests();
  const auto& tokens = service_.credentials().tokens;
  if (tokens == nullptr) return counts;
  if (!shows_tokens_ && tokens->ClaimRequests()) shows_tokens_ = true;
  if (shows_tokens_) counts.Add(tokens->Requests());
  return counts;
}

std::optional<std::int64_t> AzOrigin::NextTry(const FailedTry& failed, const RetryLimits& limits,
                                              std::int64_t deadline_ns) {
  if (failed.status == 429 || failed.status == 503) NoteThrottled();
  const auto next_ns = NextTryNs(failed, limits, clock_->NowNs(), deadline_ns, &budget_, &random_);
  if (next_ns) retries_.fetch_add(1, std::memory_order_relaxed);
  return next_ns;
}

bool AzOrigin::TakeHedge() {
  if (!hedging_.Take(clock_->NowNs())) return false;
  hedges_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::string AzOrigin::Explain(const HttpExchange& exchange) const {
  return ExplainAnswer(exchange, service_, usual_account_, clock_->WallNs());
}

void AzOrigin::NoteForPerson(const HttpExchange& exchange) {
  std::string sentence = Explain(exchange);
  const std::int64_t now_ns = clock_->NowNs();
  if (sentence == last_note_ && now_ns - last_note_ns_ < kNoteEveryNs) return;
  log::Error("{}", sentence);
  last_note_ = std::move(sentence);
  last_note_ns_ = now_ns;
}

void AzOrigin::StartProbe(ProbeOp* op) {
  StartTask<AzStatTask>(static_cast<StatOp*>(op), "", &op->explanation);
}

std::string AzOrigin::Risk() const {
  return PlainHttpRisk(service_.location().origin, service_.credentials().kind);
}

bool AzOrigin::TakeNamespaceQuestion(std::int64_t* deadline_ns) {
  if (service_.location().dfs_origin.empty() || namespace_asked_.exchange(true)) return false;
  *deadline_ns = std::min(*deadline_ns, clock_->NowNs() + kNamespaceNs);
  return true;
}

}  // namespace penstock::origin
