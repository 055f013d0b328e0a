#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cache/doctor/checks.h"

namespace penstock::cache::doctor {
namespace {

constexpr std::uint64_t kEnoughFiles = 65'536;
constexpr std::uint64_t kTooFewFiles = 1024;
constexpr std::uint64_t kOverheadBytes = 64ull << 20;  // of the sidecar beside its arena

// The tightest memory limit above this process; 0 if there is none that can be seen.
std::uint64_t CgroupLimit(std::string* where) {
  std::uint64_t tightest = 0;
  const auto look = [&](const std::string& file) {
    const std::string text = FirstLine(file);
    if (text.empty() || text == "max") return;
    const std::uint64_t limit = std::strtoull(text.c_str(), nullptr, 10);
    if (limit == 0 || limit >= 1ull << 60) return;  // v1 says "none" by a huge number
    if (tightest == 0 || limit < tightest) {
      tightest = limit;
      *where = file;
    }
  };
  const std::string line = FirstLine("/proc/self/cgroup");
  std::string path = line.starts_with("0::") ? line.substr(3) : "";
  while (path.size() > 1) {
    look("/sys/fs/cgroup" + path + "/memory.max");
    path.resize(path.rfind('/'));
  }
  look("/sys/fs/cgroup/memory.max");
  look("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return tightest;
}

}  // namespace

void CheckOpenFiles(Checks& to) {
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string found = fmt::format("{} now, at most {}", limit.rlim_cur, limit.rlim_max);
  if (limit.rlim_max < kTooFewFiles) {
    Add(to, "open-files", Verdict::kFail, found,
        "a sidecar of many programs needs more: ulimit -n, or LimitNOFILE of the container "
        "runtime");
  } else if (limit.rlim_max < kEnoughFiles) {
    Add(to, "open-files", Verdict::kWarn, found,
        fmt::format("enough for about {} programs; raise the hard limit to {}", limit.rlim_max / 8,
                    kEnoughFiles));
  } else {
    Add(to, "open-files", Verdict::kOk, found);
  }
}

void CheckLockedMemory(Checks& to) {
  rlimit limit{};
  (void)::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY)
    Add(to, "locked-memory", Verdict::kOk, "unlimited");
  else
    Add(to, "locked-memory", Verdict::kOk,
        Sizes(limit.rlim_cur) +
            "; Penstock locks none, io_uring before Linux 5.12 counts its rings");
}

void CheckMemory(Checks& to, const DoctorConfig& config) {
  std::string where;
  const std::uint64_t limit = CgroupLimit(&where);
  struct sysinfo info{};
  (void)::sysinfo(&info);
  const std::uint64_t total = std::uint64_t{info.totalram} * info.mem_unit;
  const std::uint64_t need = config.memory_bytes + kOverheadBytes;
  const std::string found = fmt::format(
      "cache.memory {} of {} in the machine{}", Sizes(config.memory_bytes), Sizes(total),
      limit == 0 ? ", no limit of the container" : ", container limit " + Sizes(limit));
  if (limit != 0 && need > limit) {
    Add(to, "memory", Verdict::kFail, found,
        fmt::format(
            "the kernel would kill the sidecar: set cache.memory to {} at most, or raise {}",
            Sizes(limit > kOverheadBytes ? limit - kOverheadBytes : 0), where));
  } else if (need > total) {
    Add(to, "memory", Verdict::kFail, found, "set cache.memory below the machine's memory");
  } else if (need > total / 10 * 8 || (limit != 0 && need > limit / 10 * 9)) {
    Add(to, "memory", Verdict::kWarn, found, "little is left for programs: lower cache.memory");
  } else {
    Add(to, "memory", Verdict::kOk, found);
  }
}

void CheckClock(Checks& to) {
  timex state{};
  const int rc = ::adjtimex(&state);
  if (rc < 0) {
    Add(to, "clock", Verdict::kOk, "whether the clock is synchronised cannot be seen here");
  } else if (rc == TIME_ERROR || (state.status & STA_UNSYNC) != 0) {
    Add(to, "clock", Verdict::kWarn,
        "the kernel says that nothing synchronises this machine's clock",
        "Blob refuses requests (403) when the clock is off by more than 15 minutes: run chrony or "
        "systemd-timesyncd on the node");
  } else {
    Add(to, "clock", Verdict::kOk, "synchronised");
  }
}

}  // namespace penstock::cache::doctor
