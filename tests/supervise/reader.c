/* A program without a dynamic loader, linked against musl and against glibc: reads a folder in
 * every way that a static program has, and prints what it found. The test compares the output with
 * that of a plain folder.
 *
 *   reader FOLDER    everything
 *   reader FOLDER threads N | signals | children PROGRAM   one thing, repeated
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t Sum(uint64_t sum, const unsigned char* bytes, size_t n) {
  for (size_t i = 0; i < n; i++) sum = (sum ^ bytes[i]) * 1099511628211u;
  return sum;
}
#define SUM_START 14695981039346656037u

static char g_folder[1024];
static char g_path[16][2048];
static const char* In(const char* name) {
  static unsigned next;
  char* to = g_path[next++ % 16];
  snprintf(to, sizeof g_path[0], "%s/%s", g_folder, name);
  return to;
}

static void ByStdio(const char* name) {
  FILE* file = fopen(In(name), "r");
  if (file == NULL) {
    printf("fopen %s: %s\n", name, strerror(errno));
    return;
  }
  unsigned char part[10000];
  uint64_t sum = SUM_START;
  size_t n, all = 0;
  while ((n = fread(part, 1, sizeof part, file)) > 0) sum = Sum(sum, part, n), all += n;
  fseek(file, -5, SEEK_END);
  printf("%s: %zu %016llx, %ld at the end\n", name, all, (unsigned long long)sum, ftell(file));
  fclose(file);
}

static void ByMap(const char* name) {
  int fd = open(In(name), O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    printf("%s: %s\n", name, strerror(errno));
    return;
  }
  void* map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  printf("map of %s: %016llx\n", name, (unsigned long long)Sum(SUM_START, map, (size_t)st.st_size));
  munmap(map, (size_t)st.st_size);
}

static int ByName(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

static void List(const char* name) {
  char* names[4096];
  size_t count = 0;
  DIR* dir = opendir(In(name));
  if (dir == NULL) {
    printf("opendir %s: %s\n", name, strerror(errno));
    return;
  }
  for (int round = 0; round < 2; round++) {
    struct dirent* entry;
    while ((entry = readdir(dir)) != NULL && count < 4096) {
      char* text = malloc(strlen(entry->d_name) + 8);
      sprintf(text, "%s %d", entry->d_name, entry->d_type);
      names[count++] = text;
    }
    rewinddir(dir);
  }
  /* A position that was told is where a seek goes. */
  readdir(dir);
  long place = telldir(dir);
  struct dirent* there = readdir(dir);
  char second[300];
  snprintf(second, sizeof second, "%s", there != NULL ? there->d_name : "");
  seekdir(dir, place);
  there = readdir(dir);
  printf("seekdir: %d\n", there != NULL && strcmp(there->d_name, second) == 0);
  closedir(dir);
  qsort(names, count, sizeof names[0], ByName);
  for (size_t i = 0; i < count; i++) printf("  %s\n", names[i]), free(names[i]);
}

static uint64_t g_walked, g_walked_bytes;
static int Walked(const char* path, const struct stat* st, int kind, struct FTW* at) {
  path += strlen(g_folder);
  g_walked += Sum(SUM_START + (uint64_t)kind * 7 + (uint64_t)at->level, (const unsigned char*)path,
                  strlen(path));
  if (kind == FTW_F) g_walked_bytes += (uint64_t)st->st_size;
  return 0;
}

