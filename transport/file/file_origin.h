// A folder as an origin: file:///some/dir.
//
// The path in the URL is taken as it stands, nothing is percent-decoded. Symbolic links inside the
// folder are followed wherever they lead: the sidecar's own permissions are the limit. Sockets,
// pipes, devices and links that lead nowhere are left out of listings (counted in ListOp::skipped)
// and do not exist for Stat and Read.
//
// Deadlines are looked at between kernel calls: one that hangs (a network mount whose server is
// gone) keeps its operation, because the kernel owns the buffers.
//
// Thread safety: as Origin says.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "transport/file/file_io.h"
#include "transport/file/file_list.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

class FileRead;

// The folder that a file:// URL names; kInvalid with a sentence in `explanation` for a wrong one.
Result<std::string> ParseFileUrl(std::string_view url, std::string* explanation);

class FileOrigin final : public Origin {
 public:
  // `folder` is an absolute path; reads run on `io`, everything else on threads of its own.
  FileOrigin(std::string folder, std::unique_ptr<FileIo> io);
  ~FileOrigin() override;

  void Stat(StatOp* op) override;
  void Read(ReadOp* op) override;
  void List(ListOp* op) override;
  bool KnowsRoot() const override { return true; }
  void Cancel(Op* op) override;
  OriginStats Stats() const override;
  void StartProbe(ProbeOp* op) override;
  std::string Describe() const override;

  const char* IoName() const { return io_->Name(); }

 private:
  // Stat and List: one blocking job.
  struct Job : FileCall {
    FileOrigin* origin = nullptr;
    Op* op = nullptr;
    std::string path;
    std::atomic<bool> cancelled{false};
    Result<void> outcome;
    Result<void> (*work)(Job* job) = nullptr;
  };

  std::string PathOf(std::string_view name) const;
  Result<void> LookAtFolder(std::string* explanation) const;
  void StartJob(Op* op, std::string_view name, Result<void> (*work)(Job* job));
  static Result<void> StatWork(Job* job);
  static Result<void> ListWork(Job* job);
  static Result<void> ProbeWork(Job* job);
  static void ReadFinished(void* origin, FileRead* read, Error error);

  void Register(Op* op, std::atomic<bool>* cancelled, FileRead* read);
  void Unregister(Op* op);
  void Complete(Op* op, Error error);

  struct Active {
    std::atomic<bool>* cancelled;
    FileRead* read;
  };

  const std::string folder_;
  FileLister lister_;
  std::mutex mutex_;
  std::unordered_map<Op*, Active> active_;  // guarded by mutex_
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> errors_{0};
  // Last: their threads end before anything that they use.
  std::unique_ptr<FileIo> meta_;
  std::unique_ptr<FileIo> io_;
};

}  // namespace penstock::origin
