// The library's own descriptors: high, CLOEXEC, and checked before use, because programs close everything.
//
// Thread safety: any thread; the setters only while the join lock is held (client.cc).
#pragma once

#include <stdint.h>

namespace penstock {

enum class Own : uint8_t { kSocket, kDoorbell, kFolder, kOpenFiles, kZeros };
inline constexpr int kOwnCount = 5;

// The descriptor if it still is what we opened (fstat: device and inode), else -1 and it is forgotten.
int OwnFdChecked(Own which);

// Takes `fd` over, moved to a high number; the previous one is closed. 0 or -errno.
int OwnFdSet(Own which, int fd);

// Closes it, if it still is ours.
void OwnFdClose(Own which);

// In a forked child, before it joins: closes all that it inherited, reservations in hand included.
void OwnFdCloseInherited();

// Number `fd` was taken from us: forget it without closing it. True if it was one of these.
bool OwnFdForget(int fd);

}  // namespace penstock
