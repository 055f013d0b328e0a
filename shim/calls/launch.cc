#include "shim/calls/launch.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/core/outside.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/supervise/program.h"

namespace penstock {
namespace {

constexpr size_t kHeadBytes = 4096;

// Copies a word of a "#!" line. Where it ended.
const char* Word(const char* at, const char* end, bool to_line_end, char* to, size_t capacity) {
  while (at < end && (*at == ' ' || *at == '\t')) ++at;
  const char* start = at;
  while (at < end && *at != '\n' && *at != '\0' && (to_line_end || (*at != ' ' && *at != '\t')))
    ++at;
  size_t len = static_cast<size_t>(at - start);
  while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t')) --len;
  if (len >= capacity) len = capacity - 1;
  memcpy(to, start, len);
  to[len] = '\0';
  return at;
}

TargetKind KindOfElf(int fd, const char* head, size_t bytes) {
  switch (PstProgramKind(fd, head, bytes)) {
    case ProgramKind::kLoads:
      return TargetKind::kDynamic;
    case ProgramKind::kRaw:
      return TargetKind::kRaw;
    case ProgramKind::kForeign:
      break;
  }
  return TargetKind::kDeaf;
}

void Inspect(int fd, const char* head, size_t bytes, Target* out) {
  if (bytes >= 2 && head[0] == '#' && head[1] == '!') {
    const char* end = head + (bytes < 256 ? bytes : 256);
    const char* at = Word(head + 2, end, false, out->interpreter, sizeof out->interpreter);
    Word(at, end, true, out->argument, sizeof out->argument);
    if (out->interpreter[0] != '\0') out->kind = TargetKind::kScript;
  } else if (bytes >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) {
    out->kind = KindOfElf(fd, head, bytes);
  }
}

// The copy of a program that nobody may execute where its file lies.
int CopyToMemory(int fd) {
  constexpr unsigned kExecutable = 0x10;  // MFD_EXEC, unknown to older kernels
  int copy = static_cast<int>(Raw(SYS_memfd_create, "program", MFD_CLOEXEC | kExecutable));
  if (copy == -EINVAL) copy = static_cast<int>(Raw(SYS_memfd_create, "program", MFD_CLOEXEC));
  if (copy < 0) return copy;
  PstFdForget(copy);
  off_t at = 0;
  for (;;) {
    ssize_t n = sendfile(copy, fd, &at, 1u << 30);
    if (n == 0) break;
    if (n < 0) {
      int err = errno;
      Raw(SYS_close, copy);
      return -err;
    }
  }
  // Open for writing it could not be executed: keep a read-only descriptor of it.
  char path[32];
  ProcFdPath(copy, path);
  int result = static_cast<int>(Raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
  Raw(SYS_close, copy);
  if (result >= 0) PstFdForget(result);
  return result;
}

}  // namespace

void InspectFd(int fd, Target* out) {
  Scratch scratch;
  char* head = scratch.Get();
  ssize_t n = head != nullptr ? pread(fd, head, kHeadBytes, 0) : -1;
  if (n > 0) Inspect(fd, head, static_cast<size_t>(n), out);
}

TargetKind InspectPath(int dirfd, const char* path) {
  Target target;
  Scratch scratch;
  char* head = scratch.Get();
  if (head == nullptr) return TargetKind::kUnknown;
  for (int depth = 0; depth <= kMaxScriptDepth; ++depth) {
    int fd = static_cast<int>(
        Raw(SYS_openat, depth == 0 ? dirfd : AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
    if (fd < 0) return fd == -EACCES ? TargetKind::kDeaf : TargetKind::kUnknown;
    struct stat st = {};
    long n = Raw(SYS_pread64, fd, head, kHeadBytes, 0);
    bool privileged = Raw(SYS_fstat, fd, &st) == 0 && (st.st_mode & (S_ISUID | S_ISGID)) != 0;
    if (!privileged) privileged = Raw(SYS_fgetxattr, fd, "security.capability", nullptr, 0) > 0;
    target = {};
    PstFdForget(fd);
    if (n > 0) Inspect(fd, head, static_cast<size_t>(n), &target);
    Raw(SYS_close, fd);
    if (target.kind != TargetKind::kScript) return privileged ? TargetKind::kDeaf : target.kind;
    path = target.interpreter;
  }
  return TargetKind::kUnknown;
}

bool Executable(int dirfd, const char* path) {
  constexpr int kNumber = 439;  // faccessat2; where the kernel has none, exec itself says it later
  long err = Raw(kNumber, dirfd, path, X_OK, AT_EACCESS);
  return err == 0 || err == -ENOSYS || err == -EPERM;
}

void MakeOpenFilesReal(bool all) {
  KeepErrno keep;
  for (uint32_t fd = 0; fd < g_fd_high; ++fd) {
    if (PstFdKindOf(static_cast<int>(fd)) != kFdFile) continue;
    long flags = Raw(SYS_fcntl, fd, F_GETFD);
    if (flags < 0 || (!all && (flags & FD_CLOEXEC) != 0)) continue;
    PstMaterialize(static_cast<int>(fd));
  }
}

int OpenProgram(const Route& route, Target* target) {
  pst_attr attr;
  int err = PstLookup(route, &attr);
  if (err != 0) return -err;
  if (attr.kind != PST_KIND_FILE) return -EACCES;
  int fd = PstOpenRoute(route, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  InspectFd(fd, target);
  // Object stores know no execute bit: without one, what starts like a program is one.
  if (target->kind == TargetKind::kUnknown || (attr.mode & PST_MODE_GIVEN) != 0) {
    err = PstCheckAccess(route.view->mounts[route.mount], attr, X_OK);
    if (err != 0) {
      close(fd);
      return -err;
    }
  }
  if (target->kind == TargetKind::kScript) {
    close(fd);
    return 0;
  }
  int copy = MakeReal(fd) != 0 ? -errno : CopyToMemory(fd);
  close(fd);
  return copy;
}

}  // namespace penstock
