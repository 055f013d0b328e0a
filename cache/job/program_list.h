// The programs of a job, in a file that outlives the sidecar: a successor that is to end by itself
// some time after the last program (`--linger`) must know of those that live and have not asked it
// anything yet.
//
// A line is a process id and when that process started, so that a number which was given out again
// names nobody. Ids are of the sidecar's own pid namespace; processes elsewhere are not listed.
//
// Thread safety: core thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/job/fd.h"
#include "transport/base/result.h"

namespace penstock::cache {

class ProgramList {
 public:
  struct Survivor {
    Fd pidfd;
    std::uint32_t pid = 0;
  };

  // Opens or makes the file. `survivors`: who was listed and still lives; the list is empty then.
  static Result<std::unique_ptr<ProgramList>> Open(const std::string& path,
                                                   std::vector<Survivor>* survivors);
  ~ProgramList();
  ProgramList(const ProgramList&) = delete;
  ProgramList& operator=(const ProgramList&) = delete;

  // The place it got; kNowhere if there is none: it is not listed then.
  std::uint32_t Add(std::uint32_t pid);
  void Remove(std::uint32_t place);
  static constexpr std::uint32_t kNowhere = UINT32_MAX;

  // Removes the file.
  void Discard();

 private:
  struct Line {
    std::uint64_t pid;      // 0: free
    std::uint64_t started;  // as /proc/PID/stat says it
  };
  struct File;

  ProgramList(std::string path, File* file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  File* file_;
  std::vector<std::uint32_t> free_;
};

}  // namespace penstock::cache
