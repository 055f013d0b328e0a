// Directory streams of our own. A DIR* of ours is known by its address: all lie in one reserved mapping.
//
// Thread safety: as libc's: different streams from different threads. One stream from two threads may skip
// or repeat entries but stays inside its memory.
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
  alignas(64) unsigned char bytes[PST_RANGE_BYTES];
};

inline constexpr uint32_t kStreamNameMax = 255;

extern unsigned char* g_streams;        // start of the mapping, or null
extern uint64_t g_streams_bytes;

// The stream behind a DIR*, or null if it is libc's.
PST_INLINE Stream* PstStreamOf(const void* dir) {
  return (uint64_t)((const unsigned char*)dir - g_streams) < g_streams_bytes ? (Stream*)(void*)dir
                                                                          : nullptr;
}

// Copies a name of at most 255 bytes and its NUL. Both sides have room for 32 bytes more than the name: the
// page lies in the stream, which goes on behind it, and d_name is 256 bytes long.
PST_INLINE void PstCopyName(char* to, const unsigned char* from, uint32_t len) {
  static_assert(sizeof(dirent64::d_name) >= 256);
  __builtin_memcpy(to, from, 16);
  __builtin_memcpy(to + 16, from + 16, 16);
  if (PST_UNLIKELY(len > 32)) __builtin_memcpy(to + 32, from + 32, len - 32);
  to[len] = 0;
}

// The next entry of the page in hand; null if there is none or it is not sound.
PST_INLINE struct dirent64* PstStreamFromPage(Stream* stream) {
  uint32_t at = stream->at, limit = stream->page_bytes;
  if (PST_UNLIKELY(limit > PST_RANGE_BYTES || at + sizeof(pst_listing_entry) > limit)) return nullptr;
  const unsigned char* record = stream->bytes + at;
  uint64_t ino;
  uint16_t record_bytes, name_len;
  __builtin_memcpy(&ino, record, 8);
  __builtin_memcpy(&record_bytes, record + 8, 2);
  __builtin_memcpy(&name_len, record + 10, 2);
  if (PST_UNLIKELY((uint32_t)name_len - 1 >= kStreamNameMax)) return nullptr;
  if (PST_UNLIKELY(record_bytes < PST_LISTING_ENTRY_BYTES(name_len) || record_bytes > limit - at))
    return nullptr;
  struct dirent64* entry = &stream->entry;
  stream->at = at + record_bytes;
  entry->d_ino = ino;
  entry->d_off = (off_t)++stream->position;
  entry->d_reclen = (unsigned short)((offsetof(struct dirent64, d_name) + name_len + 1u + 7u) & ~7u);
  entry->d_type = record[12] == PST_KIND_DIRECTORY ? DT_DIR : DT_REG;
  PstCopyName(entry->d_name, record + 13, name_len);
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
  if (PST_LIKELY(stream->position >= 2)) {
    struct dirent64* entry = PstStreamFromPage(stream);
    if (PST_LIKELY(entry != nullptr)) return entry;
  }
  return PstStreamNextSlow(stream, err);
}
void PstStreamRewind(Stream* stream);
void PstStreamSeek(Stream* stream, long where);
long PstStreamTell(Stream* stream);
int PstStreamFd(Stream* stream);          // -errno on failure
int PstStreamClose(Stream* stream);       // 0 or -errno
void PstStreamDetach(Stream* stream);     // ends it and leaves its number open

}  // namespace penstock
