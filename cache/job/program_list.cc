#include "cache/job/program_list.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace penstock::cache {
namespace {

constexpr std::uint32_t kMagic = 0x53505350;  // "PSPS"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kLines = 32'768;  // sessions and announced programs

// When a process started, in ticks since boot; 0 if there is none of that number, or it is dead.
std::uint64_t StartOf(std::uint32_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%u/stat", pid);
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  const ssize_t n = fd.valid() ? read(fd.get(), text, sizeof text - 1) : -1;
  if (n <= 0) return 0;
  text[n] = '\0';
  const char* at = strrchr(text, ')');  // the name before it may hold anything
  if (at == nullptr || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X') return 0;
  unsigned long long started = 0;
  // Field 22; the state behind the name is the third.
  return sscanf(at + 2,
                "%*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                &started) == 1
             ? started
             : 0;
}

}  // namespace

struct ProgramList::File {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint64_t reserved[7];
  Line lines[kLines];
};

Result<std::unique_ptr<ProgramList>> ProgramList::Open(const std::string& path,
                                                       std::vector<Survivor>* survivors) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status{};
  if (!fd.valid() || fstat(fd.get(), &status) != 0)
    return std::unexpected(ErrnoError(errno, "opening the list of programs"));
  if (!S_ISREG(status.st_mode) || status.st_uid != geteuid())
    return Fail(Code::kPermission, "the list of programs belongs to somebody else");
  if (ftruncate(fd.get(), sizeof(File)) != 0 ||
      posix_fallocate(fd.get(), 0, sizeof(File)) !=
          0)  // a full disk must be seen here, not at a store
    return Fail(Code::kNoSpace, "making the list of programs");
  void* at = mmap(nullptr, sizeof(File), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return std::unexpected(ErrnoError(errno, "mapping the list of programs"));
  auto* file = static_cast<File*>(at);
  if (file->magic == kMagic && file->version == kVersion) {
    for (const Line& line : file->lines) {
      const std::uint64_t pid = line.pid;
      if (pid == 0 || pid > INT32_MAX) continue;
      Survivor one{Fd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))),
                   static_cast<std::uint32_t>(pid)};
      // The descriptor first: what the number names then stays the same.
      if (one.pidfd.valid() && line.started != 0 && StartOf(one.pid) == line.started)
        survivors->push_back(std::move(one));
    }
  }
  memset(file, 0, sizeof *file);
  file->magic = kMagic;
  file->version = kVersion;
  std::unique_ptr<ProgramList> list(new ProgramList(path, file));
  for (std::uint32_t i = kLines; i > 0; --i) list->free_.push_back(i - 1);
  return list;
}

ProgramList::~ProgramList() { munmap(file_, sizeof(File)); }

std::uint32_t ProgramList::Add(std::uint32_t pid) {
  const std::uint64_t started = pid == 0 || free_.empty() ? 0 : StartOf(pid);
  if (started == 0) return kNowhere;
  const std::uint32_t place = free_.back();
  free_.pop_back();
  file_->lines[place] = {pid, started};
  return place;
}

void ProgramList::Remove(std::uint32_t place) {
  if (place >= kLines) return;
  file_->lines[place] = {};
  free_.push_back(place);
}

void ProgramList::Discard() { (void)unlink(path_.c_str()); }

}  // namespace penstock::cache
