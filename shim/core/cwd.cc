#include "shim/core/cwd.h"

#include <errno.h>
#include <string.h>

#include "shim/core/path.h"
#include "shim/core/raw.h"

namespace penstock {

bool g_cwd_matters;

namespace {

// A seqlock around the covered directory's path; the kernel knows all others.
struct Cwd {
  uint32_t seq;
  uint32_t len;   // of `path`; 0: not covered
  char path[PST_PATH_MAX + PST_MOUNT_PATH_MAX];
};
Cwd g_cwd;

constexpr char kShadow[] = "/.penstock-dir/";
static_assert(sizeof(PST_SHADOW_DIR) + 2 == sizeof(kShadow));

void Store(const char* path, uint32_t len) {
  uint32_t seq = __atomic_fetch_add(&g_cwd.seq, 1, __ATOMIC_ACQ_REL);
  memcpy(g_cwd.path, path, len);
  g_cwd.path[len] = 0;
  __atomic_store_n(&g_cwd.len, len, __ATOMIC_RELAXED);
  __atomic_store_n(&g_cwd.seq, seq + 2, __ATOMIC_RELEASE);
}

// The kernel's answer; length without NUL, or -errno.
int KernelCwd(char* to) {
  long n = Raw(SYS_getcwd, to, PST_PATH_MAX);
  if (n < 0) return (int)n;
  return n > 1 && to[0] == '/' ? (int)n - 1 : -ENOENT;  // "(unreachable)..." is no place of ours
}

// <job folder>/.penstock-dir/<mount>/<path>: a shadow directory that this program was started in.
bool FromShadow(const char* path, uint32_t len) {
  const char* at = (const char*)memmem(path, len, kShadow, sizeof kShadow - 1);
  if (at == nullptr) return false;
  at += sizeof kShadow - 1;
  uint32_t mount = 0;
  if (*at < '0' || *at > '9') return false;
  for (; *at >= '0' && *at <= '9'; ++at) mount = mount * 10 + (uint32_t)(*at - '0');
  if (*at != 0 && *at != '/') return false;
  if (*at == '/') ++at;
  int err;
  const View* view = PstJoinedView(&err);
  if (view == nullptr || mount >= view->mount_count) return false;
  PstCwdSet(true, mount, at, (uint32_t)strlen(at));
  return true;
}

}  // namespace

void PstCwdSet(bool covered, uint32_t mount, const char* rel, uint32_t rel_len) {
  const View* view = PstView();
  if (!covered || view == nullptr || mount >= view->mount_count) {
    PstCwdUnknown();
    return;
  }
  char path[PST_PATH_MAX + PST_MOUNT_PATH_MAX];
  if (rel_len >= PST_PATH_MAX) return;
  uint32_t len = PstFullPath(view, mount, rel, rel_len, path);
  Store(path, len);
  __atomic_store_n(&g_cwd_matters, true, __ATOMIC_RELEASE);
}

void PstCwdUnknown() {
  char path[PST_PATH_MAX];
  Store("", 0);
  int len = KernelCwd(path);
  // Ordinary unless it lies above a mount, or the prefix itself exists on disk and is stood in.
  bool matters = len < 0 || PstIsAncestor(path, (uint32_t)len) || len == 1;
  if (!matters) matters = strstr(path, kShadow) != nullptr && FromShadow(path, (uint32_t)len);
  if (!matters) matters = PstIsCovered(path, (uint32_t)len);
  __atomic_store_n(&g_cwd_matters, matters, __ATOMIC_RELEASE);
}

int PstCwdGet(char* to) {
  for (int spin = 0; spin < 1000; ++spin) {
    uint32_t seq = __atomic_load_n(&g_cwd.seq, __ATOMIC_ACQUIRE);
    if (seq & 1u) continue;
    uint32_t len = __atomic_load_n(&g_cwd.len, __ATOMIC_RELAXED);
    if (len == 0) break;
    if (len >= PST_PATH_MAX) return -ENAMETOOLONG;
    memcpy(to, g_cwd.path, len);
    to[len] = 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&g_cwd.seq, __ATOMIC_RELAXED) == seq) return (int)len;
  }
  return KernelCwd(to);
}

void CwdInit() { PstCwdUnknown(); }

}  // namespace penstock
