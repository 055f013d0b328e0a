#pragma once

// Which programs make their file calls around libc: by what stands in their file.
//
// Thread safety: any thread, signal handlers. No allocation.

#include <stddef.h>

namespace penstock {

enum class ProgramKind : unsigned char {
  kLoads,    // a dynamic loader loads it, and the library with it
  kRaw,      // static, or Go (whose runtime makes system calls itself, also where it is linked with
             // libc)
  kForeign,  // of another architecture
};

// The kind of an ELF file. `head` are its first `bytes`; more is read from `fd` where needed, with
// pread.
ProgramKind PstProgramKind(int fd, const char* head, size_t bytes);

// Is Go's build id among these notes?
bool PstHasGoNote(const char* notes, size_t bytes);

}  // namespace penstock
