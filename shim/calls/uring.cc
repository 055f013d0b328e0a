#include "shim/calls/uring.h"

#include <link.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <string.h>

#include "shim/calls/launch.h"
#include "shim/calls/ring_entry.h"
#include "shim/calls/support.h"
#include "shim/core/fork_gate.h"
#include "shim/core/raw.h"

namespace penstock {

bool g_open_real;
bool g_rings;

namespace {

constexpr unsigned kSqe128 = 1u << 10, kNoMmap = 1u << 14,
                   kNoSqArray = 1u << 16;  // IORING_SETUP_...
constexpr unsigned kMaxRings = 256;

// A ring that the program made itself. Addresses are the program's mappings of it; a number that was
// closed stays until another ring gets it, and is not looked at: only a ring that is entered is, and
// who enters has it mapped. So readers need no lock: a ring changes while nobody can enter it.
struct Ring {
  int fd;
  unsigned serial;
  unsigned flags, features;
  io_sqring_offsets at;
  char* queue;
  char* entries;
};
Ring g_ring[kMaxRings];
unsigned g_ring_count, g_ring_serial;
uint32_t g_ring_lock;

// Held for a few stores, by who makes a ring; a fork waits. A thread that waits for one that is not
// running gives up its turn.
class RingLock {
 public:
  RingLock() : signals_(PstHoldEnter()) {
    while (__atomic_exchange_n(&g_ring_lock, 1u, __ATOMIC_ACQUIRE) != 0) Raw(SYS_sched_yield);
  }
  ~RingLock() {
    __atomic_store_n(&g_ring_lock, 0u, __ATOMIC_RELEASE);
    PstHoldLeave(signals_);
  }
  RingLock(const RingLock&) = delete;
  RingLock& operator=(const RingLock&) = delete;

