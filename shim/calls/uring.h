#pragma once

// io_uring reads behind every hook. A program that uses it gets real files from open on; it is
// known by the library it has mapped, or by its io_uring_setup through syscall(). Names in the
// entries that it submits are looked at on their way (ring_entry.h): through liburing's functions,
// or, for a ring of the program's own making, where it is entered through syscall(). A ring whose
// entries the kernel takes by itself (IORING_SETUP_SQPOLL) could not be watched: where the program
// makes it by itself that gives EPERM, as from kernels before 5.11, and programs that have a way
// without go on (libuv). Rings made by system calls of the program's own code are not seen.
//
// Thread safety: any thread.

#include "shim/core/hook.h"

struct io_uring_params;

namespace penstock {

// Once true, covered files become real when they are opened.
extern bool g_open_real;

// At start: is liburing among the program's libraries?
void UringDetect();

// The program sets a ring up, or loads the library; or threads and processes begin to have tables
// of numbers of their own, or to share one, where we know of one table for all of the memory. What
// is open becomes real now.
void OpenRealFromNow();

// io_uring_setup, with the kernel's answer: a number or -errno.
PST_COLD long UringSetup(unsigned entries, io_uring_params* params);

// A file was mapped: is it one of the rings?
extern bool g_rings;
PST_COLD void UringMapped(int fd, int64_t offset, void* at);

// After io_uring_register, which did `count` of them: the calling thread's indexes of rings.
PST_COLD void UringRegistered(unsigned operation, const void* argument, long count);

// Before io_uring_enter: the entries that wait in the ring `fd` (`registered`: the thread's index of
// it).
PST_COLD void UringEnter(int fd, bool registered);

}  // namespace penstock
