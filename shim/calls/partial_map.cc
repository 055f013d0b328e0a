#include "shim/calls/partial_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/core/materialize.h"
#include "shim/core/raw.h"
#include "shim/core/scratch.h"

namespace penstock {

bool g_partial_maps;

namespace {

constexpr uint32_t kMaxNoted = 4096;

// What /proc/self/maps says of the mapping at an address.
struct Region {
  uint64_t start, offset, major, minor, ino;
};

// A file that was mapped in part. Never freed: one for each large file and object.
struct Noted {
  Noted* next;
  FdEntry entry;
  uint64_t major, minor, ino;  // as the kernel's list of mappings shows the object
  dev_t stat_dev;              // as fstat does: not always the same
  ino_t stat_ino;
  uint32_t path_len;
  char path[];
};
Noted* g_noted;
uint32_t g_noted_count;

const char* ParseNumber(const char* at, int base, uint64_t* out) {
  uint64_t value = 0;
  for (;; ++at) {
    int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : base;
    if (digit >= base) break;
    value = value * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit);
  }
  *out = value;
  return *at != '\0' ? at + 1 : at;
}

// One line of the list, "start-end perms offset major:minor ino name". True if it holds `address`.
bool ParseLine(const char* line, uint64_t address, Region* out) {
  uint64_t end;
  const char* at = ParseNumber(line, 16, &out->start);
  at = ParseNumber(at, 16, &end);
  if (address < out->start || address >= end) return false;
  while (*at != '\0' && *at != ' ') ++at;
  if (*at != '\0') ++at;
  at = ParseNumber(at, 16, &out->offset);
  at = ParseNumber(at, 16, &out->major);
  at = ParseNumber(at, 16, &out->minor);
  ParseNumber(at, 10, &out->ino);
  return true;
}

bool FindRegion(const void* at, Region* out) {
  auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(at));
  long fd = Raw(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  Scratch scratch;  // not the stack of a foreign thread
  char* chunk = scratch.Get();
  char line[160];
  size_t len = 0;
  bool found = false;
  long got;
  while (!found && chunk != nullptr && (got = Raw(SYS_read, fd, chunk, kScratchBytes)) > 0) {
    for (long i = 0; i < got && !found; ++i) {
      if (chunk[i] != '\n') {
        if (len + 1 < sizeof line) line[len++] = chunk[i];
        continue;
      }
      line[len] = '\0';
      len = 0;
      found = ParseLine(line, address, out);
    }
  }
  Raw(SYS_close, fd);
  return found;
}

bool Identify(int fd, dev_t* dev, ino_t* ino) {
  struct stat st;
#if defined(__x86_64__)
  if (Raw(SYS_fstat, fd, &st) != 0) return false;
#else
  if (Raw(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) != 0) return false;
#endif
  *dev = st.st_dev;
  *ino = st.st_ino;
  return true;
}

bool SameVersion(const FdEntry& a, const FdEntry& b) {
  return a.ns == b.ns && a.id.lo == b.id.lo && a.id.hi == b.id.hi && a.version == b.version;
}

}  // namespace

bool PstNotePartialMap(const FdEntry& entry, const char* path, uint32_t path_len, int map_fd, const void* at) {
  dev_t dev;
  ino_t ino;
  Region region;
  if (!Identify(map_fd, &dev, &ino)) return false;
  for (Noted* one = __atomic_load_n(&g_noted, __ATOMIC_ACQUIRE); one != nullptr; one = one->next) {
    if (one->stat_ino == ino && one->stat_dev == dev && SameVersion(one->entry, entry)) return true;
  }
  if (__atomic_load_n(&g_noted_count, __ATOMIC_RELAXED) >= kMaxNoted || !FindRegion(at, &region) || region.ino == 0)
    return false;
  long memory = Raw(SYS_mmap, nullptr, sizeof(Noted) + path_len + 1, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return false;
  auto* noted = reinterpret_cast<Noted*>(memory);
  noted->entry = entry;
  noted->major = region.major;
  noted->minor = region.minor;
  noted->ino = region.ino;
  noted->stat_dev = dev;
  noted->stat_ino = ino;
  noted->path_len = path_len;
  memcpy(noted->path, path, path_len);
  __atomic_fetch_add(&g_noted_count, 1, __ATOMIC_RELAXED);
  noted->next = __atomic_load_n(&g_noted, __ATOMIC_ACQUIRE);
  while (!__atomic_compare_exchange_n(&g_noted, &noted->next, noted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
  }
  __atomic_store_n(&g_partial_maps, true, __ATOMIC_RELEASE);
  return true;
}

int PstFillForRemap(const void* at, size_t bytes, int64_t file_offset) {
  Region region;
  if (!FindRegion(at, &region) || region.ino == 0) return 0;  // the kernel refuses it, or it is of no file
  Noted* noted = __atomic_load_n(&g_noted, __ATOMIC_ACQUIRE);
  // The newest first: an inode's number is free for others only when no mapping of it is left.
  while (noted != nullptr &&
         (noted->ino != region.ino || noted->minor != region.minor || noted->major != region.major))
    noted = noted->next;
  if (noted == nullptr) return 0;
  uint64_t inside = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(at)) - region.start;
  uint64_t offset = file_offset >= 0 ? static_cast<uint64_t>(file_offset) : region.offset + inside;
  const FdEntry& entry = noted->entry;
  if (bytes == 0 || offset >= entry.size) return 0;
  if (bytes > entry.size - offset) bytes = entry.size - offset;
  int fd = -1;
  int err = PstMaterializeEntry(entry, noted->path, noted->path_len, offset, bytes, true, &fd);
  if (err != 0) return err;
  dev_t dev;
  ino_t ino;
  // Evicted and fetched again meanwhile: the bytes are in another object than the one that is mapped.
  if (!Identify(fd, &dev, &ino) || dev != noted->stat_dev || ino != noted->stat_ino) err = ENOMEM;
  Raw(SYS_close, fd);
  return err;
}

}  // namespace penstock
