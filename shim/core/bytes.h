// Comparing short names without a call.
#pragma once

#include <stdint.h>

#include "shim/core/hook.h"

namespace penstock {

PST_INLINE uint64_t LoadWord(const char* at) {
  uint64_t word;
  __builtin_memcpy(&word, at, sizeof word);
  return word;
}

// Sixteen bytes from anywhere, as one value.
using TwoWords = uint64_t __attribute__((vector_size(16), aligned(1), may_alias));

// memcmp(a, b, n) == 0 for n up to a few dozen bytes. Reads nothing beyond them.
PST_INLINE bool SameBytes(const char* a, const char* b, uint32_t n) {
  if (PST_LIKELY(n >= 16)) {
    auto differs =
        *(const TwoWords*)(const void*)(a + n - 16) ^ *(const TwoWords*)(const void*)(b + n - 16);
    for (uint32_t i = 0; i + 16 < n; i += 16)
      differs |= *(const TwoWords*)(const void*)(a + i) ^ *(const TwoWords*)(const void*)(b + i);
    return (differs[0] | differs[1]) == 0;
  }
  if (n >= 8)
    return ((LoadWord(a) ^ LoadWord(b)) | (LoadWord(a + n - 8) ^ LoadWord(b + n - 8))) == 0;
  for (uint32_t i = 0; i < n; ++i)
    if (a[i] != b[i]) return false;
  return true;
}

}  // namespace penstock
