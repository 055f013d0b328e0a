// Fork, exec, spawn and what children see.
#include "host.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

void fork_case(void) {
  char b[100];
  int fd = open_or_die(at("numbers"));
  SHOW(read(fd, b, 10));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    SHOW(read(fd, b, 20));
    SHOW(lseek(fd, 0, SEEK_CUR));
    fflush(stdout);
    _exit(0);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  fflush(stdout);
  pid = vfork();
  if (pid == 0) {
    dup2(fd, 0);
    execl("/bin/cat", "cat", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(lseek(fd, 40, SEEK_SET));
  /* A sharer that maps the file, which makes it real: the offset stays one. */
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    struct flock lock = {.l_type = F_RDLCK};
    SHOW(fcntl(fd, F_SETLK, &lock));
    SHOW(read(fd, b, 7));
    fflush(stdout);
    _exit(0);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(read(fd, b, 3));
  SHOW(lseek(fd, 0, SEEK_CUR));
}

/* Goes into the background; the process that opened the files is gone then. */
void daemon_case(void) {
  char b[4096];
  int fd = open_or_die(at("numbers")), out = dup(1);
  SHOW(read(fd, b, 10));
  fflush(stdout);
  if (daemon(0, 0) != 0) _exit(9);
  usleep(300000);
  for (int i = 0; i < 70; i++) open(at(i % 2 ? "small" : "tree/one"), O_RDONLY); /* takes what is free */
  long n = read(fd, b, 20);
  int null = open(at("small"), O_RDONLY);
  long m = read(null, b + 20, 20);
  dprintf(out, "%ld %ld %.40s, ", n, m, b);
  dprintf(out, "%s %ld\n", getcwd(b, sizeof b), (long)read(0, b, 5));
}

/* Forks inside libc. */
void inside_case(void) {
  char b[2000];
  int fd = open_or_die(at("numbers")), terminal;
  SHOW(read(fd, b, 10));
  fflush(stdout);
  snprintf(b, sizeof b, "\"%s\" daemon \"%s\" %s | cat", self, root, mounted ? "mount" : "plain");
  SHOW(system(b));
  fflush(stdout);
  pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
  if (pid == 0) _exit(read(fd, b, 7) == 7 && read(0, b, 0) == 0 ? 4 : 5);
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  wordexp_t words;
  snprintf(b, sizeof b, "$(head -c 12 <&%d | tr '\\n' +)", fd);
  SHOW(wordexp(b, &words, 0));
  printf("%s\n", words.we_wordc > 0 ? words.we_wordv[0] : "nothing");
}

static int clone_child(void* argument) {
  char b[10];
  SHOW(read(*(int*)argument, b, 10));
  fflush(stdout);
  return 5;
}

void clone_case(void) {
  static char stack[65536];
  int fd = open_or_die(at("numbers"));
  fflush(stdout);
  pid_t pid = clone(clone_child, stack + sizeof stack, SIGCHLD, &fd);
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
  fflush(stdout);
  pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(clone_child(&fd));
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
}

void exec_case(void) {
  extern char** environ;
  char* empty[] = {NULL};
  const char* file = at("numbers");
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    execle("/usr/bin/head", "head", "-n", "2", file, (char*)NULL, empty);
    _exit(127);
  }
  wait_for(pid);
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    clearenv();
    _exit(system("tail -n 1 \"$(echo '" "' )\" /dev/null >/dev/null 2>&1; exit 4") >> 8);
  }
  wait_for(pid);
  char command[4200];
  snprintf(command, sizeof command, "wc -l < %s", file);
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    char line[64] = "";
    clearenv();
    FILE* stream = popen(command, "r");
    if (stream == NULL || fgets(line, sizeof line, stream) == NULL) _exit(1);
    printf("popen: %s", line);
    pclose(stream);
    fflush(stdout);
    _exit(WEXITSTATUS(system(command)));
  }
  wait_for(pid);
  /* Programs and scripts that lie there. */
  const char* programs[] = {"greet", "program", "missing", "small"};
  for (int i = 0; i < 4; i++) {
    char path[4096];
    strcpy(path, at(programs[i]));
    char* argv[] = {path, "an argument", NULL};
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
      execve(path, argv, environ);
      printf("%s\n", strerrorname_np(errno));
      fflush(stdout);
      _exit(127);
    }
    wait_for(pid);
    fflush(stdout);
    int err = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    printf("spawn: %d\n", err);
    if (err == 0) wait_for(pid);
  }
  fflush(stdout);
  pid = fork();
  if (pid == 0) {
    char path[5000];
    snprintf(path, sizeof path, "/nowhere:%s:/bin", root);
    setenv("PATH", path, 1);
    execlp("greet", "greet", "found", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
}

void spawn_case(void) {
  extern char** environ;
  posix_spawn_file_actions_t actions;
  pid_t pid = 0;
  char* cat[] = {"head", "-n", "3", NULL};
  int fd = open_or_die(at("numbers"));
  lseek(fd, 10, SEEK_SET);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_adddup2(&actions, fd, 0));
  fflush(stdout);
  SHOW(posix_spawn(&pid, "/usr/bin/head", &actions, NULL, cat, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0));
  fflush(stdout);
  SHOW(posix_spawnp(&pid, "head", &actions, NULL, cat, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  SHOW(posix_spawn_file_actions_addopen(&actions, 0, at("missing"), O_RDONLY, 0));
  SHOW(posix_spawn(&pid, "/usr/bin/head", &actions, NULL, cat, environ));
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
  char* ls[] = {"ls", NULL};
  SHOW(posix_spawn_file_actions_addchdir_np(&actions, at("tree")));
  fflush(stdout);
  SHOW(posix_spawn(&pid, "/bin/ls", &actions, NULL, ls, environ));
  wait_for(pid);
  posix_spawn_file_actions_destroy(&actions);
  SHOW(read(fd, cat, 8));
}

/* A child in a sandbox that forbids sockets reads what it has open, as does what it executes; a name that it would have
 * to ask for fails at once. */
void sandbox_case(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof code / sizeof code[0], code};
  for (int way = 0; way < 2; way++) {
    int fd = open_or_die(at("numbers")), other = open(at("big"), O_RDONLY | O_CLOEXEC);
    char b[16];
    SHOW(read(fd, b, 7));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(1);
      long done = way == 0 ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0)
                           : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
      if (done != 0) _exit(2);
      SHOW(read(fd, b, 5));
      SHOW(pread(other, b, 16, 600000));
      fflush(stdout);
      dup2(fd, 0);
      execlp("sh", "sh", "-c", "read a; echo $a; cat | cksum", NULL);
      _exit(3);
    }
    int status = -1;
    waitpid(child, &status, 0);
    SHOW(status);
    SHOW(lseek(fd, 0, SEEK_CUR));
    close(fd), close(other);
  }
}
