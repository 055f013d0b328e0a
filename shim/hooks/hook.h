#pragma once

// How a hook is written, in a file of shim/calls/:
//
//   PST_EXPORT int close(int fd) { ... }     libc's own signature
//
// and one PST_CALL line in hooks.def. Its twins need a PST_SAME line and no code: the linker makes
// them (aliases.ld.in). The function the program would have called without us is
// penstock::real.close(fd).

#define PST_EXPORT extern "C" __attribute__((visibility("default")))
