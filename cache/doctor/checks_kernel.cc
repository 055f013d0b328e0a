#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cache/doctor/checks.h"
#include "cache/job/fd.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4u
#endif

namespace penstock::cache::doctor {
namespace {

constexpr std::size_t kHuge = 2u << 20;

std::string StatusLine(const char* key) {
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return "";
  char line[256];
  std::string value;
  const std::size_t length = std::strlen(key);
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, key, length) != 0 || line[length] != ':') continue;
    value = line + length + 1;
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.erase(0, 1);
    while (!value.empty() && value.back() == '\n') value.pop_back();
    break;
  }
  (void)std::fclose(file);
  return value;
}

// What MADV_COLLAPSE says of one huge page of a memory file, as the arena has it. 0 or errno.
int TryCollapse() {
  const Fd fd(::memfd_create("penstock-doctor", MFD_CLOEXEC));
  if (!fd.valid() || ::ftruncate(fd.get(), 2 * kHuge) != 0) return errno;
  void* map = ::mmap(nullptr, 2 * kHuge, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) return errno;
  const auto start = (reinterpret_cast<std::uintptr_t>(map) + kHuge - 1) & ~(kHuge - 1);
  auto* aligned = reinterpret_cast<char*>(start);
  std::memset(aligned, 1, kHuge);
  const int rc = ::madvise(aligned, kHuge, MADV_COLLAPSE);
  const int saved = rc == 0 ? 0 : errno;
  ::munmap(map, 2 * kHuge);
  return saved;
}

}  // namespace

void CheckKernel(Checks& to) {
  utsname name{};
  (void)::uname(&name);
  int major = 0, minor = 0;
  (void)std::sscanf(name.release, "%d.%d", &major, &minor);
  const std::string found = fmt::format("Linux {} on {}", name.release, name.machine);
  if (major < 5 || (major == 5 && minor < 9)) {
    Add(to, "kernel", Verdict::kFail, found,
        "Penstock needs Linux 5.9 or later (pidfd, close_range, sealed memory files)");
  } else if (major == 5 && minor < 15) {
    Add(to, "kernel", Verdict::kWarn, found, "tested from 5.15 on: plan an upgrade of the node");
  } else {
    Add(to, "kernel", Verdict::kOk, found);
  }
}

void CheckIoUring(Checks& to) {
  const char* off = std::getenv("PENSTOCK_NO_IO_URING");
  io_uring ring;
  const int rc = ::io_uring_queue_init(4, &ring, 0);
  if (rc == 0) ::io_uring_queue_exit(&ring);
  if (rc == 0 && off != nullptr && std::strcmp(off, "1") == 0) {
    Add(to, "io-uring", Verdict::kWarn, "allowed, but PENSTOCK_NO_IO_URING=1 is set",
        "unset it unless you mean it");
  } else if (rc == 0) {
    Add(to, "io-uring", Verdict::kOk, "allowed");
  } else {
    const std::string setting = FirstLine("/proc/sys/kernel/io_uring_disabled");
    Add(to, "io-uring", Verdict::kWarn,
        fmt::format(
            "not allowed here ({}{}): the sidecar works on epoll and threads instead",
            std::strerror(-rc),
            setting.empty() || setting == "0" ? "" : ", kernel.io_uring_disabled=" + setting),
        "a little slower on file I/O; allow it for the sidecar in the container's seccomp profile");
  }
}

void CheckMemfd(Checks& to) {
  const Fd fd(::memfd_create("penstock-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ::ftruncate(fd.get(), 4096) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    Add(to, "memory-files", Verdict::kFail,
        fmt::format("memfd_create with seals does not work: {}", std::strerror(errno)),
        "allow memfd_create and fcntl(F_ADD_SEALS) in the container's seccomp profile");
    return;
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) {
    Add(to, "memory-files", Verdict::kFail, "no F_SEAL_FUTURE_WRITE",
        "Linux 5.1 or later is needed: without it a program of the sidecar's user could write the "
        "arena");
    return;
  }
  Add(to, "memory-files", Verdict::kOk, "memfd_create and seals work");
}

