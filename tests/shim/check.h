// What the host programs share: a check that says where and goes on, and the two folders.
//
// Host programs are ordinary POSIX programs: they compare a covered folder with the plain one that it mirrors.
// They must not know anything about Penstock.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>

inline int g_failures = 0;
inline std::string g_covered;
inline std::string g_plain;

#define CHECK(cond, ...)                                                  \
  do {                                                                    \
    if (!(cond)) {                                                        \
      int saved = errno;                                                  \
      fprintf(stderr, "%s:%d: %s (errno %d): ", __FILE__, __LINE__, #cond, saved); \
      fprintf(stderr, " " __VA_ARGS__);                                   \
      fputc('\n', stderr);                                                \
      if (++g_failures > 30) exit(1);                                     \
    }                                                                     \
  } while (0)

inline void Folders(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s COVERED PLAIN\n", argv[0]);
    exit(2);
  }
  g_covered = argv[1];
  g_plain = argv[2];
}

// A random number generator whose seed is printed and can be given: PENSTOCK_TEST_SEED.
inline unsigned long Seed() {
  const char* given = getenv("PENSTOCK_TEST_SEED");
  unsigned long seed = given != nullptr ? strtoul(given, nullptr, 10) : 20240607;
  printf("seed %lu\n", seed);
  return seed;
}
