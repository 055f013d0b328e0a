// Comparing short names without a call, and reading bytes that another thread may be writing.
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

// Sixteen bytes that another thread may be writing: a sequence count decides afterwards whether
// they count. To the compiler a plain load of them would be a data race, and two loads of eight
// bytes cost more than what they guard.
PST_INLINE TwoWords LoadShared(const char* at) {
  const auto* words = (const TwoWords*)(const void*)at;
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
  TwoWords loaded;
  __asm__("movdqu %1, %0" : "=x"(loaded) : "m"(*words));
  return loaded;
#else
  using Word = uint64_t __attribute__((may_alias, aligned(1)));
  const auto* halves = (const Word*)(const void*)words;
  return TwoWords{__atomic_load_n(&halves[0], __ATOMIC_RELAXED),
                  __atomic_load_n(&halves[1], __ATOMIC_RELAXED)};
#endif
}

// As SameBytes, where another thread may be writing `shared`, of which the first 16 bytes can be
// read whatever `n` is.
PST_INLINE bool SameAsShared(const char* shared, const char* own, uint32_t n) {
  if (PST_LIKELY(n >= 16)) {
    auto differs = LoadShared(shared + n - 16) ^ *(const TwoWords*)(const void*)(own + n - 16);
    for (uint32_t i = 0; i + 16 < n; i += 16)
      differs |= LoadShared(shared + i) ^ *(const TwoWords*)(const void*)(own + i);
    return (differs[0] | differs[1]) == 0;
  }
  char copy[16];
  const TwoWords first = LoadShared(shared);
  __builtin_memcpy(copy, &first, sizeof copy);
  return SameBytes(copy, own, n);
}

}  // namespace penstock
