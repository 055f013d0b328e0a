#include "shim/core/mapping.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/abi/session.h"
#include "shim/copy/copy.h"
#include "shim/core/config.h"
#include "shim/core/raw.h"

namespace penstock {

const View* g_view;
const View* g_hot_view;
void (*g_end_point)();

namespace {

constexpr uint64_t kPage = 4096;
constexpr int kMaxReservations = 8;  // of each kind: larger memory after a restart

struct Region {
  unsigned char* at = nullptr;
  uint64_t bytes = 0;  // reserved
};
Region g_index;
Region g_arena;
Region g_slots;
uint64_t g_slots_ino;
int g_reservations;

bool Failed(long result) { return result < 0 && result > -4096; }

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

// The file is as large as it was said to be, so that no access behind a checked bound faults.
bool LargeEnough(int fd, uint64_t bytes, uint64_t* ino) {
  struct stat info;
  if (Raw(SYS_fstat, fd, &info) != 0) return false;
  if (ino != nullptr) *ino = info.st_ino;
  return bytes > 0 && (uint64_t)info.st_size >= bytes;
}

// Address space of at least `bytes` in `region`, aligned to 2 MiB. Zeros until something is mapped in it.
bool Reserve(Region* region, uint64_t bytes) {
  if (region->at != nullptr && region->bytes >= bytes) return true;
  if (g_reservations >= kMaxReservations) return false;
  uint64_t want = RoundUp(bytes, PST_SEGMENT_BYTES) + PST_SEGMENT_BYTES;
  long at = Raw(SYS_mmap, nullptr, want, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (Failed(at)) return false;
  uint64_t start = RoundUp((uint64_t)at, PST_SEGMENT_BYTES);
  if (start > (uint64_t)at) Raw(SYS_munmap, at, start - (uint64_t)at);
  uint64_t end = (uint64_t)at + want, used = start + RoundUp(bytes, PST_SEGMENT_BYTES);
  if (end > used) Raw(SYS_munmap, used, end - used);
  region->at = (unsigned char*)start;
  region->bytes = used - start;
  ++g_reservations;
  return true;
}

// Maps [0, bytes) of fd at the start of the region; what is behind it becomes zeros, never a fault.
bool MapOver(const Region& region, int fd, uint64_t bytes, int protection) {
  long at = Raw(SYS_mmap, region.at, bytes, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
  if (Failed(at)) return false;
  // Hugetlb memory is mapped in whole huge pages.
  uint64_t end = RoundUp(bytes, (bytes % PST_SEGMENT_BYTES) == 0 ? PST_SEGMENT_BYTES : kPage);
  if (end < region.bytes) {
    Raw(SYS_mmap, region.at + end, region.bytes - end, PROT_READ,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  }
  Raw(SYS_madvise, region.at, end, MADV_DONTDUMP);
  return true;
}

// Makes every lookup of the old view miss and every copy in progress fail its check: no bucket has a tag and
// no segment has a generation (a real one is never 0).
bool BlankIndex() {
  if (g_index.at == nullptr) return true;
  long at = Raw(SYS_mmap, g_index.at, g_index.bytes, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return !Failed(at);
}

// Copies the mounts out of shared memory, checked; routes each configured prefix.
bool CopyMounts(const pst_index_header* header, uint32_t count, View* view, char* text) {
  for (uint32_t i = 0; i < count; ++i) {
    const pst_mount& from = header->mounts[i];
    Mount& to = view->mounts[i];
    uint32_t len = __atomic_load_n(&from.path_len, __ATOMIC_RELAXED);
    if (len >= PST_MOUNT_PATH_MAX) return false;
    memcpy(text, from.path, len);
    text[len] = 0;
    if (len == 1 && text[0] == '/') len = 0;
    to = {text, len, from.ns, from.flags, from.uid, from.gid, from.st_dev};
    text += len + 1;
  }
  for (uint32_t p = 0; p < g_config.prefix_count; ++p) {
    const Prefix& prefix = g_config.prefixes[p];
    uint32_t exact = UINT32_MAX;
    bool below = false;
    for (uint32_t i = 0; i < count; ++i) {
      const Mount& mount = view->mounts[i];
      if (mount.path_len < prefix.len || memcmp(mount.path, prefix.path, prefix.len) != 0) continue;
      if (mount.path_len == prefix.len) {
        exact = i;
      } else if (mount.path[prefix.len] == '/') {
        below = true;
      }
    }
    view->prefix_mount[p] = below ? UINT32_MAX : exact;
  }
  return true;
}

// Entries, slots and working directories name a mount by its number: a successor may add mounts, but a number
// that changed its path would turn names below one mount into names below another.
bool SameMounts(const View* old, int index_fd) {
  long at = Raw(SYS_mmap, nullptr, sizeof(pst_index_header), PROT_READ, MAP_SHARED, index_fd, 0);
  if (Failed(at)) return false;
  const auto* header = (const pst_index_header*)at;
  bool same = header->mount_count >= old->mount_count;
  for (uint32_t i = 0; same && i < old->mount_count; ++i) {
    const Mount& mount = old->mounts[i];
    const pst_mount& now = header->mounts[i];
    uint32_t len = mount.path_len == 0 ? 1 : mount.path_len;  // "/" is kept as ""
    same = now.path_len == len && memcmp(now.path, mount.path_len == 0 ? "/" : mount.path, len) == 0;
  }
  Raw(SYS_munmap, at, sizeof(pst_index_header));
  return same;
}

View* NewView(uint32_t mount_count, char** text) {
  uint64_t bytes = sizeof(View) + (uint64_t)mount_count * PST_MOUNT_PATH_MAX + kPage;
  long at = Raw(SYS_mmap, nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (Failed(at)) return nullptr;
  *text = (char*)at + sizeof(View);
  return (View*)at;
}

int MapSlots(const pst_welcome& welcome, int fd) {
  uint64_t ino = 0;
  if (welcome.open_file_bytes < PST_OPEN_FILE_BYTES || !LargeEnough(fd, PST_OPEN_FILE_BYTES, &ino))
    return EPROTO;
  if (g_slots.at != nullptr && ino == g_slots_ino) return 0;  // the table we brought, or our parent's
  g_slots = {};
  if (!Reserve(&g_slots, PST_OPEN_FILE_BYTES)) return ENOMEM;
  if (!MapOver(g_slots, fd, PST_OPEN_FILE_BYTES, PROT_READ | PROT_WRITE)) return ENOMEM;
  const auto* table = (const pst_open_file_table*)(const void*)g_slots.at;
  if (table->magic != PST_OPEN_FILE_MAGIC || table->major != PST_ABI_MAJOR ||
      table->slot_count > PST_OPEN_FILE_SLOTS) {
    g_slots = {};
    return EPROTO;
  }
  g_slots_ino = ino;
  return 0;
}

}  // namespace

void PstNoHotView(void (*end_point)()) {
  __atomic_store_n(&g_end_point, end_point, __ATOMIC_SEQ_CST);
  __atomic_store_n(&g_hot_view, (const View*)nullptr, __ATOMIC_SEQ_CST);
}

int MapView(const pst_welcome& welcome, const WelcomeFds& fds) {
  const View* old = g_view;
  uint64_t index_bytes = welcome.index_bytes, arena_bytes = welcome.arena_bytes;
  if (!LargeEnough(fds.index, index_bytes, nullptr) || !LargeEnough(fds.arena, arena_bytes, nullptr))
    return EPROTO;
  if (index_bytes < sizeof(pst_index_header) || arena_bytes % PST_SEGMENT_BYTES != 0) return EPROTO;
  const pst_slot* old_slots = g_slots.at != nullptr ? (const pst_slot*)(void*)(g_slots.at + PST_SLOTS_OFFSET)
                                                    : nullptr;
  int err = MapSlots(welcome, fds.open_files);
  if (err != 0) return err;
  auto* slots = (pst_slot*)(void*)(g_slots.at + PST_SLOTS_OFFSET);
  if (old != nullptr && old->incarnation == welcome.incarnation && old_slots == slots) return 0;
  if (old != nullptr && !SameMounts(old, fds.index)) return EPROTO;
  // The order keeps readers of the old view from right entries with wrong bytes: first nothing is found and
  // nothing validates, then the arena changes, then the index. Larger memory than was reserved goes to a new
  // place; the old view then misses for ever.
  if (!BlankIndex() || !Reserve(&g_index, index_bytes) || !Reserve(&g_arena, arena_bytes)) return ENOMEM;
  if (!MapOver(g_arena, fds.arena, arena_bytes, PROT_READ) ||
      !MapOver(g_index, fds.index, index_bytes, PROT_READ)) {
    return ENOMEM;
  }
  const auto* header = (const pst_index_header*)(const void*)g_index.at;
  uint32_t mount_count = __atomic_load_n(&header->mount_count, __ATOMIC_RELAXED);
  if (mount_count > PST_MAX_MOUNTS) return EPROTO;
  char* text = nullptr;
  View* view = NewView(mount_count, &text);
  if (view == nullptr) return ENOMEM;
  view->slots = slots;
  view->slot_count = PST_OPEN_FILE_SLOTS;
  view->incarnation = welcome.incarnation;
  view->mount_count = mount_count;
  if (pst_view_init(&view->index, g_index.at, index_bytes, g_arena.at, arena_bytes) != 0 ||
      view->index.bucket_mask >= index_bytes || !CopyMounts(header, mount_count, view, text)) {
    Raw(SYS_munmap, view, sizeof(View) + (uint64_t)mount_count * PST_MOUNT_PATH_MAX + kPage);
    return EPROTO;
  }
  if (old == nullptr) PstCopyInit();
  __atomic_store_n(&g_view, (const View*)view, __ATOMIC_RELEASE);
  __atomic_store_n(&g_hot_view, (const View*)view, __ATOMIC_SEQ_CST);
  if (auto* point = __atomic_load_n(&g_end_point, __ATOMIC_SEQ_CST)) PstNoHotView(point);
  return 0;
}

pst_session* MapSession(const pst_welcome& welcome, int fd) {
  static unsigned char* kept[16];
  static unsigned next;
  if (welcome.session_bytes < sizeof(pst_session) || !LargeEnough(fd, sizeof(pst_session), nullptr))
    return nullptr;
  long at = Raw(SYS_mmap, nullptr, sizeof(pst_session), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (Failed(at)) return nullptr;
  auto* session = (pst_session*)at;
  if (session->magic != PST_SESSION_MAGIC || session->major != PST_ABI_MAJOR) {
    Raw(SYS_munmap, at, sizeof(pst_session));
    return nullptr;
  }
  Raw(SYS_madvise, at, sizeof(pst_session), MADV_DONTDUMP);
  unsigned char*& oldest = kept[next++ % 16];
  if (oldest != nullptr) Raw(SYS_munmap, oldest, sizeof(pst_session));
  oldest = (unsigned char*)session;
  return session;
}

}  // namespace penstock
