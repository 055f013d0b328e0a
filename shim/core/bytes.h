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

// memcmp(a, b, n) == 0 for n up to a few dozen bytes. Reads nothing beyond them.
PST_INLINE bool SameBytes(const char* a, const char* b, uint32_t n) {
  if (PST_LIKELY(n >= 8)) {
    uint64_t differs = LoadWord(a + n - 8) ^ LoadWord(b + n - 8);
    for (uint32_t i = 0; i + 8 < n; i += 8) differs |= LoadWord(a + i) ^ LoadWord(b + i);
    return differs == 0;
  }
  for (uint32_t i = 0; i < n; ++i)
    if (a[i] != b[i]) return false;
  return true;
}

}  // namespace penstock
