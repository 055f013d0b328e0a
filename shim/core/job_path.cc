#include "shim/core/job_path.h"

#include <errno.h>
#include <string.h>

#include "shim/abi/open_file.h"
#include "shim/core/path.h"

namespace penstock {
namespace {

constexpr char kFiles[] = "/" PST_OPEN_FILE_DIR "/";
constexpr char kShadows[] = "/" PST_SHADOW_DIR "/";

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

int PstUnshadow(char* text, int len) {
  const View* view = PstView();
  JobPath shadow = view != nullptr ? PstParseJobPath(text) : JobPath{};
  if (shadow.kind != JobPathKind::kDirectory) return len;
  Scratch scratch;
  char* path = scratch.Get();
  if (path == nullptr) return -ENOMEM;
  int full = PstShadowedPath(view, shadow, path);
  if (full < 0) return len;
  if (full >= (int)PST_PATH_MAX) return -ENAMETOOLONG;
  memcpy(text, path, (size_t)full + 1);
  return full;
}

}  // namespace penstock
