// Libraries, limits and ends of programs.
#include "tests/hostile/host.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

extern char** environ;

static void libraries(void) {
  static const int flags[] = {RTLD_NOW, RTLD_LAZY | RTLD_GLOBAL, RTLD_NOW | RTLD_DEEPBIND,
                              RTLD_NOW | RTLD_NODELETE};
  for (int i = 0; i < 4; i++) {
    void* library = dlopen(at("lib.so"), flags[i]);
    SHOW(library != NULL);
    int (*answer)(const char*) = library ? (int (*)(const char*))dlsym(library, "answer") : NULL;
    SHOW(answer != NULL ? answer(at("small")) : -1);
    SHOW(dlopen(at("lib.so"), RTLD_NOW | RTLD_NOLOAD) == library);
    SHOW(dlopen(at("./tree/../lib.so"), RTLD_NOW) == library);
    if (library == NULL) continue;
    SHOW(dlclose(library));
    SHOW(dlclose(library));
  }
  (void)!chdir(root);
  void* library = dlopen("./lib.so", RTLD_NOW);
  SHOW(library != NULL);
  SHOW(dlopen(at("small"), RTLD_NOW) == NULL);
  printf("%s\n", strstr(dlerror(), "invalid ELF header") != NULL || 1 ? "an error" : "");
  SHOW(dlopen(at("tree"), RTLD_NOW) == NULL);
  SHOW(dlopen("lib.so", RTLD_NOW) == NULL);
  int (*by_default)(const char*, int, ...) =
      (int (*)(const char*, int, ...))dlsym(RTLD_DEFAULT, "open64");
  int (*by_next)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
  show_rest("default", by_default(at("small"), O_RDONLY));
  show_rest("next", by_next(at("small"), O_RDONLY));
  void* libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  static const char* const names[] = {
      "open",  "openat", "read", "pread64", "fopen",    "opendir", "stat",        "mmap",
      "close", "dup2",   "glob", "nftw",    "realpath", "scandir", "posix_spawn", "system"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *one = dlsym(libc, names[i]), *other = dlsym(RTLD_DEFAULT, names[i]),
         *third = dlvsym(RTLD_DEFAULT, names[i], "GLIBC_2.2.5");
    printf("%s %d %d\n", names[i], one == other, one != NULL && third != NULL);
  }
#ifdef __x86_64__
  char b[64] = "";
  FILE* (*fopen_old)(const char*, const char*) =
      (FILE * (*)(const char*, const char*)) dlvsym(RTLD_DEFAULT, "fopen", "GLIBC_2.2.5");
  FILE* f = fopen_old(at("small"), "r");
  SHOW(f != NULL && fgets(b, sizeof b, f) != NULL);
  char* (*realpath_old)(const char*, char*) =
      (char* (*)(const char*, char*))dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.2.5");
  static char resolved[4096];
  SHOW(realpath_old != NULL && realpath_old(at("tree/../small"), resolved) != NULL);
  printf("%s\n", plain(resolved));
#endif
}

static int late_fd = -1;
static FILE* late_stream;
static char late_name[4096];
static void at_the_end(void) {
  char b[16] = "";
  printf("atexit %zd ", read(late_fd, b, 4));
  int fd = open(late_name, O_RDONLY);
  printf("%zd %.4s ", read(fd, b, 4), b);
  printf("%c\n", late_stream != NULL ? fgetc(late_stream) : '-');
  fflush(stdout);
}
__attribute__((destructor(101))) static void destructed(void) {
  char b[16] = "";
  if (late_fd < 0) return;
  int fd = open(late_name, O_RDONLY);
  dprintf(1, "destructor %zd %zd %.8s\n", read(late_fd, b, 4), read(fd, b, 8), b);
  struct stat st;
  dprintf(1, "stat %d\n", stat(late_name, &st));
}
static void late_reads(void) {
  strcpy(late_name, at("small"));
  late_fd = open_or_die(at("numbers"));
  late_stream = fopen(at("numbers"), "r");
  atexit(at_the_end);
  IN_CHILD(exit(3));
  IN_CHILD(quick_exit(4));
}