void CheckHugePages(Checks& to) {
  const Fd fd(::memfd_create("penstock-doctor", MFD_CLOEXEC | MFD_HUGETLB));
  bool hugetlb = fd.valid() && ::ftruncate(fd.get(), kHuge) == 0;
  if (hugetlb) {
    // Only a mapping reserves pages: it fails where none are left.
    void* map = ::mmap(nullptr, kHuge, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    hugetlb = map != MAP_FAILED;
    if (hugetlb) ::munmap(map, kHuge);
  }
  const int collapse = TryCollapse();
  const std::string shmem = FirstLine("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  if (hugetlb) {
    Add(to, "huge-pages", Verdict::kOk,
        "hugetlb pages are there: first reads need few page faults");
  } else if (collapse == 0) {
    Add(to, "huge-pages", Verdict::kOk,
        "no hugetlb pages, but MADV_COLLAPSE makes huge pages of the arena");
  } else {
    Add(to, "huge-pages", Verdict::kWarn,
        fmt::format(
            "neither hugetlb pages nor MADV_COLLAPSE ({}), shmem_enabled: {}; the arena uses "
            "4 KiB pages",
            std::strerror(collapse), shmem.empty() ? "unknown" : shmem),
        "correct, but the first read of each page is slower: reserve pages with vm.nr_hugepages "
        "(in "
        "Kubernetes hugepages-2Mi)");
  }
}

void CheckSeccomp(Checks& to) {
  const std::string mode = StatusLine("Seccomp");
  const bool no_new_privs = StatusLine("NoNewPrivs") == "1";
  const std::string privs = no_new_privs ? "; no_new_privs is set" : "";
  if (mode == "2")
    Add(to, "seccomp", Verdict::kOk, "a filter is active, as in most containers" + privs);
  else if (mode == "1")
    Add(to, "seccomp", Verdict::kFail, "strict mode: nothing but read and write is allowed",
        "run outside this sandbox");
  else
    Add(to, "seccomp", Verdict::kOk, "no filter" + privs);
}

// Static and Go programs are supervised by seccomp user notification (shim/supervise).
void CheckSupervision(Checks& to) {
  const std::uint32_t action = SECCOMP_RET_USER_NOTIF;
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
    const int error = errno;
    Add(to, "static-programs", Verdict::kWarn,
        fmt::format("cannot be supervised: seccomp(2) says {}", std::strerror(error)),
        "covered paths are not served to static and Go programs here: allow seccomp(2) in the container's profile "
        "(the default ones do), Linux 5.14 or newer");
    return;
  }
  const std::string yama = FirstLine("/proc/sys/kernel/yama/ptrace_scope");
  if (yama.empty() || yama == "0") {
    Add(to, "static-programs", Verdict::kOk, "can be supervised");
  } else if (yama == "1") {
    Add(to, "static-programs", Verdict::kOk, "can be supervised; kernel.yama.ptrace_scope is 1");
  } else {
    Add(to, "static-programs", Verdict::kWarn,
        "cannot be supervised: kernel.yama.ptrace_scope is " + yama,
        "covered paths are not served to static and Go programs here: set kernel.yama.ptrace_scope to 1 or 0, or give the "
        "container CAP_SYS_PTRACE");
  }
}

void CheckNamespaces(Checks& to) {
  const std::string inner = StatusLine("NSpid");
  const std::string map = FirstLine("/proc/self/uid_map");
  unsigned long first = 0, outside = 0, count = 0;
  const bool mapped = std::sscanf(map.c_str(), "%lu %lu %lu", &first, &outside, &count) == 3 &&
                      !(first == 0 && outside == 0 && count >= 4294967295ul);
  std::string found = inner.find_first_of(" \t") != std::string::npos ? "nested pid namespace"
                                                                      : "one pid namespace";
  found += mapped ? ", user namespace with mapped ids" : ", user ids as on the node";
  Add(to, "namespaces", Verdict::kOk, found,
      mapped ? "list the ids as this container sees them in sidecar.allow_uids" : "");
}

}  // namespace penstock::cache::doctor
