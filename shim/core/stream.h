// Directory streams of our own. A DIR* of ours is known by its address: all lie in one reserved mapping.
//
// Thread safety: as libc's: different streams from different threads. One stream from two threads may skip
// or mistake entries, as POSIX allows, but stays inside its memory.
#pragma once

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/abi/record.h"
#include "shim/core/path.h"

namespace penstock {

// Positions (telldir): 0 ".", 1 "..", then 2 + the entry's number over all pages.
struct Stream {
  uint32_t used;
  uint32_t next_free;        // in the free list, + 1
  int32_t fd;                // -1 until dirfd asks
  uint32_t virtual_dir;      // entries are the way to mounts
  uint64_t position;
  uint64_t page_first;       // number of the first entry of the page in hand
  uint64_t listing_id;       // 0: none yet
  uint32_t page;             // in hand
  uint32_t pages;
  uint32_t page_bytes;       // 0: none in hand
  uint32_t at;               // of the next entry in the page
  uint64_t total;
  uint64_t ino;
  pst_key128 id;
  uint32_t ns;
  uint32_t mount;
  uint32_t path_len;
  uint32_t reserved;
  struct dirent64 entry;
  char path[PST_PATH_MAX];   // relative to the mount; absolute for a virtual directory
  alignas(64) unsigned char before[6];
  unsigned char bytes[PST_RANGE_BYTES];  // the page in hand; 6 beyond a line, see kDirentBefore
  struct dirent64 behind;                // programs copy whole dirents, also the last one of a page
};

inline constexpr uint32_t kStreamNameMax = 255;

extern unsigned char* g_streams;        // start of the mapping, or null
extern uint64_t g_streams_bytes;

// The stream behind a DIR*, or null if it is libc's.
PST_INLINE Stream* PstStreamOf(const void* dir) {
  return (uint64_t)((const unsigned char*)dir - g_streams) < g_streams_bytes ? (Stream*)(void*)dir
                                                                          : nullptr;
}

// A kind as readdir shows it, without a branch.
PST_INLINE constexpr unsigned char StreamType(uint32_t kind) {
  return (unsigned char)(DT_REG - DT_DIR * (kind - PST_KIND_FILE));
}
static_assert(StreamType(PST_KIND_FILE) == DT_REG && StreamType(PST_KIND_DIRECTORY) == DT_DIR);

// How far before a listing's entry its dirent begins, so that the name is where it should be.
inline constexpr uint32_t kDirentBefore = offsetof(dirent64, d_name) - offsetof(pst_listing_entry, name);
static_assert(offsetof(Stream, bytes) % 8 == kDirentBefore, "entries are aligned as a dirent is");

// The next entry of the page in hand; null if there is none or it is not sound. Its name stays where it lies in
// the stream's copy of the page, and what stands before the name is written over. Before position 2 no page is in
// hand, so that "." and ".." need no test here.
PST_INLINE struct dirent64* PstStreamFromPage(Stream* stream) {
  const uint32_t at = stream->at, limit = stream->page_bytes;  // never more than PST_RANGE_BYTES
  if (PST_UNLIKELY(at + sizeof(pst_listing_entry) > limit)) return nullptr;
  unsigned char* record = stream->bytes + at;
  uint64_t ino;
  uint16_t record_bytes;
  __builtin_memcpy(&ino, record, sizeof ino);
  __builtin_memcpy(&record_bytes, record + offsetof(pst_listing_entry, record_bytes), sizeof record_bytes);
  const uint32_t kind = record[offsetof(pst_listing_entry, kind)];
  const uint32_t after = at + record_bytes;
  constexpr uint32_t kLeast = sizeof(pst_listing_entry), kMost = PST_LISTING_ENTRY_BYTES(kStreamNameMax);
  // Zeros follow the name to the record's end.
  if (PST_UNLIKELY(after > limit || record_bytes - kLeast > kMost - kLeast || stream->bytes[after - 1] != 0))
    return nullptr;
  auto* entry = (struct dirent64*)(void*)(record - kDirentBefore);
  entry->d_ino = ino;
  entry->d_off = (off_t)++stream->position;
  entry->d_reclen = (unsigned short)(record_bytes + 8);
  static_assert(kMost + 8 <= sizeof(dirent64) && (kDirentBefore <= 8));
  entry->d_type = StreamType(kind);
  stream->at = after;
  return entry;
}

// Opens a stream on a routed directory; null with *err set. It has no descriptor until dirfd asks.
Stream* PstStreamOpen(const Route& route, int* err);
// fdopendir: the stream takes the number over.
Stream* PstStreamOpenFd(int fd, int* err);
// A virtual ancestor: entries are the names below it that lead to mounts.
Stream* PstStreamOpenVirtual(const char* path, int* err);
// The next entry (valid until the next call on the stream), or null: the end (*err untouched) or *err set.
PST_COLD struct dirent64* PstStreamNextSlow(Stream* stream, int* err);
PST_INLINE struct dirent64* PstStreamNext(Stream* stream, int* err) {
  struct dirent64* entry = PstStreamFromPage(stream);
  return PST_LIKELY(entry != nullptr) ? entry : PstStreamNextSlow(stream, err);
}
void PstStreamRewind(Stream* stream);
void PstStreamSeek(Stream* stream, long where);
long PstStreamTell(Stream* stream);
int PstStreamFd(Stream* stream);          // -errno on failure
int PstStreamClose(Stream* stream);       // 0 or -errno
void PstStreamDetach(Stream* stream);     // ends it and leaves its number open

}  // namespace penstock