static void Show(const char* what, const struct stat* st) {
  printf("%s: %lld %o %lld.%09ld\n", what, (long long)st->st_size, st->st_mode & S_IFMT,
         (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void Attributes(const char* name) {
  struct stat by_path, by_fd, by_dir;
  int dir = open(g_folder, O_RDONLY | O_DIRECTORY);
  int fd = openat(dir, name, O_RDONLY);
  printf("stat %d fstat %d fstatat %d\n", stat(In(name), &by_path), fstat(fd, &by_fd),
         fstatat(dir, name, &by_dir, AT_SYMLINK_NOFOLLOW));
  Show(name, &by_path);
  printf("the same: %d %d %d\n", by_path.st_ino == by_fd.st_ino && by_path.st_dev == by_fd.st_dev,
         by_path.st_ino == by_dir.st_ino, by_path.st_mtim.tv_nsec == by_fd.st_mtim.tv_nsec);
  int copy = dup(fd);
  struct stat again;
  fstat(copy, &again);
  printf("dup: %d\n", again.st_ino == by_fd.st_ino);
  char link[2048], text[64];
  sprintf(text, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(text, link, sizeof link - 1);
  link[n > 0 ? n : 0] = 0;
  printf("its link: %s\n", strcmp(link, In(name)) == 0 ? "the name" : link);
  n = readlink(In(name), link, sizeof link);
  printf("readlink: %zd %d\n", n, errno);
  int only = open(In(name), O_PATH);
  printf("O_PATH: %d\n", only >= 0 && fstat(only, &again) == 0 && again.st_ino == by_fd.st_ino);
  printf("access: %d %d %d\n", access(In(name), R_OK), access(In("none"), F_OK),
         faccessat(dir, name, R_OK, 0));
  close(only), close(copy), close(fd), close(dir);
}

static void Errors(void) {
  struct stat st;
  struct {
    const char* what;
    int result;
    int err;
  } got[] = {
#define TRY(call) {#call, (errno = 0, (int)(call)), errno}
      TRY(open(In("none"), O_RDONLY)),
      TRY(open(In("text.txt/x"), O_RDONLY)),
      TRY(open(In("text.txt"), O_RDONLY | O_DIRECTORY)),
      TRY(open(In("text.txt"), O_RDONLY | O_CREAT | O_EXCL, 0600)),
      TRY(open(In("tree"), O_WRONLY)),
      TRY(stat(In("none/x"), &st)),
      TRY(stat(In("text.txt/"), &st)),
      TRY(stat("", &st)),
      TRY(mkdir(In("tree"), 0700)),
      TRY(chdir(In("text.txt"))),
      TRY(chdir(In("none"))),
      TRY(access((const char*)1, R_OK)),
      TRY(open((const char*)1, O_RDONLY)),
      TRY(syscall(SYS_statx, AT_FDCWD, In("text.txt"), 0, 0xfff, (void*)1)),
      TRY(execl(In("none"), "x", (char*)NULL)),
      TRY(execl(In("tree"), "x", (char*)NULL)),
  };
  for (size_t i = 0; i < sizeof got / sizeof got[0]; i++)
    printf("%s: %d %d\n", got[i].what, got[i].result < 0 ? -1 : 0, got[i].err);
}

static void Folder(void) {
  char here[2048];
  if (chdir(In("tree/d1")) != 0) printf("chdir: %s\n", strerror(errno));
  printf("getcwd: %s\n",
         getcwd(here, sizeof here) != NULL ? here + strlen(g_folder) : strerror(errno));
  printf("getcwd of little room: %d\n", getcwd(here, 3) == NULL ? errno : 0);
  char save[1024];
  strcpy(save, g_folder);
  strcpy(g_folder, ".");
  List(".");
  ByStdio("e0/leaf.txt");
  strcpy(g_folder, "..");
  ByStdio("d2/e1/leaf.txt");
  ByStdio("../text.txt");
  strcpy(g_folder, save);
  int up = open("..", O_RDONLY | O_DIRECTORY);
  printf("fchdir: %d\n", fchdir(up));
  printf("getcwd: %s\n",
         getcwd(here, sizeof here) != NULL ? here + strlen(g_folder) : strerror(errno));
  close(up);
  struct stat outside;
  printf("outside by dots: %d\n", stat("../../../../../../../../../../etc/passwd", &outside));
  if (chdir("/") != 0) printf("chdir: %s\n", strerror(errno));
  printf("getcwd: %s\n", getcwd(here, sizeof here));
}

static void* Reads(void* data) {
  uint64_t* result = data;
  unsigned seed = (unsigned)*result;
  uint64_t sum = SUM_START;
  for (int i = 0; i < 40; i++) {
    char name[64];
    snprintf(name, sizeof name, "train/%04u.bin", (seed * 7 + (unsigned)i) % 20);
    int fd = open(In(name) /* of the thread's own below */, O_RDONLY);
    char own[2048];
    close(fd);
    snprintf(own, sizeof own, "%s/%s", g_folder, name);
    fd = open(own, O_RDONLY);
    unsigned char part[4096];
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0) sum = Sum(sum, part, (size_t)n);
    struct stat st;
    if (fstat(fd, &st) != 0 || stat(own, &st) != 0) sum = 0;
    sum += (uint64_t)st.st_size;
    close(fd);
  }
  *result = sum;
  return NULL;
}

static void Threads(int count) {
  pthread_t threads[64];
  uint64_t results[64];
  for (int i = 0; i < count; i++) {
    results[i] = (uint64_t)i;
    pthread_create(&threads[i], NULL, Reads, &results[i]);
  }
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    printf("thread %d: %016llx\n", i, (unsigned long long)results[i]);
  }
}

static volatile sig_atomic_t g_signals;
static void OnSignal(int number) {
  (void)number;
  /* A handler that opens files itself. */
  int fd = open(g_folder, O_RDONLY | O_DIRECTORY);
  if (fd >= 0) close(fd);
  g_signals++;
}

/* Files are opened and read while a timer interrupts whatever runs. A call may only fail with
 * EINTR, and only where the handler was installed without SA_RESTART. */
static void Signals(int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = OnSignal;
  action.sa_flags = flags;
  sigaction(SIGALRM, &action, NULL);
  struct itimerval often = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &often, NULL);
  int failed = 0;
  for (int i = 0; i < 400; i++) {
    struct stat st;
    errno = 0;
    int fd = open(In("text.txt"), O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0 || chdir(In("tree")) != 0 || access("d1", F_OK) != 0)
      failed += errno != EINTR || flags != 0;
    if (fd >= 0) close(fd);
  }
  while (g_signals == 0) sched_yield();
  memset(&often, 0, sizeof often);
  setitimer(ITIMER_REAL, &often, NULL);
  printf("failed: %d\n", failed);
  g_signals = 0;
  if (chdir("/") != 0) printf("chdir: %s\n", strerror(errno));
}

/* Children: forked, vforked, and executing what is dynamic and what is static. */
static void Children(const char* program, const char* self) {
  fflush(stdout);
  for (int i = 0; i < 3; i++) {
    pid_t pid = i == 1 ? vfork() : fork();
    if (pid == 0) {
      if (i == 2) execl(self, self, g_folder, "one", (char*)NULL);
      execl(program, program, In("text.txt"), (char*)NULL);
      _exit(99);
    }
    int status = 0;
    printf("waited for the child: %d, status %d\n", wait(&status) == pid, status);
    fflush(stdout);
  }
  printf("no other child: %d %d\n", (int)wait(NULL), errno);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  snprintf(g_folder, sizeof g_folder, "%s", argv[1]);
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  const char* what = argc > 2 ? argv[2] : "all";
  if (strcmp(what, "threads") == 0) {
    Threads(atoi(argv[3]));
  } else if (strcmp(what, "signals") == 0) {
    Signals(0);
    Signals(SA_RESTART);
  } else if (strcmp(what, "children") == 0) {
    Children(argv[3], argv[0]);
  } else if (strcmp(what, "one") == 0) {
    ByStdio("text.txt");
  } else if (strcmp(what, "pid") == 0) {
    printf("%d\n", (int)getpid());
    ByStdio("text.txt");
    fflush(stdout);
    pause();
  } else {
    ByStdio("text.txt");
    ByStdio("big.bin");
    ByStdio("none");
    ByMap("big.bin");
    List("");
    List("train");
    List("tree/d0");
    List("none");
    nftw(g_folder, Walked, 16, FTW_PHYS);
    printf("walk: %016llx of %llu bytes\n", (unsigned long long)g_walked,
           (unsigned long long)g_walked_bytes);
    Attributes("text.txt");
    Attributes("train/0007.bin");
    Errors();
    Folder();
    Threads(8);
  }
  return 0;
}
