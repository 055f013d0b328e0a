#include "shim/supervise/known_files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/core/fd_table.h"
#include "shim/core/name_table.h"
#include "shim/core/names.h"
#include "shim/core/outside.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"
#include "shim/core/time.h"

namespace penstock {
namespace {

constexpr uint32_t kBuckets = 8192, kWays = 4;

struct Entry {
  uint64_t name_hash;  // 0: free
  uint64_t dev;
  uint64_t ino;
  KnownFile file;
};

struct Bucket {
  uint32_t lock;
  uint32_t next;  // the way that is taken when all are in use
  Entry ways[kWays];
};
Bucket g_buckets[kBuckets];

class BucketLock {
 public:
  explicit BucketLock(Bucket* bucket) : bucket_(bucket) {
    while (__atomic_exchange_n(&bucket_->lock, 1u, __ATOMIC_ACQUIRE) != 0) Raw(SYS_sched_yield);
  }
  ~BucketLock() { __atomic_store_n(&bucket_->lock, 0u, __ATOMIC_RELEASE); }
  BucketLock(const BucketLock&) = delete;
  BucketLock& operator=(const BucketLock&) = delete;

 private:
  Bucket* bucket_;
};

Bucket* BucketOf(uint64_t dev, uint64_t ino) {
  return &g_buckets[((ino ^ dev << 20) * 0x9e3779b97f4a7c15ull >> 32) % kBuckets];
}

// An object keeps its name when its file is unlinked; the kernel says so behind it.
uint64_t HashOf(const char* name, int len) {
  constexpr char kGone[] = " (deleted)";
  constexpr int kGoneLen = sizeof kGone - 1;
  if (len > kGoneLen && memcmp(name + len - kGoneLen, kGone, kGoneLen) == 0) len -= kGoneLen;
  uint64_t hash = NameHash(name, static_cast<uint32_t>(len));
  return hash != 0 ? hash : 1;
}

}  // namespace

void PstKnow(int fd) {
  FdEntry entry;
  const View* view = PstView();
  struct stat real;
  if (PstFdKindOf(fd) != kFdMaterialized || view == nullptr || !PstFdSnapshot(fd, &entry) ||
      entry.mount >= view->mount_count || Raw(SYS_fstat, fd, &real) != 0)
    return;
  Scratch scratch;
  char* name = scratch.Get();
  int len = name != nullptr ? OutsideFdPath(fd, name, PST_PATH_MAX) : -1;
  if (len <= 0) return;
  Entry known = {HashOf(name, len), real.st_dev, real.st_ino, {{}, entry.ns, entry.id}};
  PstFillStat(view->mounts[entry.mount], entry, &known.file.shown);
  Bucket* bucket = BucketOf(known.dev, known.ino);
  BucketLock lock(bucket);
  for (Entry& way : bucket->ways) {
    if (way.name_hash != 0 && (way.dev != known.dev || way.ino != known.ino)) continue;
    way = known;
    return;
  }
  bucket->ways[bucket->next++ % kWays] = known;
}

bool PstKnown(const Call& call, int fd, KnownFile* out) {
  char name[16];
  if (fd < 0) return false;
  PstFdName(fd, name);
  int file = PstOpenCallerFile(call, name, O_PATH);
  if (file < 0) return false;
  struct stat real;
  Scratch scratch;
  char* text = scratch.Get();
  bool found = false;
  if (text != nullptr && Raw(SYS_fstat, file, &real) == 0 && S_ISREG(real.st_mode)) {
    Bucket* bucket = BucketOf(real.st_dev, real.st_ino);
    Entry copy = {};
    {
      BucketLock lock(bucket);
      for (const Entry& way : bucket->ways)
        if (way.name_hash != 0 && way.dev == real.st_dev && way.ino == real.st_ino) copy = way;
    }
    int len = copy.name_hash != 0 ? OutsideFdPath(file, text, PST_PATH_MAX) : -1;
    found = len > 0 && HashOf(text, len) == copy.name_hash;
    if (found) *out = copy.file;
  }
  Raw(SYS_close, file);
  return found;
}

}  // namespace penstock
