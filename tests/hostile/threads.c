// Threads: cancelled while they read, with small stacks, many at once.
#include "tests/hostile/host.h"

#include <limits.h>

static char cold[32][4096];
static void name_cold(void) {
  for (int i = 0; i < 32; i++) snprintf(cold[i], sizeof cold[i], "%s/cold/c%02d", root, i);
}

static volatile int started, cleaned;
static void note_cleanup(void* argument) {
  (void)argument;
  __atomic_fetch_add(&cleaned, 1, __ATOMIC_SEQ_CST);
}

// Reads one file over and over: only a cancellation ends it.
static void* read_for_ever(void* argument) {
  static __thread char b[4096];
  pthread_cleanup_push(note_cleanup, NULL);
  int fd = open(argument, O_RDONLY);
  started = 1;
  for (;;) {
    if (read(fd, b, sizeof b) <= 0) lseek(fd, 0, SEEK_SET);
  }
  pthread_cleanup_pop(0);
  return NULL;
}
static void* pread_for_ever(void* argument) {
  static __thread char b[4096];
  pthread_cleanup_push(note_cleanup, NULL);
  int fd = open(argument, O_RDONLY);
  started = 1;
  for (;;) (void)!pread(fd, b, sizeof b, 0);
  pthread_cleanup_pop(0);
  return NULL;
}
static void* open_for_ever(void* argument) {
  pthread_cleanup_push(note_cleanup, NULL);
  started = 1;
  for (;;) close(open(argument, O_RDONLY));
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancel_readers(void) {
  void* (*const bodies[])(void*) = {read_for_ever, pread_for_ever, open_for_ever};
  name_cold();
  static char file[4096];
  strcpy(file, at("numbers"));
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void* result = NULL;
    cleaned = started = 0;
    pthread_create(&thread, NULL, bodies[i], file);
    while (!started) sched_yield();
    usleep(20000);
    SHOW(pthread_cancel(thread));
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    SHOW(pthread_timedjoin_np(thread, &result, &until));
    SHOW(result == PTHREAD_CANCELED);
    SHOW(cleaned);
    if (cleaned == 0) exit(8);
  }
}

