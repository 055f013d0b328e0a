#include "transport/file/file_origin.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/limits.h"
#include "transport/file/file_read.h"
#include "transport/file/file_version.h"
#include "transport/origin/names.h"

namespace penstock::origin {

Result<std::string> ParseFileUrl(std::string_view url, std::string* explanation) {
  constexpr std::string_view kScheme = "file://";
  std::string_view path = url;
  if (path.starts_with(kScheme)) path.remove_prefix(kScheme.size());
  if (path.starts_with("localhost/")) path.remove_prefix(std::strlen("localhost"));
  if (!path.starts_with('/')) {
    *explanation = fmt::format(
        "'{}' names no absolute folder: write file:///some/folder, with three slashes", url);
    return Fail(Code::kInvalid, "reading a file:// URL");
  }
  if (path.find('\0') != std::string_view::npos) {
    *explanation = "a file:// URL may not contain a NUL character";
    return Fail(Code::kInvalid, "reading a file:// URL");
  }
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

FileOrigin::FileOrigin(std::string folder, std::unique_ptr<FileIo> io)
    : folder_(std::move(folder)),
      meta_(MakePoolFileIo(limits::kFileMetaThreads, "pst-file-meta")),
      io_(std::move(io)) {}

FileOrigin::~FileOrigin() = default;

std::string FileOrigin::PathOf(std::string_view name) const { return JoinNames(folder_, name); }

void FileOrigin::Stat(StatOp* op) { StartJob(op, op->name, &FileOrigin::StatWork); }

void FileOrigin::List(ListOp* op) { StartJob(op, op->directory, &FileOrigin::ListWork); }

void FileOrigin::StartJob(Op* op, std::string_view name, Result<void> (*work)(Job* job)) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  if (auto valid = CheckName(name); !valid) return Complete(op, valid.error());
  auto* job = new Job;
  job->origin = this;
  job->op = op;
  job->path = PathOf(name);
  job->work = work;
  job->kind = FileCall::Kind::kRun;
  job->run = [](FileCall* call) {
    auto* self = static_cast<Job*>(call);
    self->outcome = self->work(self);
  };
  job->done = [](FileCall* call) {
    const std::unique_ptr<Job> self(static_cast<Job*>(call));
    self->origin->Unregister(self->op);
    self->origin->Complete(self->op,
                           self->outcome ? Error{Code::kOk, false, 0, ""} : self->outcome.error());
  };
  Register(op, &job->cancelled, nullptr);
  meta_->Submit(job);
}

Result<void> FileOrigin::StatWork(Job* job) {
  auto* op = static_cast<StatOp*>(job->op);
  if (job->cancelled.load(std::memory_order_relaxed)) {
    return Fail(Code::kCancelled, "looking at a file");
  }
  if (SystemClock::Get().NowNs() >= op->deadline_ns) {
    return Fail(Code::kDeadline, "looking at a file", true);
  }
  struct stat attributes;
  if (const int err = FreshStat(AT_FDCWD, job->path.c_str(), &attributes); err != 0) {
    return std::unexpected(ErrnoError(err, "looking at a file"));
  }
  if (!IsServed(attributes)) return Fail(Code::kNotFound, "looking at a special file");
  op->info.name = op->name;
  FillInfo(attributes, &op->info);
  return {};
}

Result<void> FileOrigin::ListWork(Job* job) {
  return job->origin->lister_.List(job->path, static_cast<ListOp*>(job->op), job->cancelled);
}

void FileOrigin::Read(ReadOp* op) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  if (auto valid = CheckName(op->name); !valid) return Complete(op, valid.error());
  auto* read = new FileRead(io_.get(), op, PathOf(op->name), this, &FileOrigin::ReadFinished);
  Register(op, nullptr, read);
  read->Start();
}

void FileOrigin::ReadFinished(void* origin, FileRead* read, Error error) {
  auto* self = static_cast<FileOrigin*>(origin);
  ReadOp* op = read->op();
  const std::uint64_t bytes = read->size() - read->hole_bytes();
  self->Unregister(op);
  delete read;
  if (error.code == Code::kOk) self->bytes_read_.fetch_add(bytes, std::memory_order_relaxed);
  self->Complete(op, error);
}

void FileOrigin::Cancel(Op* op) {
  const std::lock_guard lock(mutex_);
  const auto found = active_.find(op);
  if (found == active_.end()) return;
  if (found->second.read != nullptr) found->second.read->Cancel();
  if (found->second.cancelled != nullptr) {
    found->second.cancelled->store(true, std::memory_order_relaxed);
  }
}

void FileOrigin::Register(Op* op, std::atomic<bool>* cancelled, FileRead* read) {
  const std::lock_guard lock(mutex_);
  active_.emplace(op, Active{cancelled, read});
}

void FileOrigin::Unregister(Op* op) {
  const std::lock_guard lock(mutex_);
  active_.erase(op);
}

void FileOrigin::Complete(Op* op, Error error) {
  if (error.code != Code::kOk) errors_.fetch_add(1, std::memory_order_relaxed);
  op->error = error;
  op->done(op);
}

OriginStats FileOrigin::Stats() const {
  OriginStats stats;
  stats.requests = requests_.load(std::memory_order_relaxed);
  stats.bytes_read = bytes_read_.load(std::memory_order_relaxed);
  stats.errors = errors_.load(std::memory_order_relaxed);
  return stats;
}

void FileOrigin::StartProbe(ProbeOp* op) { StartJob(op, "", &FileOrigin::ProbeWork); }

Result<void> FileOrigin::ProbeWork(Job* job) {
  return job->origin->LookAtFolder(&static_cast<ProbeOp*>(job->op)->explanation);
}

Result<void> FileOrigin::LookAtFolder(std::string* explanation) const {
  struct stat attributes;
  if (stat(folder_.c_str(), &attributes) != 0) {
    const Error error = ErrnoError(errno, "looking at the origin's folder");
    *explanation =
        error.code == Code::kNotFound
            ? fmt::format("the folder {} does not exist", folder_)
            : fmt::format("the folder {}: {}", folder_, std::strerror(error.errno_value));
    return std::unexpected(error);
  }
  if (!S_ISDIR(attributes.st_mode)) {
    *explanation = fmt::format("{} is not a folder", folder_);
    return Fail(Code::kNotDirectory, "looking at the origin's folder");
  }
  if (access(folder_.c_str(), R_OK | X_OK) != 0) {
    *explanation =
        fmt::format("the sidecar (uid {}) may not read the folder {}", geteuid(), folder_);
    return Fail(Code::kPermission, "looking at the origin's folder");
  }
  return {};
}

std::string FileOrigin::Describe() const { return "file://" + folder_; }

}  // namespace penstock::origin
