#include "transport/identity/token_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "transport/base/log.h"
#include "transport/base/thread.h"

namespace penstock::identity {
namespace {

constexpr std::int64_t kLogEveryNs = 60 * kNsPerSecond;
constexpr std::int64_t kShortestGapNs = 30 * kNsPerSecond;  // between replacements
constexpr std::int64_t kIdleNs = 3'600 * kNsPerSecond;

// Where a token stops being used, a little before its end: a request takes time to arrive.
std::int64_t MarginNs(std::int64_t lifetime_ns) {
  return std::min(10 * kNsPerSecond, lifetime_ns / 10);
}

std::string Span(std::int64_t ns) {
  const std::int64_t seconds = ns / kNsPerSecond;
  if (seconds >= 7'200) return fmt::format("{} h", seconds / 3'600);
  if (seconds >= 120) return fmt::format("{} min", seconds / 60);
  return fmt::format("{} s", seconds);
}

}  // namespace

TokenKeeper::TokenKeeper(std::unique_ptr<TokenSource> source)
    : TokenKeeper(std::move(source), Pace()) {}

TokenKeeper::TokenKeeper(std::unique_ptr<TokenSource> source, const Pace& pace)
    : source_(std::move(source)), pace_(pace), described_(source_->Describe()) {
  source_->CountInto(&counters_);
  thread_ = StartThread("pst-identity", [this] { Run(); });
}

TokenKeeper::~TokenKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool TokenKeeper::Usable(std::int64_t now_ns) const {
  return current_ != nullptr && !refused_ && now_ns < current_->expires_ns;
}

TokenPtr TokenKeeper::Current() const {
  const std::int64_t now_ns = clock_->NowNs();
  const std::lock_guard lock(mutex_);
  return Usable(now_ns) ? current_ : nullptr;
}

void TokenKeeper::Wait(TokenWaiter* waiter) {
  {
    const std::lock_guard lock(mutex_);
    waiter->token = nullptr;
    waiter->token_error = {Code::kOk, false, 0, ""};
    waiter->problem.clear();
    waiters_.push_back(waiter);
  }
  changed_.notify_all();
}

void TokenKeeper::Cancel(TokenWaiter* waiter) {
  {
    const std::lock_guard lock(mutex_);
    waiter->cancelled_ = true;  // before it waits, too
    if (std::find(waiters_.begin(), waiters_.end(), waiter) == waiters_.end()) return;
  }
  changed_.notify_all();
}

bool TokenKeeper::Refuse(const TokenPtr& token) {
  const std::int64_t now_ns = clock_->NowNs();
  {
    const std::lock_guard lock(mutex_);
    if (current_ != token || refused_) return true;  // another one is there, or on its way
    if (refused_ns_ != 0 && now_ns - refused_ns_ < pace_.refused_every_ns) return false;
    refused_ns_ = now_ns;
    refused_ = true;
    next_try_ns_ = now_ns;
    error_ = {Code::kOk, false, 0, ""};
  }
  changed_.notify_all();
  return true;
}

std::string TokenKeeper::Describe() const {
  const std::int64_t now_ns = clock_->NowNs();
  const std::lock_guard lock(mutex_);
  if (!Usable(now_ns) || current_->value.empty()) return described_;
  return fmt::format("{}, token valid for {}", described_, Span(current_->expires_ns - now_ns));
}

std::string TokenKeeper::Problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

void TokenKeeper::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::int64_t now_ns = clock_->NowNs();
    if (outcome_) TakeOutcome(now_ns);
    if (const auto ended = TakeEnded(now_ns); !ended.empty()) {
      lock.unlock();
      for (TokenWaiter* waiter : ended) waiter->OnToken();
      lock.lock();
      continue;
    }
    if (ShouldFetch(now_ns)) {
      StartFetch(&lock);
      continue;
    }
    const std::int64_t wait_ns = std::max<std::int64_t>(0, NextEventNs(now_ns) - now_ns);
    changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns));
  }
  if (!fetching_) return;
  lock.unlock();
  source_->Cancel();
  lock.lock();
  changed_.wait(lock, [this] { return !fetching_; });
}

bool TokenKeeper::ShouldFetch(std::int64_t now_ns) const {
  if (fetching_ || now_ns < next_try_ns_) return false;
  if (Usable(now_ns)) return now_ns >= current_->refresh_ns;
  return !waiters_.empty();
}

void TokenKeeper::StartFetch(std::unique_lock<std::mutex>* lock) {
  fetching_ = true;
  fetches_.fetch_add(1, std::memory_order_relaxed);
  lock->unlock();
  source_->Fetch(clock_->NowNs() + pace_.fetch_timeout_ns, [this](TokenOutcome outcome) {
    std::string described = source_->Describe();
    const std::lock_guard guard(mutex_);
    described_ = std::move(described);
    outcome_ = std::move(outcome);
    fetching_ = false;
    // Under the lock: once it is free, the keeper may be gone.
    changed_.notify_all();
  });
  lock->lock();
}

