#pragma once

// The functions that a program would have called without us: for each hook of hooks.def the next
// definition of its name after this library in the program's search order (libc's, or that of
// another preloaded library).
//
// Use: penstock::real.read(fd, buffer, count). An indirect call and nothing else: each pointer
// starts at a stub that looks the name up, replaces the pointer and goes on to the function. Thread
// safety: all of it may be used at any time, by any thread, also before our constructor has run,
// while an allocator initialises and in the child of vfork. The look-up reads the loaded objects'
// symbol tables itself: unlike dlsym it allocates nothing and does not touch dlerror(). RealInit()
// resolves what signal handlers may call, so that no look-up runs in one. Errors: a name that no
// object has (another libc) gives ENOSYS and -1 or a null pointer.

#include <aio.h>
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <utime.h>
#include <wchar.h>
#include <wordexp.h>

struct iocb;         // libaio's and the kernel's
struct io_context;   // libaio's
struct io_uring;     // liburing's
struct io_uring_cqe;     // <linux/io_uring.h>
struct io_uring_params;  // the same
struct __kernel_timespec;
struct open_how;     // <linux/openat2.h>
struct termios;      // <termios.h>
struct winsize;      // <sys/ioctl.h>
struct file_handle;  // <fcntl.h> with _GNU_SOURCE

namespace penstock {

struct Real {
#define PST_CALL(ret, name, params, args, family, how) ret(*name) params;
#define PST_CALL_VA(ret, name, declared, params, args, family, how) ret(*name) declared;
#define PST_NEXT(ret, name, params, args) ret(*name) params;
#include "shim/hooks/hooks.def"
};

extern __attribute__((visibility("hidden"))) Real real;

// Resolves the async-signal-safe functions. Called by the constructor.
__attribute__((visibility("hidden"))) void RealInit();

// Resolves every name, once. Before the fork of a program with threads: another thread may hold the
// loader's lock at that moment, and the child must never look a name up.
__attribute__((visibility("hidden"))) void RealResolveAll();

// What this library exports under `name`, or null.
__attribute__((visibility("hidden"))) void* FindOwn(const char* name);

// The next definition of `name` after this library, or null.
__attribute__((visibility("hidden"))) void* FindNext(const char* name);

}  // namespace penstock