 private:
  uint64_t signals_;
};

Ring* FindRing(int fd) {
  const unsigned count = __atomic_load_n(&g_ring_count, __ATOMIC_ACQUIRE);
  for (unsigned i = 0; i < count; ++i) {
    if (__atomic_load_n(&g_ring[i].fd, __ATOMIC_RELAXED) == fd) return &g_ring[i];
  }
  return nullptr;
}

// Rings that this thread has registered, by their index: the number may be closed, or another ring's
// by now.
constexpr unsigned kRegistered = 16;  // the kernel's limit
struct Registered {
  const Ring* ring;
  unsigned serial;
};
__thread Registered t_registered[kRegistered];

template <class T>
T* At(char* base, uint64_t offset) {
  return reinterpret_cast<T*>(base + offset);
}

io_uring_sqe* EntryAt(void* entries, unsigned index, unsigned flags) {
  const size_t bytes = sizeof(io_uring_sqe) << ((flags & kSqe128) != 0);
  return reinterpret_cast<io_uring_sqe*>(static_cast<char*>(entries) + index * bytes);
}

void LookAt(const Ring& ring) {
  if (ring.queue == nullptr || ring.entries == nullptr) return;
  const unsigned mask = *At<unsigned>(ring.queue, ring.at.ring_mask);
  const unsigned tail = PST_LOAD_ACQUIRE(At<unsigned>(ring.queue, ring.at.tail));
  unsigned head = PST_LOAD_ACQUIRE(At<unsigned>(ring.queue, ring.at.head));
  if (tail - head > mask + 1) return;
  for (; head != tail; ++head) {
    unsigned index = head & mask;
    if ((ring.flags & kNoSqArray) == 0) index = At<unsigned>(ring.queue, ring.at.array)[index];
    if (index <= mask) PstRingEntry(EntryAt(ring.entries, index, ring.flags), ring.fd);
  }
}

int IsUring(dl_phdr_info* object, size_t, void*) {
  return object->dlpi_name != nullptr && strstr(object->dlpi_name, "/liburing.so") != nullptr ? 1
                                                                                              : 0;
}

}  // namespace

void UringDetect() {
  if (dl_iterate_phdr(IsUring, nullptr) == 0) return;
  OpenRealFromNow();
}

void OpenRealFromNow() {
  if (g_open_real || !g_config.active) return;
  __atomic_store_n(&g_open_real, true, __ATOMIC_RELEASE);
  MakeOpenFilesReal(true);
}

long UringSetup(unsigned entries, io_uring_params* params) {
  const bool watched = g_config.active && params != nullptr;
  if (watched && (params->flags & IORING_SETUP_SQPOLL) != 0) return -EPERM;
  long fd = Raw(SYS_io_uring_setup, entries, params);
  if (fd < 0 || !watched) return fd;
  PstFdForget(static_cast<int>(fd));
  OpenRealFromNow();
  RingLock lock;
  Ring* ring = FindRing(static_cast<int>(fd));
  const bool fresh = ring == nullptr;
  if (fresh && g_ring_count == kMaxRings) {
    Raw(SYS_close, fd);
    return -ENOMEM;  // one that could not be watched
  }
  if (fresh) ring = &g_ring[g_ring_count];
  *ring = {static_cast<int>(fd), ++g_ring_serial, params->flags, params->features,
           params->sq_off,       nullptr,         nullptr};
  if (fresh) __atomic_store_n(&g_ring_count, g_ring_count + 1, __ATOMIC_RELEASE);
  if ((params->flags & kNoMmap) != 0) {
    // Where newer headers have user_addr, which is the program's own memory.
    uint64_t queue, memory;
    memcpy(&queue, reinterpret_cast<char*>(&params->cq_off) + sizeof params->cq_off - 8,
           sizeof queue);
    memcpy(&memory, reinterpret_cast<char*>(&params->sq_off) + sizeof params->sq_off - 8,
           sizeof memory);
    ring->queue = reinterpret_cast<char*>(static_cast<uintptr_t>(queue));
    ring->entries = reinterpret_cast<char*>(static_cast<uintptr_t>(memory));
  }
  __atomic_store_n(&g_rings, true, __ATOMIC_RELEASE);
  return fd;
}

void UringMapped(int fd, int64_t offset, void* at) {
  Ring* ring = FindRing(fd);
  if (ring == nullptr) return;
  const auto where = static_cast<uint64_t>(offset);
  if (where == IORING_OFF_SQES) ring->entries = static_cast<char*>(at);
  if (where == IORING_OFF_SQ_RING ||
      (where == IORING_OFF_CQ_RING && (ring->features & IORING_FEAT_SINGLE_MMAP) != 0))
    ring->queue = static_cast<char*>(at);
}

void UringRegistered(unsigned operation, const void* argument, long count) {
  operation &= ~(1u << 31);  // IORING_REGISTER_USE_REGISTERED_RING
  if (operation != IORING_REGISTER_RING_FDS && operation != IORING_UNREGISTER_RING_FDS) return;
  const auto* one = static_cast<const io_uring_rsrc_update*>(argument);
  for (const auto* end = one + (count > 0 ? count : 0); one != end; ++one) {
    if (one->offset >= kRegistered) continue;
    const Ring* ring = operation == IORING_REGISTER_RING_FDS ? FindRing(static_cast<int>(one->data))
                                                             : nullptr;
    t_registered[one->offset] = {ring, ring != nullptr ? ring->serial : 0};
  }
}

void UringEnter(int fd, bool registered) {
  if (registered) {
    if (static_cast<unsigned>(fd) >= kRegistered) return;
    const Registered& known = t_registered[fd];
    if (known.ring != nullptr && known.ring->serial == known.serial) LookAt(*known.ring);
  } else if (const Ring* ring = FindRing(fd); ring != nullptr) {
    LookAt(*ring);
  }
}

// What liburing's functions submit: struct io_uring, whose layout has been the same since
// liburing 2.0.
struct LibraryRing {
  struct {
    unsigned *head, *tail, *mask, *count, *flags, *dropped, *array;
    io_uring_sqe* entries;
    unsigned entry_head, entry_tail;
    size_t ring_bytes;
    void* ring;
    unsigned pad[4];
  } submission;
  struct {
    unsigned *head, *tail, *mask, *count, *flags, *overflow;
    void* entries;
    size_t ring_bytes;
    void* ring;
    unsigned pad[4];
  } completion;
  unsigned flags;
  int fd;
};
static_assert(sizeof(LibraryRing::submission) == 104 && sizeof(LibraryRing::completion) == 88);

static void LookAtLibrary(struct io_uring* opaque) {
  if (!g_config.active) return;
  const auto* ring = reinterpret_cast<const LibraryRing*>(opaque);
  const auto& queue = ring->submission;
  const unsigned mask = *queue.mask;
  for (unsigned at = queue.entry_head; at != queue.entry_tail; ++at)
    PstRingEntry(EntryAt(queue.entries, at & mask, ring->flags), ring->fd);
}

}  // namespace penstock

