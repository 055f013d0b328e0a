#include "transport/identity/token_chain.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "transport/base/clock.h"

namespace penstock::identity {
namespace {

// How long "there is no identity here" holds, unless Azure Storage refuses before.
constexpr std::int64_t kNobodyLifetimeNs = 24 * 3'600 * kNsPerSecond;

class TokenChain final : public TokenSource {
 public:
  explicit TokenChain(std::vector<std::unique_ptr<TokenSource>> sources)
      : sources_(std::move(sources)) {}

  std::string Describe() const override {
    const std::lock_guard lock(mutex_);
    if (settled_) return sources_[*settled_]->Describe();
    if (none_here_) return fmt::format("none, anonymous ({})", why_);
    return "the identity that is found on this machine";
  }

  void CountInto(origin::RequestCounters* counters) override {
    for (const auto& source : sources_) source->CountInto(counters);
  }

  void Fetch(std::int64_t deadline_ns, TokenDone done) override {
    done_ = std::move(done);
    deadline_ns_ = deadline_ns;
    std::size_t first = 0;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = false;
      if (settled_) first = *settled_;
      collected_.clear();
    }
    Ask(first);
  }

  std::string Trouble() const override {
    const std::lock_guard lock(mutex_);
    return asked_ < sources_.size() ? sources_[asked_]->Trouble() : "";
  }

  void Cancel() override {
    std::size_t asked = 0;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      asked = asked_;
    }
    if (asked < sources_.size()) sources_[asked]->Cancel();
  }

 private:
  void Ask(std::size_t index) {
    {
      const std::lock_guard lock(mutex_);
      asked_ = index;
    }
    if (index == sources_.size()) return Nobody();
    sources_[index]->Fetch(deadline_ns_, [this, index](TokenOutcome outcome) {
      OnOutcome(index, std::move(outcome));
    });
    // Cancel() may have come before this source was at work.
    bool cancelled = false;
    {
      const std::lock_guard lock(mutex_);
      cancelled = cancelled_ && asked_ == index;
    }
    if (cancelled) sources_[index]->Cancel();
  }

  void OnOutcome(std::size_t index, TokenOutcome outcome) {
    bool go_on = false;
    {
      const std::lock_guard lock(mutex_);
      if (outcome.answer) settled_ = index;
      go_on = !outcome.answer && outcome.not_here && !settled_ && !cancelled_;
      if (go_on) {
        collected_ += fmt::format("{}{}: {}", collected_.empty() ? "" : "; ",
                                  sources_[index]->Describe(), outcome.explanation);
      }
    }
    if (go_on) return Ask(index + 1);
    Finish(std::move(outcome));
  }

  void Nobody() {
    {
      const std::lock_guard lock(mutex_);
      none_here_ = true;
      why_ = collected_;
    }
    TokenOutcome outcome;
    outcome.answer = TokenAnswer{"", kNobodyLifetimeNs, 0};
    Finish(std::move(outcome));
  }

  void Finish(TokenOutcome outcome) {
    TokenDone done = std::move(done_);
    done(std::move(outcome));
  }

  TokenDone done_;
  std::int64_t deadline_ns_ = 0;

  mutable std::mutex mutex_;
  std::optional<std::size_t> settled_;  // guarded by mutex_
  bool none_here_ = false;              // guarded by mutex_
  bool cancelled_ = false;              // guarded by mutex_
  std::size_t asked_ = 0;               // guarded by mutex_
  std::string collected_;               // guarded by mutex_
  std::string why_;                     // guarded by mutex_

  // Last: their threads end, one after the other, before what they use.
  const std::vector<std::unique_ptr<TokenSource>> sources_;
};

}  // namespace

std::unique_ptr<TokenSource> MakeTokenChain(std::vector<std::unique_ptr<TokenSource>> sources) {
  return std::make_unique<TokenChain>(std::move(sources));
}

}  // namespace penstock::identity
