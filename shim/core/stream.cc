#include "shim/core/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/core/client.h"
#include "shim/core/config.h"
#include "shim/core/names.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/core/time.h"

namespace penstock {

namespace {
constexpr uintptr_t kUnmapped = UINTPTR_MAX / 2 + 1;
}
uintptr_t g_streams = kUnmapped;

static_assert(sizeof(Stream) <= kStreamStride);

namespace {

constexpr uint32_t kMaxStreams = kStreamsBytes / kStreamStride;
constexpr int kListTries = 8;
constexpr int kNoPage = -1;  // behind the last one
constexpr int64_t kHeldNs = 60'000'000'000;  // longer than any question to the sidecar lasts
constexpr int64_t kNapNs = 50'000;

uint64_t g_free;             // (tag << 32) | number + 1 of the first free stream
uint32_t g_made;
uint32_t g_unowned;  // the kernel has no membarrier: every stream begins with its lock

Stream* At(uint32_t number) { return (Stream*)(g_streams + (uint64_t)number * kStreamStride); }

PST_COLD bool MapStreams() {
  long at = Raw(SYS_mmap, nullptr, kStreamsBytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at < 0 && at > -4096) return false;
  long known = Raw(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  if (known < 0 || (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
    __atomic_store_n(&g_unowned, 1u, __ATOMIC_RELAXED);
  uintptr_t expected = kUnmapped;
  if (!__atomic_compare_exchange_n(&g_streams, &expected, (uintptr_t)at, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    Raw(SYS_munmap, at, kStreamsBytes);
  }
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
  if (__atomic_load_n(&g_streams, __ATOMIC_ACQUIRE) == kUnmapped && !MapStreams()) return nullptr;
  uint32_t number = __atomic_load_n(&g_made, __ATOMIC_RELAXED);
  do {
    if (number >= kMaxStreams) return nullptr;
  } while (!__atomic_compare_exchange_n(&g_made, &number, number + 1, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  return At(number);
}

void Free(Stream* stream) {
  auto number = (uint32_t)(((uintptr_t)stream - g_streams) / kStreamStride);
  stream->used = 0;
  uint64_t head = __atomic_load_n(&g_free, __ATOMIC_RELAXED), next;
  do {
    __atomic_store_n(&stream->next_free, (uint32_t)head, __ATOMIC_RELAXED);
    next = ((head >> 32) + 1) << 32 | (number + 1);
  } while (!__atomic_compare_exchange_n(&g_free, &head, next, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

// Sleeps a little; false once *deadline_ns (0 at the first call) is over.
PST_COLD bool Nap(int64_t* deadline_ns) {
  const int64_t now_ns = PstMonotonicNs();
  if (*deadline_ns == 0) {
    *deadline_ns = now_ns + kHeldNs;
    Raw(SYS_sched_yield);
    return true;
  }
  if (now_ns > *deadline_ns) return false;
  PstSleepNs(kNapNs);
  return true;
}

// Takes the right to go without the lock from a stream's owner, who may be at work. For who has the
// lock. False: the owner does not end (a forked child has the stream, but not the thread), and
// stays the owner.
PST_COLD bool TakeFromOwner(Stream* stream, uintptr_t owner, int64_t* deadline_ns) {
  __atomic_store_n(&stream->owner, 0, __ATOMIC_RELAXED);
  long done = Raw(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  if (done == -EPERM && Raw(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
    done = Raw(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  bool idle = done == 0;
  for (int spin = 0; idle && __atomic_load_n(&stream->busy, __ATOMIC_ACQUIRE) != 0; ++spin)
    idle = spin < 64 || Nap(deadline_ns);
  if (!idle) __atomic_store_n(&stream->owner, owner, __ATOMIC_RELAXED);
  return idle;
}

// Holds a stream for a scope, as its owner or by its lock. False: another thread does not let go of
// it.
class Hold {
 public:
  explicit Hold(Stream* stream) : stream_(stream) {
    owned_ = PstStreamEnter(stream);
    held_ = owned_ || Lock();
  }
  ~Hold() {
    if (owned_) {
      PstStreamLeave(stream_);
    } else if (held_) {
      __atomic_store_n(&stream_->lock, 0u, __ATOMIC_RELEASE);
    }
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  explicit operator bool() const { return held_; }

 private:
  bool Lock() {
    int64_t deadline_ns = 0;
    uint32_t free = 0;
    for (int spin = 0; !__atomic_compare_exchange_n(&stream_->lock, &free, 1u, false,
                                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
         ++spin) {
      free = 0;
      if (spin >= 64 && !Nap(&deadline_ns)) return false;
    }
    const uintptr_t owner = __atomic_load_n(&stream_->owner, __ATOMIC_RELAXED);
    if (PST_LIKELY(owner == 0) || TakeFromOwner(stream_, owner, &deadline_ns)) return true;
    __atomic_store_n(&stream_->lock, 0u, __ATOMIC_RELEASE);
    return false;
  }

  Stream* const stream_;
  bool owned_;
  bool held_;
};

// What telldir says. Entries know their own position, so that readdir need not count.
uint64_t Position(const Stream* stream) {
  if (stream->page_bytes == 0) return stream->position;
  if (stream->at < stream->page_bytes) {
    int64_t next;
    memcpy(&next, stream->bytes + stream->at + offsetof(pst_listing_entry, next), sizeof next);
    return next < 3 ? 2 : (uint64_t)next - 1;
  }
  pst_listing_page header;
  memcpy(&header, stream->bytes, sizeof header);
  return stream->page_first + header.count + 2;
}

// The next entry of the page in hand, or null with *err: 0 the page is used up, EIO it is not sound.
struct dirent64* FromPage(Stream* stream, int* err) {
  *err = 0;
  struct dirent64* entry = PstStreamFromPage(stream);
  if (entry == nullptr && stream->at < stream->page_bytes) *err = EIO;
  return entry;
}

// Checks a page that lies in the stream's own memory. `bytes` were copied.
bool PageValid(Stream* stream, uint32_t bytes, uint32_t page) {
  pst_listing_page header;
  if (bytes < sizeof header) return false;
  memcpy(&header, stream->bytes, sizeof header);
  if (header.magic != PST_LISTING_MAGIC || header.bytes > bytes || header.bytes < sizeof header) return false;
  if (header.bytes > PST_RANGE_BYTES) return false;
  if (header.page != page || (header.pages != 0 && page >= header.pages)) return false;
  if (stream->listing_id != 0 && header.listing_id != stream->listing_id) return false;
  stream->listing_id = header.listing_id;
  stream->pages = header.pages;
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
  // Only its entries: what stat wants to know lies behind them.
  const unsigned char* bytes = pst_entry_bytes(&view->index, &found);
  if (found.length < sizeof(pst_listing_page)) return false;
  uint32_t length;
  memcpy(&length, bytes + offsetof(pst_listing_page, bytes), sizeof length);
  if (length > found.length) return false;
  memcpy(stream->bytes, bytes, length);
  if (!pst_entry_current(&view->index, &found)) return false;
  return PageValid(stream, length, page);
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
    Ask ask = ListAsk(stream, PST_OP_LIST);
    ask.version = stream->listing_id;
    ask.offset = page;
    int err = PstAsk(ask, &answer);
    if (err != 0) return err;
    if (page == 0) stream->listing_id = 0;  // nothing has been given out of the old one
    if (stream->listing_id != 0 && answer.version != stream->listing_id) return ESTALE;
    if (page != 0 && answer.length != 0 && page >= answer.length) return kNoPage;
    if (CopyPage(stream, page)) return 0;
  }
  return ReadPageSlowly(stream, page);
}

// Brings page `page`, whose first entry is number `first`, into the stream. 0, a positive errno,
// kNoPage, or ESTALE: another listing took its place.
int LoadPage(Stream* stream, uint32_t page, uint64_t first) {
  if (page == 0) stream->listing_id = 0;
  stream->page_first = first;
  if (PST_LIKELY(CopyPage(stream, page))) return 0;
  stream->page_bytes = 0;
  return LoadMissingPage(stream, page);
}

// Of a listing that still comes it is not known which page is the last.
bool OnLastPage(const Stream* stream) { return stream->pages != 0 && stream->page + 1 >= stream->pages; }

// The folder changed between two pages: go to where the reader was in the new listing, as far as numbers tell.
PST_COLD int StartOver(Stream* stream, uint64_t entry_number) {
  int err = LoadPage(stream, 0, 0);
  if (err != 0) return err;
  uint64_t number = 0;
  for (uint32_t page = 0;;) {
    pst_listing_page header;
    memcpy(&header, stream->bytes, sizeof header);
    if (number + header.count > entry_number || OnLastPage(stream)) break;
    number += header.count;
    err = LoadPage(stream, ++page, number);
    if (err != 0) return err;
  }
  for (uint64_t i = number; i < entry_number && stream->at < stream->page_bytes; ++i)
    if (PstStreamFromPage(stream) == nullptr) return EIO;
  return 0;
}

// The page in hand was the last one: it stays in hand, used up.
PST_COLD struct dirent64* StayAtEnd(Stream* stream, int* err) {
  const uint32_t last = stream->page;
  const uint64_t end = stream->page_first;  // of the page that there is not
  const int failed = LoadPage(stream, last, end);
  if (failed != 0) {
    *err = failed == ESTALE || failed == kNoPage ? EIO : failed;
    return nullptr;
  }
  pst_listing_page header;
  memcpy(&header, stream->bytes, sizeof header);
  stream->page_first = end - header.count;
  stream->pages = last + 1;
  stream->at = stream->page_bytes;
  return nullptr;
}

struct dirent64* FillFolder(struct dirent64* entry, uint64_t ino, uint64_t position,
                            const char* name, uint32_t len) {
  entry->d_ino = ino;
  entry->d_off = (off_t)position;
  entry->d_reclen = (unsigned short)((offsetof(struct dirent64, d_name) + len + 1 + 7) & ~7u);
  entry->d_type = DT_DIR;
  memcpy(entry->d_name, name, len);
  entry->d_name[len] = 0;
  return entry;
}

struct dirent64* Dots(Stream* stream) {
  const uint64_t number = stream->position++;
  return FillFolder(&stream->dots[number], stream->ino, number + 1, "..", (uint32_t)number + 1);
}

// While a page is brought in and the reader's place in it is found, `position` alone says where the
// reader is. A forked child may find the stream in the middle of that.
class Turning {
 public:
  explicit Turning(Stream* stream) : stream_(stream) {
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&stream->turning, 1u, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
  }
  ~Turning() { Done(); }
  void Done() { __atomic_store_n(&stream_->turning, 0u, __ATOMIC_RELEASE); }
  Turning(const Turning&) = delete;
  Turning& operator=(const Turning&) = delete;

 private:
  Stream* const stream_;
};

PST_COLD struct dirent64* NextPage(Stream* stream, int* err) {
  for (int tries = 0; tries < kListTries; ++tries) {
    stream->position = Position(stream);
    uint64_t number = stream->position - 2;
    int failed;
    Turning turning(stream);
    if (stream->page_bytes == 0) {
      failed = number == 0 ? LoadPage(stream, 0, 0) : StartOver(stream, number);
    } else {
      if (OnLastPage(stream)) return nullptr;
      failed = LoadPage(stream, stream->page + 1, number);
      if (failed == ESTALE || failed == EIO) failed = StartOver(stream, number);
    }
    if (failed == kNoPage) return StayAtEnd(stream, err);
    if (failed == ESTALE) {
      stream->page_bytes = 0;
      continue;
    }
    if (failed != 0) {
      *err = failed;
      return nullptr;
    }
    turning.Done();
    struct dirent64* entry = FromPage(stream, &failed);
    if (entry != nullptr) return entry;
    if (failed != 0) {
      *err = failed;
      return nullptr;
    }
    // An empty page: the next one, if there is one.
    if (OnLastPage(stream)) return nullptr;
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
    // Like a page's, an entry stays for a while: another thread may still look at it.
    auto* entries = (struct dirent64*)(void*)stream->bytes;
    return FillFolder(&entries[number % (sizeof stream->bytes / sizeof *entries)],
                      stream->ino + number + 1, stream->position, name, len);
  }
}

Stream* Begin(int* err) {
  Stream* stream = Allocate();
  if (stream == nullptr) {
    *err = g_streams == kUnmapped ? ENOMEM : EMFILE;
    return nullptr;
  }
  stream->owner = g_unowned == 0 ? PstThisThread() : 0;
  stream->busy = 0;
  stream->lock = 0;
  stream->used = 1;
  stream->fd = -1;
  stream->virtual_dir = 0;
  stream->turning = 0;
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

namespace {

PST_COLD struct dirent64* NextHeld(Stream* stream, int* err) {
  if (stream->page_bytes == 0 && stream->position < 2) return Dots(stream);
  if (stream->virtual_dir != 0) return NextVirtual(stream);
  int failed;
  struct dirent64* entry = FromPage(stream, &failed);
  if (entry != nullptr) return entry;
  if (failed != 0) {
    *err = failed;
    return nullptr;
  }
  if (stream->page_bytes != 0 && OnLastPage(stream)) return nullptr;
  return NextPage(stream, err);
}

int FdHeld(Stream* stream) {
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

}  // namespace

struct dirent64* PstStreamNextSlow(Stream* stream, int* err) {
  Hold hold(stream);
  if (hold) return NextHeld(stream, err);
  *err = EIO;
  return nullptr;
}

bool PstStreamNextInto(Stream* stream, struct dirent64* to, int* err) {
  Hold hold(stream);
  if (!hold) {
    *err = EIO;
    return false;
  }
  const struct dirent64* entry = NextHeld(stream, err);
  if (entry != nullptr) memcpy(to, entry, entry->d_reclen);
  return entry != nullptr;
}

void PstStreamRewind(Stream* stream) { PstStreamSeek(stream, 0); }

void PstStreamSeek(Stream* stream, long where) {
  Hold hold(stream);
  if (!hold) return;
  stream->position = where < 0 ? 0 : (uint64_t)where;
  stream->page_bytes = 0;  // found again by number
  if (where <= 0) stream->listing_id = 0;
}

long PstStreamTell(Stream* stream) {
  Hold hold(stream);
  return hold ? (long)Position(stream) : -EIO;
}

int PstStreamFd(Stream* stream) {
  Hold hold(stream);
  return hold ? FdHeld(stream) : -EIO;
}

void PstStreamDetach(Stream* stream) { Free(stream); }

void PstStreamsAfterFork() {
  if (__atomic_load_n(&g_streams, __ATOMIC_ACQUIRE) == kUnmapped) return;
  const uint32_t made = __atomic_load_n(&g_made, __ATOMIC_RELAXED);
  for (uint32_t number = 0; number < made; ++number) {
    Stream* stream = At(number);
    // Those of the forking thread are its own business: a handler may have forked in the middle.
    if (stream->used == 0 || stream->owner == PstThisThread()) continue;
    if (stream->turning != 0) stream->page_bytes = 0;
    stream->turning = 0;
    stream->busy = 0;
    stream->lock = 0;
    stream->owner = 0;
  }
}

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
