// What this process has read of name records, kept compactly: a stat of a known name touches three lines here
// instead of a bucket, an entry and a record that lie in three places of shared memory.
//
// A kept record is good while the index's name_epoch stands still and until it expires, so it is exactly as
// fresh as the index itself. Names longer than kNameCacheBytes are not kept.
//
// Thread safety: any thread, signal handlers; a writer that finds another one at work does not keep.
#pragma once

#include <stdint.h>

#include "shim/abi/key.h"
#include "shim/abi/record.h"
#include "shim/core/view.h"

namespace penstock {

inline constexpr uint32_t kNameCacheBytes = 64;

// The index's epoch, to be read before the index is looked at.
PST_INLINE uint64_t NameEpoch(const View* view) {
  return __atomic_load_n(&view->index.header->name_epoch, __ATOMIC_ACQUIRE) ^ view->incarnation;
}

// True: *attr is the record of this name.
bool NameCacheFind(uint64_t epoch, uint32_t ns, const pst_key128& id, const char* rel, uint32_t len,
                   pst_attr* attr);

// Keeps a record that was read under `epoch`; expires_ns is CLOCK_MONOTONIC, INT64_MAX never.
void NameCacheKeep(uint64_t epoch, uint32_t ns, const pst_key128& id, const char* rel, uint32_t len,
                   const pst_attr& attr, int64_t expires_ns);

}  // namespace penstock
