#pragma once

// The seccomp filter of supervised programs: which system calls the kernel reports to the guard.
//
// The calls that name a file, ask about a descriptor or list a directory are reported; everything
// else, reads and maps among it, is allowed by number alone, which the kernel remembers (no cost
// per call). The library's own raw calls carry kRawMark (core/raw.h) in an argument that they do
// not use, and are not reported either: a program that has loaded the library inside a supervised
// one asks nobody for what the library does itself. io_uring_setup gives ENOSYS: what is opened
// through a ring is seen by no filter.
//
// Thread safety: PstInstallFilter concerns the calling thread and what it starts from then on.

namespace penstock {

// Installs it. The listener's descriptor (CLOEXEC), or -errno: EACCES without the right to, EBUSY
// where another supervisor listens already, EINVAL or ENOSYS where the kernel is too old. Sets
// no_new_privs only if the kernel asks for it.
// `forks`: fork, vfork and clone are reported too (yama.h).
int PstInstallFilter(bool forks);

}  // namespace penstock
