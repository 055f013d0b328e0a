#include "shim/core/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/core/client.h"
#include "shim/core/config.h"
#include "shim/core/names.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/time.h"

namespace penstock {

unsigned char* g_streams;
uint64_t g_streams_bytes;

namespace {

constexpr uint64_t kStride = 2 * PST_RANGE_BYTES;  // a page of a listing, and the stream itself
constexpr uint32_t kMaxStreams = 4096;
constexpr int kListTries = 8;

}  // namespace

static_assert(sizeof(Stream) <= kStride);

namespace {

uint64_t g_free;             // (tag << 32) | number + 1 of the first free stream
uint32_t g_made;

Stream* At(uint32_t number) { return (Stream*)(void*)(g_streams + (uint64_t)number * kStride); }

PST_COLD bool MapStreams() {
  long at = Raw(SYS_mmap, nullptr, kMaxStreams * kStride, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at < 0 && at > -4096) return false;
  unsigned char* expected = nullptr;
  if (!__atomic_compare_exchange_n(&g_streams, &expected, (unsigned char*)at, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    Raw(SYS_munmap, at, kMaxStreams * kStride);
  }
  __atomic_store_n(&g_streams_bytes, kMaxStreams * kStride, __ATOMIC_RELEASE);
  return true;
}

Stream* Allocate() {
  uint64_t head = __atomic_load_n(&g_free, __ATOMIC_ACQUIRE), next;
  while ((uint32_t)head != 0) {
    Stream* stream = At((uint32_t)head - 1);
    next = ((head >> 32) + 1) << 32 | __atomic_load_n(&stream->next_free, __ATOMIC_RELAXED);
    if (__atomic_compare_exchange_n(&g_free, &head, next, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      return stream;
  }
  if (__atomic_load_n(&g_streams_bytes, __ATOMIC_ACQUIRE) == 0 && !MapStreams()) return nullptr;
  uint32_t number = __atomic_load_n(&g_made, __ATOMIC_RELAXED);
  do {
    if (number >= kMaxStreams) return nullptr;
  } while (!__atomic_compare_exchange_n(&g_made, &number, number + 1, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  return At(number);
}

void Free(Stream* stream) {
  auto number = (uint32_t)(((unsigned char*)stream - g_streams) / kStride);
  stream->used = 0;
  uint64_t head = __atomic_load_n(&g_free, __ATOMIC_RELAXED), next;
  do {
    __atomic_store_n(&stream->next_free, (uint32_t)head, __ATOMIC_RELAXED);
    next = ((head >> 32) + 1) << 32 | (number + 1);
  } while (!__atomic_compare_exchange_n(&g_free, &head, next, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

// The next entry of the page in hand, or null with *err: 0 the page is used up, EIO it is not sound.
struct dirent64* FromPage(Stream* stream, int* err) {
  *err = 0;
  if (stream->at + sizeof(pst_listing_entry) > stream->page_bytes) return nullptr;
  struct dirent64* entry = PstStreamFromPage(stream);
  if (entry == nullptr) *err = EIO;
  return entry;
}

// Checks a page that lies in the stream's own memory. `bytes` were copied.
bool PageValid(Stream* stream, uint32_t bytes, uint32_t page) {
  pst_listing_page header;
  if (bytes < sizeof header) return false;
  memcpy(&header, stream->bytes, sizeof header);
  if (header.magic != PST_LISTING_MAGIC || header.bytes > bytes || header.bytes < sizeof header) return false;
  if (header.bytes > PST_RANGE_BYTES) return false;
  if (header.page != page || header.pages == 0 || page >= header.pages) return false;
  if (stream->listing_id != 0 && header.listing_id != stream->listing_id) return false;
  stream->listing_id = header.listing_id;
  stream->pages = header.pages;
  stream->total = header.total_count;
  stream->page = page;
  stream->page_bytes = header.bytes;
  stream->at = sizeof header;
  return true;
}

bool CopyPage(Stream* stream, uint32_t page) {
  const View* view = PstView();
  const pst_key key = {stream->id, 0, stream->ns, PST_RANGE_LISTING + page};
  pst_entry found;
  if (view == nullptr || !pst_find(&view->index, &key, &found)) return false;
  if (found.expires_ds != 0 && page == 0 &&
      view->index.clock_base_ns + (int64_t)found.expires_ds * 100'000'000 <= PstCoarseNs()) {
    return false;
  }
  memcpy(stream->bytes, pst_entry_bytes(&view->index, &found), found.length);
  if (!pst_entry_current(&view->index, &found)) return false;
  return PageValid(stream, found.length, page);
}

Ask ListAsk(const Stream* stream, uint32_t op) {
  Ask ask;
  ask.op = op;
  ask.ns = stream->ns;
  ask.id = stream->id;
  ask.path = stream->path;
  ask.path_len = stream->path_len;
  return ask;
}

// The slow lane: the serialized pages, 4 KiB a question, each page at a multiple of PST_RANGE_BYTES.
PST_COLD int ReadPageSlowly(Stream* stream, uint32_t page) {
  Ask ask = ListAsk(stream, PST_OP_LISTING_READ);
  Answer answer;
  uint32_t have = 0, want = sizeof(pst_listing_page);
  while (have < want) {
    ask.version = stream->listing_id;
    ask.offset = (uint64_t)page * PST_RANGE_BYTES + have;
    ask.length = PST_RANGE_BYTES - have < PST_PATH_MAX ? PST_RANGE_BYTES - have : PST_PATH_MAX;
    ask.reply = stream->bytes + have;
    ask.reply_capacity = (uint32_t)ask.length;
    int err = PstAsk(ask, &answer);
    if (err != 0) return err;
    if (answer.length == 0) return EIO;
    have += (uint32_t)answer.length;
    if (have >= sizeof(pst_listing_page)) {
      pst_listing_page header;
      memcpy(&header, stream->bytes, sizeof header);
      if (header.magic != PST_LISTING_MAGIC || header.bytes > PST_RANGE_BYTES) return EIO;
      if (header.bytes > want) want = header.bytes;
    }
  }
  return PageValid(stream, have, page) ? 0 : EIO;
}

PST_COLD int LoadMissingPage(Stream* stream, uint32_t page) {
  Answer answer;
  for (int tries = 0; tries < kListTries; ++tries) {
    int err = PstAsk(ListAsk(stream, PST_OP_LIST), &answer);
    if (err != 0) return err;
    if (page == 0) stream->listing_id = 0;  // nothing has been given out of the old one
    if (stream->listing_id != 0 && answer.version != stream->listing_id) return ESTALE;
    if (CopyPage(stream, page)) return 0;
  }
  return ReadPageSlowly(stream, page);
}

// Brings page `page` into the stream. 0, a positive errno, or ESTALE: another listing took its place.
int LoadPage(Stream* stream, uint32_t page) {
  if (page == 0) stream->listing_id = 0;
  if (PST_LIKELY(CopyPage(stream, page))) return 0;
  stream->page_bytes = 0;
  return LoadMissingPage(stream, page);
}

// The folder changed between two pages: go to where the reader was in the new listing, as far as numbers tell.
PST_COLD int StartOver(Stream* stream, uint64_t entry_number) {
  int err = LoadPage(stream, 0);
  if (err != 0) return err;
  stream->page_first = 0;
  uint64_t number = 0;
  for (uint32_t page = 0;;) {
    pst_listing_page header;
    memcpy(&header, stream->bytes, sizeof header);
    if (number + header.count > entry_number || page + 1 >= stream->pages) break;
    number += header.count;
    err = LoadPage(stream, ++page);
    if (err != 0) return err;
    stream->page_first = number;
  }
  for (uint64_t i = number; i < entry_number; ++i) {
    pst_listing_entry record;
    if (stream->at + sizeof record > stream->page_bytes) break;
    memcpy(&record, stream->bytes + stream->at, sizeof record);
    if (record.record_bytes < sizeof record || record.record_bytes > stream->page_bytes - stream->at)
      return EIO;
    stream->at += record.record_bytes;
  }
  return 0;
}

void FillEntry(Stream* stream, uint64_t ino, unsigned char type, const char* name, uint32_t len) {
  struct dirent64* entry = &stream->entry;
  entry->d_ino = ino;
  entry->d_off = (off_t)stream->position;
  entry->d_reclen = (unsigned short)((offsetof(struct dirent64, d_name) + len + 1 + 7) & ~7u);
  entry->d_type = type;
  memcpy(entry->d_name, name, len);
  entry->d_name[len] = 0;
}

struct dirent64* Dots(Stream* stream) {
  bool first = stream->position == 0;
  ++stream->position;
  FillEntry(stream, stream->ino, DT_DIR, "..", first ? 1 : 2);
  return &stream->entry;
}

PST_COLD struct dirent64* NextPage(Stream* stream, int* err) {
  for (int tries = 0; tries < kListTries; ++tries) {
    uint64_t number = stream->position - 2;
    int failed;
    if (stream->page_bytes == 0) {
      failed = number == 0 ? LoadPage(stream, 0) : StartOver(stream, number);
    } else {
      if (stream->page + 1 >= stream->pages) return nullptr;
      uint64_t first = number;
      failed = LoadPage(stream, stream->page + 1);
      if (failed == ESTALE || failed == EIO) {
        failed = StartOver(stream, number);
      } else {
        stream->page_first = first;
      }
    }
    if (failed == ESTALE) {
      stream->page_bytes = 0;
      continue;
    }
    if (failed != 0) {
      *err = failed;
      return nullptr;
    }
    struct dirent64* entry = FromPage(stream, &failed);
    if (entry != nullptr) return entry;
    if (failed != 0) {
      *err = failed;
      return nullptr;
    }
    // An empty page: the next one, if there is one.
    if (stream->page + 1 >= stream->pages) return nullptr;
  }
  *err = EIO;
  return nullptr;
}

// A directory above mounts that is not on disk: one entry for each next step towards a mount.
PST_COLD struct dirent64* NextVirtual(Stream* stream) {
  uint32_t base = stream->path_len == 1 ? 0 : stream->path_len;
  for (;;) {
    uint64_t number = stream->position - 2;
    if (number >= g_config.prefix_count) return nullptr;
    ++stream->position;
    const Prefix& prefix = g_config.prefixes[number];
    if (prefix.len <= base || memcmp(prefix.path, stream->path, base) != 0 || prefix.path[base] != '/') continue;
    const char* name = prefix.path + base + 1;
    auto len = (uint32_t)strcspn(name, "/");
    bool seen = false;
    for (uint64_t i = 0; i < number && !seen; ++i) {
      const Prefix& earlier = g_config.prefixes[i];
      seen = earlier.len >= base + 1 + len && memcmp(earlier.path, prefix.path, base + 1 + len) == 0 &&
             (earlier.path[base + 1 + len] == 0 || earlier.path[base + 1 + len] == '/');
    }
    if (seen || len == 0 || len > kStreamNameMax) continue;
    FillEntry(stream, stream->ino + number + 1, DT_DIR, name, len);
    return &stream->entry;
  }
}

Stream* Begin(int* err) {
  Stream* stream = Allocate();
  if (stream == nullptr) {
    *err = EMFILE;
    return nullptr;
  }
  stream->used = 1;
  stream->fd = -1;
  stream->virtual_dir = 0;
  stream->position = 0;
  stream->listing_id = 0;
  stream->page_bytes = 0;
  stream->page = 0;
  stream->pages = 0;
  return stream;
}

}  // namespace

Stream* PstStreamOpen(const Route& route, int* err) {
  pst_attr attr;
  *err = PstLookup(route, &attr);
  if (PST_UNLIKELY(*err != 0)) return nullptr;
  if (PST_UNLIKELY(attr.kind != PST_KIND_DIRECTORY)) {
    *err = ENOTDIR;
    return nullptr;
  }
  Stream* stream = Begin(err);
  if (PST_UNLIKELY(stream == nullptr)) return nullptr;
  stream->id = route.id;
  stream->ns = route.view->mounts[route.mount].ns;
  stream->mount = route.mount;
  stream->ino = attr.ino;
  stream->path_len = route.rel_len;
  memcpy(stream->path, route.rel, route.rel_len);
  stream->path[route.rel_len] = 0;
  return stream;
}

Stream* PstStreamOpenFd(int fd, int* err) {
  FdEntry entry;
  if (!PstFdSnapshot(fd, &entry)) {
    *err = EBADF;
    return nullptr;
  }
  if (entry.kind != kFdDirectory) {
    *err = ENOTDIR;
    return nullptr;
  }
  Stream* stream = Begin(err);
  if (stream == nullptr) return nullptr;
  int len = PstFdPath(fd, entry, stream->path);
  if (len < 0) {
    Free(stream);
    *err = EBADF;
    return nullptr;
  }
  stream->path_len = (uint32_t)len;
  stream->id = entry.id;
  stream->ns = entry.ns;
  stream->mount = entry.mount;
  stream->ino = entry.ino;
  stream->fd = fd;
  return stream;
}

Stream* PstStreamOpenVirtual(const char* path, int* err) {
  Stream* stream = Begin(err);
  if (stream == nullptr) return nullptr;
  struct stat info;
  auto len = (uint32_t)strnlen(path, PST_PATH_MAX - 1);
  PstFillVirtualStat(path, len, &info);
  memcpy(stream->path, path, len);
  stream->path[len] = 0;
  stream->path_len = len;
  stream->virtual_dir = 1;
  stream->ino = info.st_ino;
  return stream;
}

PST_COLD struct dirent64* PstStreamNextSlow(Stream* stream, int* err) {
  if (stream->position < 2) return Dots(stream);
  int failed;
  struct dirent64* entry = FromPage(stream, &failed);
  if (entry != nullptr) return entry;
  if (stream->virtual_dir != 0) return NextVirtual(stream);
  if (failed != 0) {
    *err = failed;
    return nullptr;
  }
  if (stream->page_bytes != 0 && stream->page + 1 >= stream->pages) return nullptr;
  return NextPage(stream, err);
}

void PstStreamRewind(Stream* stream) {
  stream->position = 0;
  stream->page_bytes = 0;
  stream->listing_id = 0;
}

void PstStreamSeek(Stream* stream, long where) {
  stream->position = where < 0 ? 0 : (uint64_t)where;
  if (stream->virtual_dir == 0) stream->page_bytes = 0;  // found again by number
}

long PstStreamTell(Stream* stream) { return (long)stream->position; }

int PstStreamFd(Stream* stream) {
  if (stream->fd >= 0) return stream->fd;
  if (stream->virtual_dir != 0) return -ENOTSUP;
  const View* view = PstView();
  if (view == nullptr || stream->mount >= view->mount_count) return -EIO;
  Scratch scratch;
  char* full = scratch.Get();
  if (full == nullptr) return -ENOMEM;
  PstFullPath(view, stream->mount, stream->path, stream->path_len, full);
  bool handled;
  int fd = PstOpenAt(AT_FDCWD, full, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &handled);
  if (!handled) return -EIO;
  if (fd >= 0) stream->fd = fd;
  return fd;
}

void PstStreamDetach(Stream* stream) { Free(stream); }

int PstStreamClose(Stream* stream) {
  if (stream->used == 0) return -EBADF;
  int fd = stream->fd;
  stream->fd = -1;
  Free(stream);
  if (PST_LIKELY(fd < 0)) return 0;
  FdDropped dropped = PstFdDrop(fd);
  long done = Raw(SYS_close, fd);
  PstFdDropped(dropped);
  return (int)done;
}

}  // namespace penstock
