// Directory streams of our own. A DIR* of ours is known by its address: all lie in one reserved mapping.
//
// Thread safety: as libc's: different streams from different threads. One stream from two threads may skip
// or repeat entries but stays inside its memory.
#pragma once

#include <dirent.h>
#include <stdint.h>

#include "shim/abi/record.h"
#include "shim/core/path.h"

namespace penstock {

struct Stream;

extern unsigned char* g_streams;        // start of the mapping, or null
extern uint64_t g_streams_bytes;

// The stream behind a DIR*, or null if it is libc's.
PST_INLINE Stream* PstStreamOf(const void* dir) {
  return (uint64_t)((const unsigned char*)dir - g_streams) < g_streams_bytes ? (Stream*)(void*)dir
                                                                          : nullptr;
}

// Opens a stream on a routed directory; null with *err set. It has no descriptor until dirfd asks.
Stream* PstStreamOpen(const Route& route, int* err);
// fdopendir: the stream takes the number over.
Stream* PstStreamOpenFd(int fd, int* err);
// A virtual ancestor: entries are the names below it that lead to mounts.
Stream* PstStreamOpenVirtual(const char* path, int* err);
// The next entry (valid until the next call on the stream), or null: the end (*err untouched) or *err set.
struct dirent64* PstStreamNext(Stream* stream, int* err);
void PstStreamRewind(Stream* stream);
void PstStreamSeek(Stream* stream, long where);
long PstStreamTell(Stream* stream);
int PstStreamFd(Stream* stream);          // -errno on failure
int PstStreamClose(Stream* stream);       // 0 or -errno
void PstStreamDetach(Stream* stream);     // ends it and leaves its number open

}  // namespace penstock
