#include "shim/core/cwd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shim/core/job_path.h"
#include "shim/core/path.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"

namespace penstock {

bool g_cwd_matters;

namespace {

// A covered directory's path, under a seqlock of its own; the kernel knows all others.
struct Cwd {
  uint32_t seq;  // odd while somebody has it to write: half of seq + 1 counts the writers
  uint32_t len;
  char path[PST_PATH_MAX + PST_MOUNT_PATH_MAX];
};

// Each chdir writes into another one and then shows it, so writers need not wait for each other: not for a
// thread that is descheduled, not for one that a fork left behind or that a signal handler interrupts. One
// left half-written is only lost for later use.
constexpr uint32_t kCwds = 16;
Cwd g_cwds[kCwds];
uint32_t g_cwd;  // index + 1 of the one in force; 0: not covered

static_assert(PST_PATH_MAX + PST_MOUNT_PATH_MAX <= kScratchBytes);

// Shows `path` as the covered working directory.
void Store(const char* path, uint32_t len) {
  for (uint32_t tries = 0; tries < 64 * kCwds; ++tries) {
    Cwd* cwd = &g_cwds[tries % kCwds];
    uint32_t seq = __atomic_load_n(&cwd->seq, __ATOMIC_ACQUIRE);
    uint32_t mine = tries % kCwds + 1;
    if ((seq & 1u) != 0 || __atomic_load_n(&g_cwd, __ATOMIC_ACQUIRE) == mine) continue;
    if (!__atomic_compare_exchange_n(&cwd->seq, &seq, seq + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(cwd->path, path, len);
    cwd->path[len] = 0;
    __atomic_store_n(&cwd->len, len, __ATOMIC_RELAXED);
    // Shown before it is free for others: so a shown one is complete, and nobody writes it.
    __atomic_store_n(&g_cwd, mine, __ATOMIC_RELEASE);
    __atomic_store_n(&cwd->seq, seq + 2, __ATOMIC_RELEASE);
    return;
  }
  __atomic_store_n(&g_cwd, 0u, __ATOMIC_RELEASE);  // the kernel's name of the folder is translated, slowly
}

// The kernel's answer; length without NUL, or -errno.
int KernelCwd(char* to) {
  long n = Raw(SYS_getcwd, to, PST_PATH_MAX);
  if (n < 0) return (int)n;
  return n > 1 && to[0] == '/' ? (int)n - 1 : -ENOENT;  // "(unreachable)..." is no place of ours
}

// A shadow directory that this program was started in.
bool FromShadow(char* path) {
  JobPath shadow = PstOwnJobPath(AT_FDCWD, path);
  if (shadow.kind != JobPathKind::kDirectory) return false;
  int err;
  const View* view = PstJoinedView(&err);
  Scratch scratch;
  char* name = scratch.Get();
  int len = view != nullptr && name != nullptr ? PstShadowedPath(view, shadow, name) : -1;
  if (len < 0 || len >= (int)PST_PATH_MAX) return false;
  Store(name, (uint32_t)len);
  return true;
}

// What the kernel says, in the program's terms: another thread may just be changing into a mount.
PST_COLD int AskedCwd(char* to) {
  int len = KernelCwd(to);
  bool shadow;
  return len > 0 && g_cwd_matters ? PstUnshadow(AT_FDCWD, to, len, &shadow) : len;
}

}  // namespace

void PstCwdSet(uint32_t mount, const char* rel, uint32_t rel_len) {
  const View* view = PstView();
  Scratch scratch;
  char* path = scratch.Get();
  if (view == nullptr || path == nullptr || mount >= view->mount_count || rel_len >= PST_PATH_MAX) {
    PstCwdUnknown();
    return;
  }
  PstCwdSetPath(path, PstFullPath(view, mount, rel, rel_len, path));
}

void PstCwdSetPath(const char* path, uint32_t len) {
  Store(path, len);
  __atomic_store_n(&g_cwd_matters, true, __ATOMIC_RELEASE);
}

void PstCwdUnknown() {
  Scratch scratch;
  char* path = scratch.Get();
  __atomic_store_n(&g_cwd, 0u, __ATOMIC_RELEASE);
  int len = path != nullptr ? KernelCwd(path) : -ENOMEM;
  // Ordinary unless it lies above a mount, or the prefix itself exists on disk and is stood in.
  bool matters = len < 0 || len == 1 || PstIsAncestor(path, (uint32_t)len) || FromShadow(path) ||
                 PstIsCovered(path, (uint32_t)len);
  __atomic_store_n(&g_cwd_matters, matters, __ATOMIC_RELEASE);
}

int PstCwdGet(char* to) {
  for (int spin = 0; spin < 1000; ++spin) {
    uint32_t shown = __atomic_load_n(&g_cwd, __ATOMIC_ACQUIRE);
    if (shown == 0) break;
    const Cwd& cwd = g_cwds[shown - 1];
    uint32_t writers = (__atomic_load_n(&cwd.seq, __ATOMIC_ACQUIRE) + 1) / 2;
    if (__atomic_load_n(&g_cwd, __ATOMIC_ACQUIRE) != shown) continue;
    uint32_t len = __atomic_load_n(&cwd.len, __ATOMIC_RELAXED);
    bool fits = len < PST_PATH_MAX;
    if (fits) {
      memcpy(to, cwd.path, len);
      to[len] = 0;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if ((__atomic_load_n(&cwd.seq, __ATOMIC_RELAXED) + 1) / 2 == writers) return fits ? (int)len : -ENAMETOOLONG;
  }
  return AskedCwd(to);
}

bool PstCwdShown() { return __atomic_load_n(&g_cwd, __ATOMIC_RELAXED) != 0; }

void CwdInit() { PstCwdUnknown(); }

}  // namespace penstock