using namespace penstock;

PST_EXPORT int io_uring_submit(struct io_uring* ring) {
  LookAtLibrary(ring);
  return real.io_uring_submit(ring);
}

PST_EXPORT int io_uring_submit_and_wait(struct io_uring* ring, unsigned wait) {
  LookAtLibrary(ring);
  return real.io_uring_submit_and_wait(ring, wait);
}

PST_EXPORT int io_uring_submit_and_wait_timeout(struct io_uring* ring, struct io_uring_cqe** done,
                                                unsigned wait, struct __kernel_timespec* time,
                                                sigset_t* mask) {
  LookAtLibrary(ring);
  return real.io_uring_submit_and_wait_timeout(ring, done, wait, time, mask);
}

PST_EXPORT int io_uring_submit_and_wait_min_timeout(struct io_uring* ring,
                                                    struct io_uring_cqe** done, unsigned wait,
                                                    struct __kernel_timespec* time,
                                                    unsigned min_wait, sigset_t* mask) {
  LookAtLibrary(ring);
  return real.io_uring_submit_and_wait_min_timeout(ring, done, wait, time, min_wait, mask);
}

PST_EXPORT int io_uring_submit_and_wait_reg(struct io_uring* ring, struct io_uring_cqe** done,
                                            unsigned wait, int index) {
  LookAtLibrary(ring);
  return real.io_uring_submit_and_wait_reg(ring, done, wait, index);
}

PST_EXPORT int io_uring_submit_and_get_events(struct io_uring* ring) {
  LookAtLibrary(ring);
  return real.io_uring_submit_and_get_events(ring);
}

PST_EXPORT int io_uring_wait_cqes(struct io_uring* ring, struct io_uring_cqe** done, unsigned wait,
                                  struct __kernel_timespec* time, sigset_t* mask) {
  LookAtLibrary(ring);  // without IORING_FEAT_EXT_ARG it submits what is there
  return real.io_uring_wait_cqes(ring, done, wait, time, mask);
}

PST_EXPORT int io_uring_wait_cqe_timeout(struct io_uring* ring, struct io_uring_cqe** done,
                                         struct __kernel_timespec* time) {
  LookAtLibrary(ring);
  return real.io_uring_wait_cqe_timeout(ring, done, time);
}

PST_EXPORT int io_uring_setup(unsigned entries, struct io_uring_params* params) {
  if (!g_config.active) return real.io_uring_setup(entries, params);
  return static_cast<int>(UringSetup(entries, params));
}

PST_EXPORT int io_uring_register(unsigned fd, unsigned operation, const void* argument,
                                 unsigned count) {
  const int done = real.io_uring_register(fd, operation, argument, count);
  if (g_rings) UringRegistered(operation, argument, done);
  return done;
}

PST_EXPORT int io_uring_enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                              sigset_t* mask) {
  if (g_rings) UringEnter(static_cast<int>(fd), (flags & IORING_ENTER_REGISTERED_RING) != 0);
  return real.io_uring_enter(fd, submit, wait, flags, mask);
}

PST_EXPORT int io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                               void* argument, size_t bytes) {
  if (g_rings) UringEnter(static_cast<int>(fd), (flags & IORING_ENTER_REGISTERED_RING) != 0);
  return real.io_uring_enter2(fd, submit, wait, flags, argument, bytes);
}
