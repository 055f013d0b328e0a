#include "shim/core/job_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shim/abi/open_file.h"
#include "shim/core/client.h"
#include "shim/core/outside.h"
#include "shim/core/path.h"
#include "shim/core/raw.h"

namespace penstock {
namespace {

constexpr char kFiles[] = "/" PST_OPEN_FILE_DIR "/";
constexpr char kShadows[] = "/" PST_SHADOW_DIR "/";
constexpr char kDeleted[] = " (deleted)";  // what the kernel appends to the name of a removed file

// Does the kernel place `text` below this job's own folder?
bool BelowJobFolder(const char* text) {
  Scratch scratch;
  char* folder = scratch.Get();
  const int sockets = PstSlotFolderFd();
  const int len =
      sockets >= 0 && folder != nullptr ? OutsideFdPath(sockets, folder, PST_PATH_MAX) : -1;
  const int job = len - (int)(sizeof kFiles - 2);  // without "/.penstock-fd"
  return job > 0 && memcmp(folder, text, (size_t)job) == 0 && text[job] == '/';
}

// Cuts the kernel's mark of a removed directory off. False: it has none.
bool CutDeleted(char* text) {
  const size_t len = strlen(text), mark = sizeof kDeleted - 1;
  if (len <= mark || memcmp(text + len - mark, kDeleted, mark) != 0) return false;
  text[len - mark] = 0;
  return true;
}

}  // namespace

int64_t PstDecimal(const char* text, const char** end) {
  int64_t value = 0;
  const char* at = text;
  for (; *at >= '0' && *at <= '9'; ++at) {
    value = value * 10 + (*at - '0');
    if (value > INT32_MAX) return -1;
  }
  *end = at;
  return at == text ? -1 : value;
}

JobPath PstParseJobPath(const char* text) {
  JobPath out = {JobPathKind::kNone, 0, 0, nullptr, nullptr};
  const char* shadow = strstr(text, kShadows);
  const char* file = shadow == nullptr ? strstr(text, kFiles) : nullptr;
  if (shadow == nullptr && file == nullptr) return out;
  out.name = shadow != nullptr ? shadow + sizeof kShadows - 1 : file + sizeof kFiles - 1;
  const char* end;
  int64_t number = PstDecimal(out.name, &end);
  if (number < 0) return out;
  out.number = (uint32_t)number;
  if (file != nullptr) {
    if (*end == 0) out.kind = JobPathKind::kFile;
    return out;
  }
  if (*end == PST_SHADOW_ABOVE) {
    int64_t levels = PstDecimal(end + 1, &end);
    if (levels <= 0 || *end != 0) return out;
    out.levels = (uint32_t)levels;
  } else if (*end != 0 && *end != '/') {
    return out;
  }
  out.rel = *end == '/' ? end + 1 : end;
  out.kind = JobPathKind::kDirectory;
  return out;
}

bool PstIsOwnJobPath(const struct stat& have, const JobPath& known) {
  int err;
  Scratch scratch;
  char* name = scratch.Get();
  if (known.kind == JobPathKind::kNone || name == nullptr || strlen(known.name) >= PST_PATH_MAX ||
      PstJoinedView(&err) == nullptr) {
    return false;
  }
  strcpy(stpcpy(name, known.kind == JobPathKind::kFile ? "" : "../" PST_SHADOW_DIR "/"),
         known.name);
  struct stat want;
  const int folder = PstSlotFolderFd();
  return folder >= 0 && Raw(SYS_newfstatat, folder, name, &want, AT_SYMLINK_NOFOLLOW) == 0 &&
         have.st_dev == want.st_dev && have.st_ino == want.st_ino;
}

JobPath PstOwnJobPath(int fd, char* text) {
  const JobPath none = {JobPathKind::kNone, 0, 0, nullptr, nullptr};
  if (PST_LIKELY(strstr(text, kShadows) == nullptr && strstr(text, kFiles) == nullptr)) return none;
  struct stat have;
  if ((fd == AT_FDCWD ? Raw(SYS_newfstatat, AT_FDCWD, ".", &have, 0) : Raw(SYS_fstat, fd, &have)) !=
      0)
    return none;
  if (S_ISDIR(have.st_mode) && have.st_nlink == 0 && CutDeleted(text))
    return BelowJobFolder(text) ? PstParseJobPath(text) : none;
  const JobPath known = PstParseJobPath(text);
  return PstIsOwnJobPath(have, known) ? known : none;
}

int PstShadowedPath(const View* view, const JobPath& shadow, char* to) {
  if (shadow.kind != JobPathKind::kDirectory || shadow.number >= view->mount_count) return -1;
  if (strlen(shadow.rel) >= PST_PATH_MAX) return -1;
  auto len = PstFullPath(view, shadow.number, shadow.rel, (uint32_t)strlen(shadow.rel), to);
  for (uint32_t up = 0; up < shadow.levels; ++up) {
    while (len > 0 && to[len - 1] != '/') --len;
    if (len == 0) return -1;
    --len;
  }
  if (len == 0) to[len++] = '/';
  to[len] = 0;
  return (int)len;
}

int PstUnshadow(int fd, char* text, int len, bool* is_shadow) {
  *is_shadow = false;
  const JobPath shadow = PstOwnJobPath(fd, text);
  const View* view = PstView();
  if (shadow.kind != JobPathKind::kDirectory || view == nullptr) return len;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return -ENOMEM;
  int full = PstShadowedPath(view, shadow, path);
  if (full < 0) return len;
  if (full >= (int)PST_PATH_MAX) return -ENAMETOOLONG;
  memcpy(text, path, (size_t)full + 1);
  *is_shadow = true;
  return full;
}

}  // namespace penstock