void TokenKeeper::TakeOutcome(std::int64_t now_ns) {
  TokenOutcome outcome = *std::move(outcome_);
  outcome_.reset();
  if (outcome.answer) return TakeToken(*std::move(outcome.answer), now_ns);
  TakeFailure(outcome, now_ns);
}

void TokenKeeper::TakeToken(TokenAnswer answer, std::int64_t now_ns) {
  auto token = std::make_shared<Token>();
  token->value = std::move(answer.value);
  token->expires_ns = now_ns + answer.lifetime_ns - MarginNs(answer.lifetime_ns);
  std::int64_t after_ns = answer.refresh_in_ns;
  if (after_ns == 0) {
    after_ns = static_cast<std::int64_t>(static_cast<double>(answer.lifetime_ns) *
                                         (0.5 + 0.15 * random_.Fraction()));
  }
  // A service that gives its old token again and again is not asked all the time.
  after_ns = std::max(after_ns, std::min(kShortestGapNs, answer.lifetime_ns / 2));
  token->refresh_ns = now_ns + after_ns;
  const bool first = current_ == nullptr || !problem_.empty();
  current_ = std::move(token);
  refused_ = false;
  failures_ = 0;
  next_try_ns_ = 0;
  error_ = {Code::kOk, false, 0, ""};
  problem_.clear();
  const std::string sentence =
      current_->value.empty()
          ? fmt::format("signing in to Azure Storage: {}", described_)
          : fmt::format("signed in to Azure Storage: {}, token valid for {}, new one in {}",
                        described_, Span(answer.lifetime_ns), Span(after_ns));
  log::Write(first ? log::Level::kInfo : log::Level::kDebug, sentence);
}

void TokenKeeper::TakeFailure(const TokenOutcome& outcome, std::int64_t now_ns) {
  error_ = outcome.answer.error();
  problem_ = fmt::format("{}: {}", described_, outcome.explanation);
  const unsigned doublings = std::min(failures_, 16u);
  ++failures_;
  const std::int64_t whole_ns = std::min(pace_.first_wait_ns << doublings, pace_.longest_wait_ns);
  next_try_ns_ = now_ns + whole_ns / 2 +
                 static_cast<std::int64_t>(random_.Fraction() * static_cast<double>(whole_ns) / 2);
  if (problem_ == logged_ && now_ns - logged_ns_ < kLogEveryNs) return;
  logged_ = problem_;
  logged_ns_ = now_ns;
  if (Usable(now_ns)) {
    log::Warning("{} (the present token is good for another {})", problem_,
                 Span(current_->expires_ns - now_ns));
  } else {
    log::Error("{}", problem_);
  }
}

std::vector<TokenWaiter*> TokenKeeper::TakeEnded(std::int64_t now_ns) {
  const bool usable = Usable(now_ns);
  const bool hopeless = !usable && !fetching_ && error_.code != Code::kOk && !error_.retryable &&
                        now_ns < next_try_ns_;
  std::vector<TokenWaiter*> ended;
  std::erase_if(waiters_, [&](TokenWaiter* waiter) {
    if (waiter->cancelled_) {
      waiter->token_error = {Code::kCancelled, false, 0, "waiting for a token"};
    } else if (usable) {
      waiter->token = current_;
    } else if (hopeless) {
      waiter->token_error = error_;
      waiter->problem = problem_;
    } else if (waiter->wait_until_ns <= now_ns) {
      waiter->token_error = error_.code == Code::kOk
                                ? Error{Code::kDeadline, true, 0, "waiting for a token"}
                                : error_;
      waiter->problem = WhyLate();
    } else {
      return false;
    }
    ended.push_back(waiter);
    return true;
  });
  return ended;
}

std::string TokenKeeper::WhyLate() const {
  if (!problem_.empty()) return problem_;
  const std::string trouble = fetching_ ? source_->Trouble() : "";
  return fmt::format("{}: {}", described_, trouble.empty() ? "no token in time" : trouble);
}

std::int64_t TokenKeeper::NextEventNs(std::int64_t now_ns) const {
  std::int64_t next_ns = now_ns + kIdleNs;
  for (const TokenWaiter* waiter : waiters_) next_ns = std::min(next_ns, waiter->wait_until_ns);
  if (fetching_) return next_ns;  // its end wakes us
  if (Usable(now_ns)) {
    next_ns = std::min(next_ns, std::max(current_->refresh_ns, next_try_ns_));
  } else if (!waiters_.empty()) {
    next_ns = std::min(next_ns, next_try_ns_);
  }
  return next_ns;
}

}  // namespace penstock::identity
