// Signals that come at any moment, handlers that do what the program does, and jumps out of them.
#include "tests/hostile/host.h"

#include <setjmp.h>
#include <sys/time.h>

static const unsigned char* whole;
static long whole_size, in_handlers, wrong;
static char file[4096], folder[4096];

static void learn(const char* name) {
  int fd = open_or_die(at(name));
  strcpy(file, at(name)), strcpy(folder, at("tree"));
  whole_size = lseek(fd, 0, SEEK_END);
  unsigned char* bytes = malloc((size_t)whole_size);
  if (pread(fd, bytes, (size_t)whole_size, 0) != whole_size) exit(9);
  whole = bytes;
  close(fd);
}

static void busy_handler(int number) {
  (void)number;
  int saved = errno;
  unsigned char b[64];
  long from = in_handlers * 977 % (whole_size - 64);
  int fd = open(file, O_RDONLY);
  if (fd < 0 || pread(fd, b, sizeof b, from) != sizeof b || memcmp(b, whole + from, sizeof b) != 0)
    wrong++;
  if (in_handlers % 5 == 0) {
    struct stat st;
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)) wrong++;
    int other = dup(fd);
    if (syscall(SYS_pread64, other, b, 10, 3) != 10 || memcmp(b, whole + 3, 10) != 0) wrong++;
    if (syscall(SYS_lseek, other, 9, SEEK_SET) != 9 || syscall(SYS_read, other, b, 10) != 10 ||
        memcmp(b, whole + 9, 10) != 0)
      wrong++;
    close(other);
  }
  close(fd);
  in_handlers++;
  errno = saved;
}

static void storm(int flags, void (*handler)(int), long every_us) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  struct itimerval timer = {{0, every_us}, {0, every_us}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &timer, NULL);
}
static void calm(void) { setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL); }

static int read_everything(int fd) {
  static unsigned char b[50000];
  long at_ = 0, n;
  lseek(fd, 0, SEEK_SET);
  while ((n = read(fd, b, 1 + (size_t)(at_ * 7 % 49999))) > 0) {
    if (memcmp(b, whole + at_, (size_t)n) != 0) return 1;
    at_ += n;
  }
  return n < 0 ? 1000 + errno : at_ != whole_size;
}

// Files give no EINTR, and a handler in the middle of a call changes nothing of it.
static void alarm_storm(void) {
  learn("big");
  for (int flags = 0; flags < 2; flags++) {
    storm(flags ? SA_RESTART : 0, busy_handler, 200);
    int bad = 0, opens = 0;
    for (int i = 0; i < 60; i++) {
      int fd = open(file, O_RDONLY);
      opens += fd < 0;
      bad += read_everything(fd);
      void* map = i % 10 ? NULL : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
      if (map != NULL && (map == MAP_FAILED || memcmp(map, whole, 4096) != 0)) bad++;
      close(fd);
      DIR* dir = opendir(folder);
      int n = 0;
      while (dir != NULL && readdir(dir) != NULL) n++;
      if (dir == NULL || n != 5) bad++;
      if (dir) closedir(dir);
      FILE* f = fopen(file, "r");
      if (f == NULL || fgetc(f) != whole[0]) bad++;
      if (f) fclose(f);
      pid_t pid = i % 20 ? -1 : fork();
      if (pid == 0) _exit(0);
      if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    calm();
    SHOW(bad);
    SHOW(opens);
    SHOW(wrong);
  }
  SHOW(in_handlers > 0);
}

// Reads of files that are not there yet, in the storm.
static void cold_storm(void) {
  learn("big");
  storm(0, busy_handler, 150);
  long sum = 0, errors = 0;
  for (int i = 0; i < 64; i++) {
    static char b[100000];
    char name[32];
    snprintf(name, sizeof name, "cold/s%02d", i);
    int fd = open(at(name), O_RDONLY);
    long n = read(fd, b, sizeof b);
    if (fd < 0 || n < 0) errors++;
    sum += n;
    close(fd);
  }
  calm();
  SHOW(sum);
  SHOW(errors);
  SHOW(wrong);
}

static sigjmp_buf out;
static volatile int may_jump, jumps;
static void jump_handler(int number) {
  (void)number;
  if (!may_jump) return;
  may_jump = 0;
  jumps++;
  siglongjmp(out, 1);
}

// Jumps out of whatever the signal has interrupted. Of numbers that a jump has left open nothing is
// said.
static void jump_out(void) {
  learn("big");
  storm(0, jump_handler, 400);
  unsigned seed = 9;
  static unsigned char b[100000];
  int bad = 0, last = -1, rounds = 0;
  int fd = open(file, O_RDONLY);
  for (volatile int round = 0; round < 600; round++) {
    rounds++;
    if (sigsetjmp(out, 1) != 0) continue;
    may_jump = 1;
    for (int i = 0; i < 40; i++) {
      long from = (long)(rand_r(&seed) % (unsigned)(whole_size - 70000));
      switch (rand_r(&seed) % 8) {
        case 0:
        case 1:
          if (pread(fd, b, 60000, from) != 60000 || memcmp(b, whole + from, 60000) != 0) bad++;
          break;
        case 2:
          if (syscall(SYS_pread64, fd, b, 6000, from) != 6000 || memcmp(b, whole + from, 6000) != 0)
            bad++;
          break;
        case 3:
          lseek(fd, 0, SEEK_SET);
          (void)!read(fd, b, 5000);
          break;
        case 4:
          last = open(file, O_RDONLY);
          if (last < 0) bad++;
          close(last);
          break;
        case 5: {
          struct stat st;
          if (stat(folder, &st) != 0) bad++;
          break;
        }
        case 6: {
          // Each jump out of a question keeps the question's place for a while: not all of them.
          may_jump = jumps < 30;
          char name[32];
          snprintf(name, sizeof name, "cold/j%02d", round % 64);
          last = open(at(name), O_RDONLY);
          if (last < 0)
            bad++;
          else if (read(last, b, 70000) < 100)
            bad++;
          close(last);
          break;
        }
        default: {
          last = dup(fd);
          if (last < 0) bad++;
          close(last);
          break;
        }
      }
    }
    may_jump = 0;
  }
  may_jump = 0;
  calm();
  SHOW(bad);
  SHOW(jumps > 10);
  SHOW(rounds);
  SHOW(read_everything(open(file, O_RDONLY)));
  for (int i = 0; i < 40; i++) {
    char name[32];
    snprintf(name, sizeof name, "cold/t%02d", i);
    int other = open(at(name), O_RDONLY);
    if (read(other, b, sizeof b) < 100) bad++;
    close(other);
  }
  SHOW(bad);
  SHOW(syscall(SYS_pread64, fd, b, 10, 0));
  SHOW(syscall(SYS_read, open(file, O_RDONLY), b, 10));
  IN_CHILD(SHOW(pread(fd, b, 100, 0)));
  DIR* dir = opendir(folder);
  int n = 0;
  while (dir != NULL && readdir(dir) != NULL) n++;
  SHOW(n);
}

const struct hostile_case signal_cases[] = {
    {"alarm_storm", alarm_storm}, {"cold_storm", cold_storm}, {"jump_out", jump_out}, {NULL, NULL}};
