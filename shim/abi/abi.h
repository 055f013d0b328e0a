/* Everything in shared memory is described in shim/abi/, and nowhere else.
 *
 * These headers compile as C11 and C++23. Fixed-width fields, offsets and no pointers; every size and
 * offset is asserted. Bump PST_ABI_MAJOR when an existing field changes meaning or place, PST_ABI_MINOR
 * when a field is added in reserved space; tests/abi holds a golden dump of all layouts.
 *
 * Who writes what:
 *   index memory    (index.h, record.h)   the sidecar writes, clients map it read-only
 *   arena memory    (index.h)             the sidecar writes, clients map it read-only
 *   session memory  (session.h)           one client and the sidecar write
 *   open-file table (open_file.h)         every client of the job writes its own slots
 * Neither side trusts what the other wrote: load a value once, check its bounds, then use it.
 *
 * Atomics are the compiler's builtins behind macros, so that the model test can run this very code
 * with a scheduler between any two accesses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PST_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define PST_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif
#define PST_CHECK_SIZE(type, bytes) PST_STATIC_ASSERT(sizeof(type) == (bytes), #type " size")
#define PST_CHECK_OFFSET(type, field, at) \
  PST_STATIC_ASSERT(offsetof(type, field) == (at), #type "." #field " offset")

#ifndef PST_ATOMICS_DEFINED
#define PST_LOAD_RELAXED(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define PST_LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define PST_STORE_RELAXED(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define PST_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define PST_FENCE_ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define PST_FENCE_RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
#define PST_CAS(p, expected, desired)                                                       \
  __atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#endif

#define PST_ABI_MAJOR 4u
#define PST_ABI_MINOR 2u

/* Units of caching. A file is cut into ranges; a range lies in one segment, at a multiple of 64. */
#define PST_RANGE_SHIFT 16u
#define PST_RANGE_BYTES (1u << PST_RANGE_SHIFT)     /* 64 KiB */
#define PST_SEGMENT_SHIFT 21u
#define PST_SEGMENT_BYTES (1u << PST_SEGMENT_SHIFT) /* 2 MiB: one huge page */
#define PST_ALIGN 64u

/* Limits. */
#define PST_MAX_MOUNTS 64u
#define PST_PATH_MAX 4096u          /* with its NUL, as the kernel's PATH_MAX */
#define PST_MOUNT_PATH_MAX 1024u    /* with its NUL */
#define PST_MAX_FILE_BYTES (1ull << 47)
#define PST_MAX_SEGMENTS (1u << 22) /* 8 TiB of arena */

/* Time in shared memory is CLOCK_MONOTONIC: the same in every container of a node (time namespaces
 * apart, which containers do not use). */
