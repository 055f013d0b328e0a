// A prefix of a Blob container as an origin: az://account/container/prefix.
//
// The namespace is flat: a directory exists while a name lies below it, or while a blob stands for
// it (hdi_isfolder). Where a blob and a prefix share a name, List shows the directory and Stat the
// blob (one request instead of two). Names that are no paths ("a//b", "./a") are left out of
// listings and counted.
//
// Thread safety: as Origin says. `done` runs on the HTTP client's thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "transport/base/random.h"
#include "transport/blob/az_request.h"
#include "transport/blob/body_check.h"
#include "transport/http/hedging.h"
#include "transport/http/http_client.h"
#include "transport/http/retry.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

class AzTask;

class AzOrigin final : public Origin {
 public:
  // `usual_account` is what AZURE_STORAGE_ACCOUNT says, for hints.
  AzOrigin(AzLocation location, AzCredentials credentials, const OriginConfig& config,
           std::string usual_account, Clock* clock = &SystemClock::Get());
  ~AzOrigin() override;

  void Stat(StatOp* op) override;
  void Read(ReadOp* op) override;
  void List(ListOp* op) override;
  bool ReadsHeads() const override { return true; }
  bool ListsRecursively() const override { return true; }
  bool ListsInOrder() const override { return true; }
  void Put(PutOp* op) override;
  void Cancel(Op* op) override;
  void Hurry(ReadOp* op) override;
  OriginStats Stats() const override;
  RequestCounts Requests() const override;
  std::uint32_t Concurrency() const override { return client_.Counters().concurrency; }
  void StartProbe(ProbeOp* op) override;
  std::string Describe() const override { return service_.location().Describe(); }
  std::string Risk() const override;
  std::string DescribeCredentials() const override { return service_.credentials().Describe(); }

  // For AzTask.
  const AzService& service() const { return service_; }
  HttpClient& client() { return client_; }
  const RetryLimits& retry_limits() const { return retry_limits_; }
  std::optional<std::int64_t> NextTry(const FailedTry& failed, const RetryLimits& limits,
                                      std::int64_t deadline_ns);
  void NoteSuccess() { budget_.NoteSuccess(); }
  Verify verify() const { return verify_; }
  // Hedges: after how long a read is slow (0: unknown), whether one more may be sent, and what was
  // seen of them.
  std::int64_t HedgeDelayNs(std::uint64_t bytes) { return hedging_.DelayNs(bytes).value_or(0); }
  bool TakeHedge();
  void NoteHedgeWon() { hedges_won_.fetch_add(1, std::memory_order_relaxed); }
  void NoteReadLatency(std::uint64_t bytes, std::int64_t ns) { hedging_.NoteLatency(bytes, ns); }
  void NoteThrottled() { hedging_.NoteThrottled(clock_->NowNs()); }
  // One line in the log about what only a person can mend, not again and again.
  void NoteForPerson(const HttpExchange& exchange);
  std::string Explain(const HttpExchange& exchange) const;
  void Complete(AzTask* task, Error error);  // destroys the task
  // How directories are listed: by the dfs endpoint where the account has a hierarchical namespace,
  // once that has been noticed, and until an answer from there makes no sense.
  bool lists_by_dfs() const { return lists_by_dfs_.load(std::memory_order_relaxed); }
  // True once, if there is a dfs endpoint to ask; the deadline is lowered to what that may take.
  bool TakeNamespaceQuestion(std::int64_t* deadline_ns);
  void SetListsByDfs(bool on) { lists_by_dfs_.store(on, std::memory_order_relaxed); }

 private:
  // The name in the container, or why there can be none.
  Result<std::string> FullName(std::string_view name) const;
  template <typename Task, typename AnyOp>
  void StartTask(AnyOp* op, std::string_view name, std::string* probe_explanation = nullptr);
  void EndAtOnce(Op* op, Error error);

  Clock* const clock_;
  const AzService service_;
  const std::string usual_account_;
  RetryLimits retry_limits_;
  const Verify verify_;

  std::mutex mutex_;
  std::unordered_map<Op*, AzTask*> active_;  // guarded by mutex_

  // The HTTP client's thread only.
  RetryBudget budget_;
  Hedging hedging_;
  Random random_ = Random::FromEnvironment();
  std::string last_note_;
  std::int64_t last_note_ns_ = 0;

  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<bool> lists_by_dfs_{false};
  std::atomic<bool> namespace_asked_{false};
  mutable std::atomic<bool> shows_tokens_{false};  // the requests of its identity are shown here
  std::atomic<std::uint64_t> errors_{0};
  std::atomic<std::uint64_t> retries_{0};
  std::atomic<std::uint64_t> hedges_{0};
  std::atomic<std::uint64_t> hedges_won_{0};
  HttpClient client_;  // last: its thread ends before what it uses
};

}  // namespace penstock::origin