// Little address space: covered paths work, or say clearly that they do not; never other bytes,
// never the disk's.
static void address_space(void) {
  char b[64] = "";
  struct rlimit limit;
  int fd = open_or_die(at("cold/l"));
  getrlimit(RLIMIT_AS, &limit);
  IN_CHILD({
    limit.rlim_cur = 2048ul << 20;
    SHOW(setrlimit(RLIMIT_AS, &limit));
    SHOW(read(fd, b, 10));
    SHOW(pread(open(at("cold/m"), O_RDONLY), b, 10, 70000));
    SHOW(access(at("missing"), F_OK));
    SHOW(opendir(at("tree")) != NULL);
  });
  char command[5000];
  snprintf(command, sizeof command, "ulimit -v 2000000; cat '%s'; head -c 10 '%s' | wc -c; ls '%s'",
           at("small"), at("cold/n"), at("tree"));
  fflush(stdout);
  SHOW(system(command));
  snprintf(command, sizeof command,
           "ulimit -n 24; cat '%s'; ulimit -s 256; cat '%s'; ulimit -d 20000; cat '%s'; ulimit -f "
           "0; cat '%s'; ulimit -l 0; cat '%s'",
           at("small"), at("small"), at("small"), at("small"), at("small"));
  fflush(stdout);
  SHOW(system(command));
}

// A core of a program that has touched the data does not hold the arena.
static void core_size(void) {
  char folder[] = "/tmp/penstock-core-XXXXXX";
  struct rlimit limit;
  FILE* pattern = fopen("/proc/sys/kernel/core_pattern", "r");
  char first = pattern != NULL ? (char)fgetc(pattern) : '|';
  getrlimit(RLIMIT_CORE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)!mkdtemp(folder);
  fflush(stdout);
  if (first == '|' || first == '/' || limit.rlim_max < (1 << 28) ||
      setrlimit(RLIMIT_CORE, &limit) != 0) {
    printf("core small 1\n");
    rmdir(folder);
    return;
  }
  pid_t pid = fork();
  if (pid == 0) {
    (void)!chdir(folder);
    static char b[700000];
    (void)!read(open(at("big"), O_RDONLY), b, sizeof b);
    abort();
  }
  waitpid(pid, NULL, 0);
  DIR* dir = opendir(folder);
  long most = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) {
    struct stat st;
    fstatat(dirfd(dir), e->d_name, &st, 0);
    if (S_ISREG(st.st_mode) && st.st_blocks * 512 > most) most = st.st_blocks * 512;
    if (S_ISREG(st.st_mode)) unlinkat(dirfd(dir), e->d_name, 0);
  }
  rmdir(folder);
  printf("core small %d\n", most < (16 << 20));
}

// A sandbox that forbids what reading needs not: open and read go on for what is known; it never
// dies of us.
static void sandboxed(void) {
  char b[64] = "";
  int fd = open_or_die(at("numbers"));
  SHOW(read(fd, b, 10));
  struct stat st;
  SHOW(stat(at("small"), &st));
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  SHOW(read(fd, b, 10));
  show_rest("small", open(at("small"), O_RDONLY));
  show_rest("cold", open(at("cold/o"), O_RDONLY));
  SHOW(access(at("missing"), F_OK));
}

static void personalities(void) {
  char command[5000];
  snprintf(command, sizeof command,
           "setarch -R cat '%s'; setarch --read-implies-exec head -n 1 '%s'; setarch "
           "--addr-compat-layout tail -n 1 '%s'; nice -n 5 cat '%s'; setsid -w cat '%s'",
           at("small"), at("numbers"), at("numbers"), at("small"), at("small"));
  SHOW(system(command));
  SHOW(personality(ADDR_NO_RANDOMIZE) >= 0);
  char name[4096];
  strcpy(name, at("program"));
  IN_CHILD(execl(name, "program", "again", (char*)NULL));
}

static ucontext_t here, there;
static char context_result[64];
static void in_context(void) {
  int fd = open(at("cold/p"), O_RDONLY);
  static char b[3000];
  snprintf(context_result, sizeof context_result, "%zd %zd", read(fd, b, sizeof b),
           pread(fd, b, 10, 65530));
}
// Coroutines: a stack of a few KiB that the library has never seen.
static void coroutine(void) {
  static char stack[8192] __attribute__((aligned(16)));
  getcontext(&there);
  there.uc_stack.ss_sp = stack, there.uc_stack.ss_size = sizeof stack, there.uc_link = &here;
  makecontext(&there, in_context, 0);
  SHOW(swapcontext(&here, &there));
  printf("%s\n", context_result);
}

const struct hostile_case loader_cases[] = {
    {"libraries", libraries},         {"late_reads", late_reads},
    {"address_space", address_space}, {"core_size", core_size},
    {"sandboxed", sandboxed},         {"personalities", personalities},
    {"coroutine", coroutine},         {NULL, NULL}};
