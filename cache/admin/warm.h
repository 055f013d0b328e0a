// Making names and data present before anybody asks: walks paths and patterns, looks every file up
// and fetches all its ranges, a bounded number of operations at a time.
//
// Thread safety: core thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "cache/engine/engine.h"

namespace penstock::cache {

struct WarmTarget {
  std::uint32_t mount = 0;
  std::string pattern;  // relative to the mount; * ? [..] match within a component
};

struct WarmProgress {
  std::uint64_t files = 0;
  std::uint64_t files_done = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_done = 0;
  std::uint64_t failed = 0;
  bool listing = false;  // files are still being found
  bool done = false;
  std::int64_t elapsed_ms = 0;
  std::vector<std::string> problems;  // the first few
};

class WarmJob {
 public:
  static constexpr std::size_t kOpsInFlight = 16;
  static constexpr std::size_t kMaxProblems = 20;

  WarmJob(Engine* engine, std::vector<WarmTarget> targets, std::vector<std::string> mount_paths);
  ~WarmJob();  // Cancel() and done() before
  WarmJob(const WarmJob&) = delete;
  WarmJob& operator=(const WarmJob&) = delete;

  void Start();
  void Cancel();  // ends soon
  WarmProgress Progress() const;
  bool done() const { return done_; }

 private:
  struct Step;
  struct Walk {  // a name to look at
    std::uint32_t mount = 0;
    std::string path;
    std::string rest;    // components of the pattern that are still to be matched below `path`
    bool named = false;  // a person named it: it must be there
  };
  struct File {
    std::uint32_t mount = 0;
    std::string path;
    std::uint64_t size = 0;
    std::uint64_t version = 0;
    std::uint64_t next = 0;         // where the next chunk starts
    std::uint32_t chunks_left = 0;  // not over yet
    bool failed = false;
  };

  void Pump();
  bool BeginNext();
  void Begin(std::unique_ptr<Step> step);
  static void Done(EngineOp* op);
  void Handle(std::unique_ptr<Step> step);
  void Looked(std::unique_ptr<Step> step);
  void Listed(std::unique_ptr<Step> step);
  void ListingCame(std::unique_ptr<Step> step);
  void TakePage(const Step& step, std::span<const std::byte> all);
  void Child(const Walk& parent, std::string_view name, bool directory);
  void AddFile(const Walk& walk, const pst_attr& attr);
  void Fetched(std::unique_ptr<Step> step);
  void Problem(const Walk& walk, int err);

  Engine* engine_;
  std::vector<std::string> mount_paths_;
  std::deque<Walk> walks_;
  std::deque<std::shared_ptr<File>> files_;
  std::unordered_set<Step*> running_;
  std::deque<std::unique_ptr<Step>> ready_;
  std::size_t walking_ = 0;  // steps of walks that run
  WarmProgress progress_;
  std::int64_t started_ns_ = 0;
  std::int64_t ended_ns_ = 0;
  bool cancelled_ = false;
  bool done_ = false;
  bool pumping_ = false;
};

}  // namespace penstock::cache
