// Directory streams of our own. A DIR* of ours is known by its address: all lie in one reserved
// mapping.
//
// A page of a listing lies in shared memory as readdir hands its entries out (shim/abi/record.h).
// It is copied into the stream once, and readdir returns pointers into that copy: nothing is
// written, and what an entry says of itself is checked in the copy, which nobody else can change,
// before the entry is given out.
//
// Thread safety: as glibc's, whose streams have a lock: threads that share one stream get each
// entry once, and an entry stays as it is until the page is used up. A lock would cost more than
// all the rest of readdir, so a stream belongs to the thread that opened it, which only says that
// it is at work (`busy`). The first other thread takes that right from it: it clears `owner`, has
// the kernel make all threads of the process see that (membarrier), and waits until the owner is
// not at work. From then on everybody takes `lock`. Closing a stream that others use is the
// program's mistake, as with glibc.
#pragma once

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/abi/record.h"
#include "shim/core/path.h"

namespace penstock {

// Positions (telldir): 0 ".", 1 "..", then 2 + the entry's number over all pages.
struct Stream {
  // What readdir needs: one line. `page_bytes` and what follows belong to who holds the stream.
  alignas(64) uintptr_t
      owner;      // PstThisThread() of the only thread that may go without the lock; 0: nobody
  uint32_t busy;  // the owner is at work; written by it alone
  uint32_t lock;  // held by a thread, once the stream has no owner
  uint32_t page_bytes;  // of the page in hand, at most PST_RANGE_BYTES; 0: none
  uint32_t at;          // of the next entry in the page, at most PST_RANGE_BYTES
  uint32_t page;        // in hand
  uint32_t pages;
  uint64_t position;    // while no page is in hand; else see Position()
  uint64_t page_first;  // number of the first entry of the page in hand
  uint64_t listing_id;  // 0: none yet

  uint32_t used;
  uint32_t next_free;    // in the free list, + 1
  int32_t fd;            // -1 until dirfd asks
  uint32_t virtual_dir;  // entries are the way to mounts
  uint64_t ino;
  pst_key128 id;
  uint32_t ns;
  uint32_t mount;
  uint32_t path_len;
  uint32_t turning;         // a page is being brought in
  struct dirent64 dots[2];  // "." and ".."
  char path[PST_PATH_MAX];  // relative to the mount; absolute for a virtual directory
  alignas(
      64) unsigned char bytes[PST_RANGE_BYTES];  // the page in hand; a virtual directory's entries
  struct dirent64 behind;  // programs copy whole dirents, also the last one of a page
};
static_assert(offsetof(Stream, listing_id) < 64);

inline constexpr uint32_t kStreamNameMax = 255;
inline constexpr uint64_t kStreamStride =
    2 * PST_RANGE_BYTES;  // a page of a listing, and the stream itself
inline constexpr uint64_t kStreamsBytes = 4096 * kStreamStride;

// Start of the mapping; before it is made, what is far from every address of a program.
extern uintptr_t g_streams;

// The stream behind a DIR*, or null if it is libc's.
PST_INLINE Stream* PstStreamOf(const void* dir) {
  return (uintptr_t)dir - g_streams < kStreamsBytes ? (Stream*)(void*)dir : nullptr;
}

PST_INLINE uintptr_t PstThisThread() { return (uintptr_t)__builtin_thread_pointer(); }

// The owner's way in. False: the calling thread is not the owner, or not any more.
PST_INLINE bool PstStreamEnter(Stream* stream) {
  const uintptr_t self = PstThisThread();
  if (PST_UNLIKELY(__atomic_load_n(&stream->owner, __ATOMIC_RELAXED) != self)) return false;
  __atomic_store_n(&stream->busy, 1u, __ATOMIC_RELAXED);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);  // the processor's part is membarrier's
  if (PST_LIKELY(__atomic_load_n(&stream->owner, __ATOMIC_RELAXED) == self)) return true;
  __atomic_store_n(&stream->busy, 0u, __ATOMIC_RELEASE);
  return false;
}
PST_INLINE void PstStreamLeave(Stream* stream) {
  __atomic_store_n(&stream->busy, 0u, __ATOMIC_RELEASE);
}

static_assert(offsetof(dirent64, d_ino) == offsetof(pst_listing_entry, ino) &&
              offsetof(dirent64, d_off) == offsetof(pst_listing_entry, next) &&
              offsetof(dirent64, d_reclen) == offsetof(pst_listing_entry, record_bytes) &&
              offsetof(dirent64, d_type) == offsetof(pst_listing_entry, type) &&
              offsetof(dirent64, d_name) == offsetof(pst_listing_entry, name));
static_assert(DT_DIR == PST_LISTING_DIRECTORY && DT_REG == PST_LISTING_FILE);

// The next entry of the page in hand, where it lies there; null if there is none or it is not
// sound. For who holds the stream. Before position 2 no page is in hand, so that "." and ".." need
// no test here; at the page's end any length leads beyond it.
PST_INLINE struct dirent64* PstStreamFromPage(Stream* stream) {
  constexpr uint32_t kLeast = sizeof(pst_listing_entry), kMost = PST_LISTING_ENTRY_BYTES(kStreamNameMax);
  static_assert(kMost <= sizeof(dirent64) && kLeast <= sizeof(Stream::behind));
  const uint32_t at = stream->at;
  auto* entry = (struct dirent64*)(void*)(stream->bytes + at);
  const uint32_t bytes = entry->d_reclen, after = at + bytes;
  // In eighths, so that a length which is no multiple of 8 becomes a large number.
  const uint32_t over = bytes - kLeast, eighths = over >> 3 | over << 29;
  if (PST_UNLIKELY(eighths > (kMost - kLeast) / 8 || after > stream->page_bytes ||
                   ((const char*)entry)[bytes - 1] != 0)) {
    return nullptr;
  }
  stream->at = after;
  return entry;
}

// Opens a stream on a routed directory; null with *err set. It has no descriptor until dirfd asks.
Stream* PstStreamOpen(const Route& route, int* err);
// fdopendir: the stream takes the number over.
Stream* PstStreamOpenFd(int fd, int* err);
// A virtual ancestor: entries are the names below it that lead to mounts.
Stream* PstStreamOpenVirtual(const char* path, int* err);
// The next entry (valid until the next call on the stream), or null: the end (*err untouched) or
// *err set (EIO also when another thread holds the stream for too long).
PST_COLD struct dirent64* PstStreamNextSlow(Stream* stream, int* err);
PST_INLINE struct dirent64* PstStreamNext(Stream* stream, int* err) {
  if (PST_LIKELY(PstStreamEnter(stream))) {
    struct dirent64* entry = PstStreamFromPage(stream);
    PstStreamLeave(stream);
    if (PST_LIKELY(entry != nullptr)) return entry;
  }
  return PstStreamNextSlow(stream, err);
}
// As PstStreamNext, into memory of the caller's. False: the end, or *err set.
bool PstStreamNextInto(Stream* stream, struct dirent64* to, int* err);
void PstStreamRewind(Stream* stream);
void PstStreamSeek(Stream* stream, long where);
long PstStreamTell(Stream* stream);       // -errno on failure
int PstStreamFd(Stream* stream);          // -errno on failure
int PstStreamClose(Stream* stream);       // 0 or -errno
void PstStreamDetach(Stream* stream);     // ends it and leaves its number open
// In a forked child: threads that held streams are not here.
void PstStreamsAfterFork();

}  // namespace penstock
