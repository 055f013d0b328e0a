#pragma once

// Mappings of large covered files hold only the range that was asked for; the rest of the file behind
// them may still be holes. A mapping that is about to show more of its file (mremap) has to fetch that
// first. Which file a mapping is of is found in /proc/self/maps, so nothing has to follow munmap, fork
// or splits of a mapping.
//
// Thread safety: any thread. No allocation; errno is left alone.

#include "shim/core/fd_table.h"

namespace penstock {

// Files of at most this size are filled whole when they are mapped, and are never noted.
inline constexpr uint64_t kMapWholeBytes = 64ull << 20;

// Remembers that `map_fd`, just mapped at `at`, is the file of `entry`, only partly filled. False if it could
// not be remembered: then the whole file has to be filled.
PST_COLD bool PstNotePartialMap(const FdEntry& entry, const char* path, uint32_t path_len, int map_fd,
                                const void* at);

// Before the mapping that holds `at` shows [0, bytes) behind that address (`file_offset` >= 0: that part of
// its file instead). 0, or a positive errno: ENOMEM if the file behind the mapping can get no more bytes.
PST_COLD int PstFillForRemap(const void* at, size_t bytes, int64_t file_offset);

// True once anything was noted.
extern bool g_partial_maps;

}  // namespace penstock
