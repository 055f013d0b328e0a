#include "cache/job/job_identity.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/job/fd.h"

namespace penstock::cache {
namespace {

constexpr char kNewJobFile[] = "job.new";
constexpr std::size_t kMaxJobFileBytes = 256;

std::string ReadSmall(int dir, const char* name) {
  Fd fd(::openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  char text[kMaxJobFileBytes];
  const ssize_t n = fd.valid() ? ::read(fd.get(), text, sizeof text) : -1;
  return n <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(n));
}

std::string BootId() {
  std::string boot = ReadSmall(AT_FDCWD, "/proc/sys/kernel/random/boot_id");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return boot;
}

std::string Format(const JobIdentity& job, const std::string& boot) {
  char text[kMaxJobFileBytes];
  const int n = std::snprintf(text, sizeof text,
                              "penstock-job 1\nid %016" PRIx64 "\nstarts %" PRIu64 "\nboot %s\n",
                              job.id, job.starts, boot.c_str());
  return n > 0 && n < static_cast<int>(sizeof text) ? std::string(text, n) : std::string();
}

}  // namespace

Result<JobIdentity> OpenJobIdentity(int folder_fd) {
  const std::string boot = BootId();
  const std::string text = ReadSmall(folder_fd, kJobFile);
  JobIdentity job;
  // Parsed, then formatted again: only a file that is exactly what we write counts.
  if (std::sscanf(text.c_str(), "penstock-job 1\nid %16" SCNx64 "\nstarts %20" SCNu64, &job.id,
                  &job.starts) == 2 &&
      job.id != 0 && Format(job, boot) == text) {
    job.resumed = true;
  } else {
    job = {};
    while (job.id == 0) {
      if (::getrandom(&job.id, sizeof job.id, 0) != sizeof job.id)
        return std::unexpected(ErrnoError(errno, "choosing the job's id"));
    }
  }
  job.starts++;
  const std::string next = Format(job, boot);
  (void)::unlinkat(folder_fd, kNewJobFile, 0);
  Fd out(::openat(folder_fd, kNewJobFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out.valid()) return std::unexpected(ErrnoError(errno, "writing the job's file"));
  const ssize_t n = ::write(out.get(), next.data(), next.size());
  if (n != static_cast<ssize_t>(next.size()))
    return std::unexpected(ErrnoError(n < 0 ? errno : ENOSPC, "writing the job's file"));
  if (::renameat(folder_fd, kNewJobFile, folder_fd, kJobFile) != 0)
    return std::unexpected(ErrnoError(errno, "writing the job's file"));
  return job;
}

}  // namespace penstock::cache
