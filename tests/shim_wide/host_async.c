// Reads that somebody else makes: POSIX aio, the kernel's aio, io_uring by system calls.
#include "host.h"
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>

static void posix_aio(void) {
  int fd = open_or_die(at("big"));
  static char buffers[4][30000];
  struct aiocb controls[4] = {0}, *list[5] = {0};
  for (int i = 0; i < 4; i++) {
    controls[i] = (struct aiocb){.aio_fildes = fd, .aio_buf = buffers[i], .aio_nbytes = 30000,
                                 .aio_offset = i * 200000L, .aio_lio_opcode = LIO_READ};
    list[i] = &controls[i];
  }
  SHOW(lio_listio(LIO_WAIT, list, 5, NULL));
  for (int i = 0; i < 4; i++) {
    SHOW(aio_error(&controls[i]));
    show_bytes("listed", buffers[i], aio_return(&controls[i]));
  }
  SHOW(lio_listio(LIO_NOWAIT, list, 4, NULL));
  for (int i = 0; i < 4; i++) {
    const struct aiocb* one[1] = {list[i]};
    while (aio_error(list[i]) == EINPROGRESS) aio_suspend(one, 1, NULL);
    SHOW(aio_return(list[i]));
  }
  struct aiocb bad = {.aio_fildes = 999, .aio_buf = buffers[0], .aio_nbytes = 10};
  int result = aio_read(&bad);
  if (result == 0) {
    const struct aiocb* one[1] = {&bad};
    aio_suspend(one, 1, NULL);
    printf("bad number: %s\n", strerrorname_np(aio_error(&bad)));
  } else {
    printf("bad number: %s\n", strerrorname_np(errno));
  }
  close(fd);
}

static void kernel_aio(void) {
  int fd = open_or_die(at("big")), direct = open(at("huge"), O_RDONLY | O_DIRECT);
  aio_context_t context = 0;
  SHOW(syscall(SYS_io_setup, 16, &context));
  static char some[3][70000], *aligned;
  aligned = aligned_alloc(4096, 65536);
  struct iovec parts[2] = {{some[1], 1000}, {some[2], 69000}};
  struct iocb read_one = {.aio_data = 1, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd, .aio_buf = (uintptr_t)some[0],
                          .aio_nbytes = 70000, .aio_offset = 123};
  struct iocb read_parts = {.aio_data = 2, .aio_lio_opcode = IOCB_CMD_PREADV, .aio_fildes = fd, .aio_buf = (uintptr_t)parts,
                            .aio_nbytes = 2, .aio_offset = 4567};
  struct iocb read_direct = {.aio_data = 3, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = direct,
                             .aio_buf = (uintptr_t)aligned, .aio_nbytes = 65536, .aio_offset = 1 << 20};
  struct iocb write_one = {.aio_data = 4, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd, .aio_buf = (uintptr_t)some[0],
                           .aio_nbytes = 10};
  struct iocb* list[] = {&read_one, &read_parts, &read_direct};
  struct iocb* refused[] = {&write_one};
  struct io_event events[3];
  SHOW(syscall(SYS_io_submit, context, 3, list));
  SHOW(syscall(SYS_io_getevents, context, 3, 3, events, NULL));
  long results[4] = {0};
  for (int i = 0; i < 3; i++) results[events[i].data] = events[i].res;
  show_bytes("pread", some[0], results[1]);
  show_bytes("preadv, first", some[1], 1000);
  show_bytes("preadv, second", some[2], results[2] - 1000);
  show_bytes("direct", aligned, results[3]);
  SHOW(syscall(SYS_io_submit, context, 1, refused));
  SHOW(syscall(SYS_io_submit, context, -1L, refused));
  SHOW(syscall(SYS_io_destroy, context));
  close(fd), close(direct);
}

/* A ring made by hand, as fio and libuv make theirs. */
static struct {
  int fd;
  unsigned enter_flags;
  char* queue;
  size_t queue_bytes, entries_bytes;
  unsigned *head, *tail, *mask, *array, *done_head, *done_tail, *done_mask;
  struct io_uring_sqe* entries;
  struct io_uring_cqe* done;
} ring;

