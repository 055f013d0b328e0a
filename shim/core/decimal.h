// Numbers as text, without what printf allocates or locks.
#pragma once

#include <stdint.h>

namespace penstock {

// `value` in decimal at `to`, which has room for 20 bytes; where it ended. No NUL follows.
inline char* PutDecimal(uint64_t value, char* to) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) *to++ = digits[--count];
  return to;
}

}  // namespace penstock
