#include "transport/origin/tree_lister.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/base/clock.h"
#include "transport/origin/names.h"
#include "transport/origin/tree_plan.h"

namespace penstock::origin {
namespace {

// From so many child directories on they are divided into flat listings.
constexpr std::size_t kEnoughChildren = 16;
// So many requests are spent at most on finding where to divide.
constexpr std::uint64_t kMaxExpansions = 64;

class Lister {
 public:
  Lister(Origin* origin, const TreeOptions& options, const std::function<void(ObjectInfo&&)>& entry)
      : origin_(origin), options_(options), entry_(entry) {}

  Result<TreeProgress> Run(std::string* failed_at);

 private:
  struct Question : ListOp {
    Lister* lister = nullptr;
    std::vector<std::string> children;  // directories, of a hierarchical one
  };

  void Ask(std::string directory, bool recursive, std::string name_prefix);
  void Begin(std::unique_ptr<Question> question);
  // The next answer, or null when it is time to report.
  std::unique_ptr<Question> Next();
  void Take(std::unique_ptr<Question> question);
  void Divide(const Question& question);
  void Abort();

  Origin* const origin_;
  const TreeOptions& options_;
  const std::function<void(ObjectInfo&&)>& entry_;
  TreeProgress progress_;
  std::uint64_t expansions_ = 0;
  std::deque<std::unique_ptr<Question>> waiting_;
  std::vector<Question*> running_;

  std::mutex mutex_;
  std::condition_variable answered_;
  std::deque<Question*> answers_;  // guarded by mutex_
};

void Lister::Ask(std::string directory, bool recursive, std::string name_prefix) {
  auto question = std::make_unique<Question>();
  question->directory = std::move(directory);
  question->recursive = recursive;
  question->name_prefix = std::move(name_prefix);
  waiting_.push_back(std::move(question));
}

void Lister::Begin(std::unique_ptr<Question> question) {
  Question* op = question.release();  // comes back through answers_
  op->lister = this;
  op->deadline_ns = SystemClock::Get().NowNs() + options_.deadline_ns;
  op->done = [](Op* done_op) {
    auto* answer = static_cast<Question*>(done_op);
    Lister* lister = answer->lister;
    const std::lock_guard lock(lister->mutex_);
    lister->answers_.push_back(answer);
    lister->answered_.notify_one();
  };
  running_.push_back(op);
  ++progress_.lists;
  origin_->List(op);
}

std::unique_ptr<Lister::Question> Lister::Next() {
  std::unique_lock lock(mutex_);
  const auto pause = std::chrono::nanoseconds(options_.progress_ns);
  if (!answered_.wait_for(lock, pause, [this] { return !answers_.empty(); })) return nullptr;
  std::unique_ptr<Question> question(answers_.front());
  answers_.pop_front();
  std::erase(running_, question.get());
  return question;
}

void Lister::Take(std::unique_ptr<Question> question) {
  progress_.skipped += question->skipped;
  for (ObjectInfo& info : question->entries) {
    // Below a divided directory, its own children have come already.
    if (question->recursive && info.name.find('/') == std::string::npos) continue;
    if (!question->recursive && info.kind == ObjectKind::kDirectory) {
      question->children.push_back(info.name);
    }
    info.name = JoinNames(question->directory, info.name);
    ++progress_.entries;
    entry_(std::move(info));
  }
  question->entries.clear();
  if (!question->next_marker.empty()) {
    question->marker = std::move(question->next_marker);
    // First in line: a long listing should not be the last to end.
    waiting_.push_front(std::move(question));
    return;
  }
  if (!question->recursive) Divide(*question);
}

void Lister::Divide(const Question& question) {
  const bool flat = origin_->ListsRecursively() &&
                    (question.children.size() >= kEnoughChildren || expansions_ >= kMaxExpansions);
  if (!flat) {
    for (const std::string& child : question.children) {
      ++expansions_;
      Ask(JoinNames(question.directory, child), false, "");
    }
    return;
  }
  std::vector<std::string_view> names(question.children.begin(), question.children.end());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (std::string& prefix : PlanPrefixes(names, options_.at_once)) {
    Ask(question.directory, true, std::move(prefix));
  }
}

// Nothing may be under way any more when the questions go.
void Lister::Abort() {
  for (Question* question : std::vector<Question*>(running_)) origin_->Cancel(question);
  while (!running_.empty()) (void)Next();
}

Result<TreeProgress> Lister::Run(std::string* failed_at) {
  Ask("", false, "");
  std::int64_t reported_ns = 0;
  while (!waiting_.empty() || !running_.empty()) {
    while (!waiting_.empty() && running_.size() < options_.at_once) {
      std::unique_ptr<Question> question = std::move(waiting_.front());
      waiting_.pop_front();
      Begin(std::move(question));
    }
    std::unique_ptr<Question> answer = Next();
    const std::int64_t now_ns = SystemClock::Get().NowNs();
    if (options_.progress && now_ns - reported_ns >= options_.progress_ns) {
      reported_ns = now_ns;
      if (!options_.progress(progress_)) {
        Abort();
        return Fail(Code::kCancelled, "listing a tree");
      }
    }
    if (!answer) continue;
    const Code code = answer->error.code;  // between two looks a folder may go, or become a file
    const bool gone =
        (code == Code::kNotFound || code == Code::kNotDirectory) && !answer->directory.empty();
    if (answer->ok()) {
      Take(std::move(answer));
    } else if (!gone) {
      *failed_at = answer->directory;
      const Error error = answer->error;
      Abort();
      return std::unexpected(error);
    }
  }
  return progress_;
}

}  // namespace

Result<TreeProgress> ListTree(Origin* origin, const TreeOptions& options,
                              const std::function<void(ObjectInfo&&)>& entry,
                              std::string* failed_at) {
  return Lister(origin, options, entry).Run(failed_at);
}

}  // namespace penstock::origin