static int make_ring(unsigned flags) {
  struct io_uring_params params = {.flags = flags};
  ring.fd = syscall(SYS_io_uring_setup, 32, &params);
  if (ring.fd < 0) return -errno;
  size_t bytes = params.sq_off.array + params.sq_entries * 4, more = params.cq_off.cqes + params.cq_entries * 16;
  ring.enter_flags = 0, ring.queue_bytes = bytes > more ? bytes : more;
  ring.entries_bytes = params.sq_entries * sizeof *ring.entries;
  char* queue = ring.queue = mmap(NULL, ring.queue_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
  ring.entries = (void*)syscall(SYS_mmap, NULL, ring.entries_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                ring.fd, IORING_OFF_SQES);
  ring.head = (void*)(queue + params.sq_off.head), ring.tail = (void*)(queue + params.sq_off.tail);
  ring.mask = (void*)(queue + params.sq_off.ring_mask), ring.array = (void*)(queue + params.sq_off.array);
  ring.done_head = (void*)(queue + params.cq_off.head), ring.done_tail = (void*)(queue + params.cq_off.tail);
  ring.done_mask = (void*)(queue + params.cq_off.ring_mask), ring.done = (void*)(queue + params.cq_off.cqes);
  return 0;
}

static void put(struct io_uring_sqe entry) {
  unsigned at = *ring.tail;
  ring.entries[at & *ring.mask] = entry;
  ring.array[at & *ring.mask] = at & *ring.mask;
  __atomic_store_n(ring.tail, at + 1, __ATOMIC_RELEASE);
}

/* Submits what was put and gives the results by user_data. */
static void go(int* results, int count) {
  long done = syscall(SYS_io_uring_enter, ring.fd, count, count, IORING_ENTER_GETEVENTS | ring.enter_flags, NULL, 0);
  if (done != count) printf("entered %ld of %d\n", done, count);
  for (int i = 0; i < count; i++) {
    struct io_uring_cqe* one = &ring.done[*ring.done_head & *ring.done_mask];
    results[one->user_data] = one->res;
    __atomic_store_n(ring.done_head, *ring.done_head + 1, __ATOMIC_RELEASE);
  }
}

static int only(struct io_uring_sqe entry) {
  int result[1];
  entry.user_data = 0;
  put(entry);
  go(result, 1);
  return result[0];
}

static const char* name_of(int result) { return result < 0 ? strerrorname_np(-result) : "done"; }

static struct io_uring_sqe opening(const char* path, int flags) {
  return (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path, .open_flags = flags,
                               .len = 0600};
}

void ring_case(void) {
  static char buffers[8][70000];
  int results[8], before = open_or_die(at("big"));
  int made = make_ring(0);
  if (made != 0) {
    printf("no rings here: %s\n", strerrorname_np(-made));
    return;
  }
  int fd = open_or_die(at("big"));
  struct iovec parts[2] = {{buffers[1], 1000}, {buffers[2], 69000}}, fixed = {buffers[3], 70000};
  SHOW(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &fixed, 1));
  int numbers[3] = {fd, -1, -1};
  SHOW(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, numbers, 3));
  put((struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)buffers[0], .len = 70000, .off = 99});
  put((struct io_uring_sqe){.opcode = IORING_OP_READV, .fd = before, .addr = (uintptr_t)parts, .len = 2, .off = 4567, .user_data = 1});
  put((struct io_uring_sqe){.opcode = IORING_OP_READ_FIXED, .fd = fd, .addr = (uintptr_t)buffers[3], .len = 70000, .off = 1234, .user_data = 2});
  put((struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = 0, .flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK, .addr = (uintptr_t)buffers[4], .len = 5000, .user_data = 3});
  put((struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)buffers[5], .len = 5000, .off = 5000, .user_data = 4});
  go(results, 5);
  show_bytes("read", buffers[0], results[0]);
  show_bytes("readv", buffers[1], 1000);
  show_bytes("readv", buffers[2], results[1] - 1000);
  show_bytes("fixed", buffers[3], results[2]);
  show_bytes("registered", buffers[4], results[3]);
  show_bytes("linked", buffers[5], results[4]);
  /* Names. */
  int opened = only(opening(at("small"), O_RDONLY));
  printf("open: %s, lowest number %d\n", name_of(opened), opened == fd + 1 || opened == ring.fd + 1 || opened > 0);
  show_rest("opened", opened);
  struct stat st;
  SHOW(fstat(opened, &st));
  SHOW(st.st_size);
  SHOW(st.st_mode & S_IFMT);
  struct statx stx = {0};
  printf("statx: %s", name_of(only((struct io_uring_sqe){.opcode = IORING_OP_STATX, .fd = AT_FDCWD, .addr = (uintptr_t)at("big"), .len = STATX_SIZE | STATX_TYPE, .off = (uintptr_t)&stx})));
  printf(" %lld %o\n", (long long)stx.stx_size, stx.stx_mode & S_IFMT);
  memset(&stx, 0, sizeof stx);
  printf("statx of a number: %s", name_of(only((struct io_uring_sqe){.opcode = IORING_OP_STATX, .fd = opened, .addr = (uintptr_t)"", .statx_flags = AT_EMPTY_PATH, .len = STATX_SIZE, .off = (uintptr_t)&stx})));
  printf(" %lld\n", (long long)stx.stx_size);
  printf("close: %s\n", name_of(only((struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = opened})));
  SHOW(read(opened, buffers[0], 10));
  SHOW(fstat(opened, &st));
  int pipes[2];
  SHOW(pipe(pipes));
  SHOW(pipes[0] == opened);
  SHOW(fstat(opened, &st));
  SHOW(S_ISFIFO(st.st_mode));
  printf("absent: %s\n", name_of(only(opening(at("absent"), O_RDONLY))));
  printf("below a file: %s\n", name_of(only(opening(at("small/x"), O_RDONLY))));
  printf("a folder to write: %s\n", name_of(only(opening(at("tree"), O_WRONLY))));
  printf("made anew: %s\n", name_of(only(opening(at("small"), O_CREAT | O_EXCL | O_WRONLY))));
  int folder = only(opening(at("tree"), O_RDONLY | O_DIRECTORY));
  printf("folder: %s\n", name_of(folder));
  struct io_uring_sqe below = opening("one", O_RDONLY);
  below.fd = folder;
  int file = only(below);
  printf("below it: %s\n", name_of(file));
  show_rest("below it", file);
  struct io_uring_sqe direct = opening(at("small"), O_RDONLY);
  direct.file_index = 2;
  printf("direct: %s\n", name_of(only(direct)));
  show_bytes("direct", buffers[0], only((struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = 1, .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)buffers[0], .len = 100}));
  struct open_how { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
  int second = only((struct io_uring_sqe){.opcode = IORING_OP_OPENAT2, .fd = AT_FDCWD, .addr = (uintptr_t)at("small"), .len = sizeof how, .off = (uintptr_t)&how});
  printf("openat2: %s\n", name_of(second));
  show_rest("openat2", second);
  /* An open that others are linked to. */
  struct io_uring_sqe first = opening(at("small"), O_RDONLY);
  first.flags = IOSQE_IO_LINK;
  put(first);
  put((struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = 1});
  go(results, 2);
  printf("a chain: %s %s\n", name_of(results[0]), name_of(results[1]));
  first = opening(at("absent"), O_RDONLY);
  first.flags = IOSQE_IO_LINK;
  put(first);
  put((struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = 1});
  go(results, 2);
  printf("a broken chain: %s %s\n", name_of(results[0]), name_of(results[1]));
  printf("uncovered: %s\n", name_of(only(opening("/etc/passwd", O_RDONLY))));
  if (pipe(pipes) == 0) {
    struct io_uring_sqe move = {.opcode = IORING_OP_SPLICE, .fd = pipes[1], .off = -1ull, .splice_off_in = 100, .len = 2000, .splice_fd_in = fd};
    show_bytes("spliced", buffers[0], only(move) > 0 ? read(pipes[0], buffers[0], 2000) : -1);
  }
  /* A ring that is gone, its number another file's, and one that is entered by its registered index. */
  int gone = ring.fd;
  mmap(ring.queue, ring.queue_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  mmap(ring.entries, ring.entries_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  close(gone);
  SHOW(open("/dev/null", O_RDONLY) >= 0);
  while (fcntl(gone, F_GETFD) < 0 && dup(0) >= 0) continue;
  made = make_ring(0);
  struct { uint32_t offset, unused; uint64_t data; } index = {~0u, 0, ring.fd};
  if (syscall(SYS_io_uring_register, ring.fd, 20 /* IORING_REGISTER_RING_FDS */, &index, 1) == 1)
    ring.fd = index.offset, ring.enter_flags = 1 << 4 /* IORING_ENTER_REGISTERED_RING */;
  int by_index = only(opening(at("small"), O_RDONLY));
  printf("by a registered ring: %d %s\n", made, name_of(by_index));
  show_rest("by a registered ring", by_index);
  int only_path = open(at("small"), O_PATH);
  SHOW(only_path >= 0);
  SHOW(fstat(only_path, &st));
  SHOW(st.st_size);
  SHOW(read(only_path, buffers[0], 10));
  printf("poll: %s\n", name_of(only((struct io_uring_sqe){.opcode = IORING_OP_POLL_ADD, .fd = fd, .poll_events = POLLIN})));
  if (mounted) {
    printf("closing\n");
    int refused = only((struct io_uring_sqe){.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t)at("small")});
    if (refused != -EROFS && refused != -EACCES && refused != -EOPNOTSUPP) printf("unlink: %s\n", name_of(refused));
    refused = only((struct io_uring_sqe){.opcode = IORING_OP_RENAMEAT, .fd = AT_FDCWD, .addr = (uintptr_t)at("small"), .len = AT_FDCWD, .off = (uintptr_t)at("new")});
    if (refused != -EROFS && refused != -EACCES && refused != -EOPNOTSUPP) printf("rename: %s\n", name_of(refused));
    refused = only(opening(at("new"), O_CREAT | O_WRONLY));
    if (refused != -EROFS && refused != -EACCES && refused != -EOPNOTSUPP) printf("create: %s\n", name_of(refused));
    /* A ring that the kernel empties by itself can't be watched. */
    if (make_ring(IORING_SETUP_SQPOLL) != -EPERM) printf("a polled ring was made\n");
  } else {
    printf("closing\n");
  }
}

void async_case(void) {
  posix_aio();
  kernel_aio();
  /* Watches name a file of the kernel's: there is none. */
  int watch = inotify_init1(0), marks = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
  int added = inotify_add_watch(watch, at("small"), IN_MODIFY);
  if (mounted ? added >= 0 || errno != EOPNOTSUPP : added < 0) printf("inotify: %d %s\n", added, strerrorname_np(errno));
  added = (int)syscall(SYS_inotify_add_watch, watch, at("small"), IN_MODIFY);
  if (mounted ? added >= 0 || errno != EOPNOTSUPP : added < 0) printf("inotify by number: %d %s\n", added, strerrorname_np(errno));
  if (marks >= 0) {
    added = fanotify_mark(marks, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, at("small"));
    if (mounted ? added >= 0 || errno != EOPNOTSUPP : added < 0) printf("fanotify: %d %s\n", added, strerrorname_np(errno));
  }
  union {
    struct file_handle handle;
    char room[sizeof(struct file_handle) + 128];
  } box = {.handle = {.handle_bytes = 128}};
  int mount;
  added = name_to_handle_at(AT_FDCWD, at("small"), &box.handle, &mount, 0);
  if (mounted ? added >= 0 || errno != EOPNOTSUPP : added < 0 && errno != EOPNOTSUPP) printf("handle: %d %s\n", added, strerrorname_np(errno));
}
