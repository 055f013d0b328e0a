// One offset, many readers: each byte is read exactly once, whoever reads and however the number
// went there.
#include "tests/hostile/host.h"

#include <sys/prctl.h>

enum { kLine = 16 };

// Reads records of 16 bytes until the end; each is counted in `seen` by its number.
static void count_records(int fd, unsigned char* seen, int pause) {
  char record[kLine];
  for (int i = 0;; i++) {
    ssize_t n = read(fd, record, kLine);
    if (n == 0) break;
    if (n != kLine) {
      seen[0] = 200;
      break;
    }
    __atomic_fetch_add(&seen[1 + atoi(record)], 1, __ATOMIC_RELAXED);
    if (pause && i % 64 == 0) sched_yield();
  }
}

enum { kRecords = 60000 };
static unsigned char* shared_seen(void) {
  return mmap(NULL, kRecords + 10, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}
static void show_seen(const char* what, const unsigned char* seen) {
  long none = 0, twice = 0;
  for (int i = 1; i <= kRecords; i++) none += seen[i] == 0, twice += seen[i] > 1;
  printf("%s: %ld never, %ld more than once, %d odd\n", what, none, twice, seen[0]);
}

// Eight processes: forks, executed programs, one that makes the file real in the middle.
static void eight_processes(void) {
  for (int real = 0; real < 3; real++) {
    unsigned char* seen = shared_seen();
    int fd = open_or_die(at("records")), go[2];
    (void)!pipe(go);
    fflush(stdout);
    pid_t pids[8];
    for (int i = 0; i < 8; i++) {
      pids[i] = fork();
      if (pids[i] != 0) continue;
      char c;
      close(go[1]);
      (void)!read(go[0], &c, 1);
      int mine = i % 2 ? dup(fd) : fd;
      if (real == 1 && i == 3) {
        char record[kLine];
        for (int k = 0; k < 500; k++)
          if (read(mine, record, kLine) == kLine)
            __atomic_fetch_add(&seen[1 + atoi(record)], 1, __ATOMIC_RELAXED);
        struct flock lock = {.l_type = F_RDLCK};
        fcntl(mine, F_SETLK, &lock);
      }
      if (real == 2 && i == 5) mmap(NULL, 4096, PROT_READ, MAP_SHARED, mine, 0);
      count_records(mine, seen, 1);
      _exit(0);
    }
    close(go[0]), close(go[1]);
    for (int i = 0; i < 8; i++) waitpid(pids[i], NULL, 0);
    show_seen(real == 0 ? "forked" : real == 1 ? "with a lock" : "with a map", seen);
    close(fd);
  }
}

static void count_lines(FILE* f, unsigned char* seen) {
  int number;
  while (fscanf(f, "%d", &number) == 1) seen[1 + number]++;
}

// Executed readers of two kinds and the parent by turns.
static void executed_readers(void) {
  unsigned char* seen = shared_seen();
  int fd = open_or_die(at("records")), ends[2];
  const char* program = getenv("HOSTILE_STATIC");
  (void)!pipe(ends);
  fflush(stdout);
  FILE* in = fdopen(ends[0], "r");
  pid_t pids[8];
  for (int i = 0; i < 8; i++) {
    pids[i] = fork();
    if (pids[i] == 0) {
      dup2(fd, 0), dup2(ends[1], 1), closefrom(3);
      if (i % 4 == 3) execl(program, program, "records", (char*)NULL);
      execl(self, self, "_records", root, (char*)NULL);
      _exit(127);
    }
  }
  close(ends[1]);
  count_lines(in, seen);
  for (int i = 0; i < 8; i++) wait_for(pids[i]);
  show_seen("executed", seen);
}
static void records_of_stdin(void) {
  char record[kLine], out[kLine + 1] = "";
  while (read(0, record, kLine) == kLine) {
    memcpy(out, record, kLine);
    (void)!write(1, out, kLine);
  }
}

// To another process over a socket: one that has the library, one of its own descent, one without.
static void passed_numbers(void) {
  for (int how = 0; how < 3; how++) {
    int pair[2], fd = open_or_die(at("numbers"));
    char b[32] = "", number[16];
    (void)!socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      close(fd);
      snprintf(number, sizeof number, "%d", pair[1]);
      fcntl(pair[1], F_SETFD, 0);
      const char* program = getenv("HOSTILE_STATIC");
      if (how == 0) execl(self, self, "_receive", number, (char*)NULL);
      if (how == 1) execl(program, program, "receive", number, (char*)NULL);
      unsetenv("LD_PRELOAD"), unsetenv("PENSTOCK_SOCKET"), unsetenv("PENSTOCK_PATHS");
      char* none[] = {"PATH=/bin", "PENSTOCK_PATHS=", "PENSTOCK_SOCKET=", NULL};
      execle(self, self, "_receive", number, (char*)NULL, none);
      _exit(127);
    }
    close(pair[1]);
    char control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec io = {"x", 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr* part = CMSG_FIRSTHDR(&m);
    int both[2] = {fd, open(at("tree"), O_RDONLY | O_DIRECTORY)};
    part->cmsg_level = SOL_SOCKET, part->cmsg_type = SCM_RIGHTS,
    part->cmsg_len = CMSG_LEN(sizeof both);
    memcpy(CMSG_DATA(part), both, sizeof both);
    SHOW(read(fd, b, 10));
    SHOW(how == 1 ? sendmmsg(pair[0], &(struct mmsghdr){.msg_hdr = m}, 1, 0)
                  : sendmsg(pair[0], &m, 0));
    SHOW(read(pair[0], b, 20));
    printf("%s\n", b);
    wait_for(pid);
    SHOW(lseek(fd, 0, SEEK_CUR));
  }
}
static void receive(void) {
  int channel = atoi(root), got[2] = {-1, -1};
  char control[CMSG_SPACE(2 * sizeof(int))], b[32] = "";
  struct iovec io = {b, 1};
  struct msghdr m = {
      .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(channel, &m, 0) != 1) _exit(2);
  memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
  long n = read(got[0], b, 12);
  (void)!write(channel, b, n > 0 ? (size_t)n : 0);
  int one = openat(got[1], "one", O_RDONLY);
  // A program without the library finds a directory's number empty: tests/hostile,
  // docs/semantics.md.
  _exit(n == 12 ? one >= 0 || getenv("PENSTOCK_SOCKET") == NULL || *getenv("PENSTOCK_SOCKET") == 0
                      ? 0
                      : 4
                : 3);
}

// A number that another process has, by its link.
static void others_numbers(void) {
  int fd = open_or_die(at("numbers")), ends[2];
  char path[64], b[300] = "";
  struct stat st;
  lseek(fd, 500, SEEK_SET);
  (void)!pipe(ends);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    (void)!read(ends[0], b, 1);
    _exit(0);
  }
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
  int other = open(path, O_RDONLY);
  SHOW(other >= 0);
  SHOW(read(other, b, 8));
  printf("%.8s\n", b);
  SHOW(stat(path, &st));
  SHOW(st.st_size);
  SHOW(S_ISREG(st.st_mode));
  SHOW(lstat(path, &st));
  SHOW(S_ISLNK(st.st_mode));
  SHOW(access(path, R_OK));
  ssize_t n = readlink(path, b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  FILE* f = fopen(path, "r");
  SHOW(f != NULL && fgets(b, sizeof b, f) != NULL);
  printf("%s", b);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(open(path, O_WRONLY));
  snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
  SHOW(access(path, R_OK));
  (void)!write(ends[1], "x", 1);
  wait_for(pid);
}

const struct hostile_case sharing_cases[] = {{"eight_processes", eight_processes},
                                             {"executed_readers", executed_readers},
                                             {"_records", records_of_stdin},
                                             {"passed_numbers", passed_numbers},
                                             {"_receive", receive},
                                             {"others_numbers", others_numbers},
                                             {NULL, NULL}};