// A thread that is cancelled in a stream's read gives the stream's lock back on its way out.
static FILE* stream;
static void* get_for_ever(void* argument) {
  pthread_cleanup_push(note_cleanup, NULL);
  started = 1;
  for (;;) {
    if (fgetc(stream) == EOF) rewind(stream);
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancel_streams(void) {
  for (int i = 0; i < 10; i++) {
    pthread_t thread;
    void* result = NULL;
    cleaned = started = 0;
    stream = fopen(at("numbers"), "r");
    pthread_create(&thread, NULL, get_for_ever, NULL);
    while (!started) sched_yield();
    usleep(2000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED || cleaned != 1) printf("round %d: not cleaned\n", i);
    if (ftrylockfile(stream) != 0) {
      printf("round %d: still locked\n", i);
      return;
    }
    funlockfile(stream);
    rewind(stream);
    SHOW(fgetc(stream));
    fclose(stream);
  }
}

static void* read_cold(void* argument) {
  char b[4096];
  pthread_cleanup_push(note_cleanup, NULL);
  int fd = open(argument, O_RDONLY);
  started = 1;
  while (read(fd, b, sizeof b) > 0) continue;
  close(fd);
  pthread_cleanup_pop(0);
  return NULL;
}

// Cancelled at a random moment of a read that must be fetched; then everything still works, many
// times more than there are places for questions.
static void cancel_misses(void) {
  static char b[100000];
  name_cold();
  unsigned seed = 3;
  for (int round = 0; round < 300; round++) {
    pthread_t thread;
    int type = round % 3 == 2;
    pthread_create(&thread, NULL, read_cold, cold[round % 32]);
    if (type)
      while (!started) sched_yield();
    usleep(rand_r(&seed) % 300);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
  }
  long sum = 0;
  for (int i = 0; i < 32; i++) {
    int fd = open(cold[i], O_RDONLY);
    long n = read(fd, b, sizeof b);
    sum += n;
    close(fd);
  }
  SHOW(sum);
  show_rest("after all", open(at("cold/k"), O_RDONLY));
}

static void* small_stack(void* argument) {
  static char b[16384];
  struct stat st;
  int which = (int)(long)argument, fd = open(cold[which], O_RDONLY);
  if (fd < 0 || read(fd, b, 3000) != 3000 || fstat(fd, &st) != 0 || stat(cold[which + 1], &st) != 0)
    return "failed";
  if (pread(fd, b, 100, 500) != 100 || lseek(fd, 0, SEEK_CUR) != 3000) return "failed";
  DIR* dir = opendir(root);
  while (dir != NULL && readdir(dir) != NULL) continue;
  if (dir != NULL) closedir(dir);
  void* map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return "no map";
  munmap(map, 4096);
  close(fd);
  return "fine";
}

static void small_stacks(void) {
  name_cold();
  for (int i = 0; i < 8; i++) {
    pthread_t thread;
    pthread_attr_t attributes;
    void* result = NULL;
    pthread_attr_init(&attributes);
    SHOW(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN));
    SHOW(pthread_create(&thread, &attributes, small_stack, (void*)(long)i));
    SHOW(pthread_join(thread, &result));
    printf("%s\n", (char*)result);
  }
}

static int handled;
static void read_in_handler(int number) {
  (void)number;
  int fd = open(cold[20 + handled % 8], O_RDONLY);
  char byte = 0;
  struct stat st;
  if (fd >= 0 && read(fd, &byte, 1) == 1 && fstat(fd, &st) == 0 && stat(cold[28], &st) == 0)
    handled++;
  close(fd);
}

// A handler on the smallest alternative stack there is, whose read has to be fetched.
static void small_signal_stack(void) {
  name_cold();
  long size = sysconf(_SC_MINSIGSTKSZ);
  stack_t stack = {.ss_sp = malloc(8192 + (size_t)size), .ss_size = (size_t)size + 4096};
  struct sigaction action = {.sa_handler = read_in_handler, .sa_flags = SA_ONSTACK};
  SHOW(sigaltstack(&stack, NULL));
  SHOW(sigaction(SIGUSR1, &action, NULL));
  for (int i = 0; i < 8; i++) raise(SIGUSR1);
  SHOW(handled);
}

enum { kThreads = 64, kFiles = 32 };
static unsigned char* want[kFiles];
static long sizes[kFiles];
static int wrong;
static void* open_read_close(void* argument) {
  unsigned seed = (unsigned)(long)argument + 1;
  unsigned char b[5000];
  for (int i = 0; i < 150; i++) {
    int which = (int)(rand_r(&seed) % kFiles),
        fd = open(cold[which], O_RDONLY | (i % 2 ? O_CLOEXEC : 0));
    long from = (long)(rand_r(&seed) % (unsigned)sizes[which]);
    long n = pread(fd, b, sizeof b, from), left = sizes[which] - from;
    if (n != (left < 5000 ? left : 5000) || memcmp(b, want[which] + from, (size_t)n) != 0)
      __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
    switch (rand_r(&seed) % 8) {
      case 0: {
        int other = dup(fd);
        close(fd);
        fd = other;
        break;
      }
      case 1: {
        int ends[2];
        if (pipe(ends) == 0) {
          dup2(fd, ends[0]);
          if (pread(ends[0], b, 1, 0) != 1 || b[0] != want[which][0]) wrong++;
          close(ends[0]), close(ends[1]);
        }
        break;
      }
      case 2: {
        FILE* f = fopen(cold[which], "r");
        if (f == NULL || fgetc(f) != want[which][0]) wrong++;
        if (f) fclose(f);
        break;
      }
      case 3: {
        DIR* dir = opendir(root);
        if (dir == NULL || readdir(dir) == NULL) wrong++;
        if (dir) closedir(dir);
        break;
      }
      case 4: {
        struct stat st;
        if (fstat(fd, &st) != 0 || st.st_size != sizes[which]) wrong++;
        break;
      }
      case 5:
        if (i % 10 == 0) {
          unsigned char* map = mmap(NULL, (size_t)sizes[which], PROT_READ, MAP_PRIVATE, fd, 0);
          if (map == MAP_FAILED || map[from] != want[which][from])
            wrong++;
          else
            munmap(map, (size_t)sizes[which]);
        }
        break;
      default:
        if (read(fd, b, 10) != 10 || memcmp(b, want[which], 10) != 0) wrong++;
    }
    close(fd);
  }
  return NULL;
}
static void sixty_four(void) {
  name_cold();
  for (int i = 0; i < kFiles; i++) {
    struct stat st;
    stat(cold[i], &st);
    sizes[i] = st.st_size;
    want[i] = malloc((size_t)st.st_size);
    int fd = open(cold[i], O_RDONLY);
    if (read(fd, want[i], (size_t)st.st_size) != st.st_size) wrong++;
    close(fd);
  }
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; i++) pthread_create(&threads[i], NULL, open_read_close, (void*)i);
  for (int i = 0; i < kThreads; i++) pthread_join(threads[i], NULL);
  SHOW(wrong);
  SHOW(open(at("small"), O_RDONLY));
}

const struct hostile_case thread_cases[] = {
    {"cancel_readers", cancel_readers}, {"cancel_misses", cancel_misses},
    {"cancel_streams", cancel_streams},
    {"small_stacks", small_stacks},     {"small_signal_stack", small_signal_stack},
    {"sixty_four", sixty_four},         {NULL, NULL}};
