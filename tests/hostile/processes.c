// Chains of programs, and children made in every way.
#include "tests/hostile/host.h"

#include <linux/sched.h>

extern char** environ;

static void run(const char* program, char* const* argv, char* const* envp) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    execve(program, argv, envp);
    _exit(127);
  }
  wait_for(pid);
}

// Descriptors go through chains of programs: dynamic, static, with an empty environment, by a
// shell.
static void exec_chains(void) {
  static const char* const chains[] = {
      "head -n 1 <&7",
      "env -i /usr/bin/head -n 1 <&7",
      "\"$STATIC\" cat7",
      "env -i \"$STATIC\" exec7 /usr/bin/head -n 1",
      "\"$STATIC\" exec7 \"$STATIC\" cat7",
      "\"$STATIC\" exec7 /bin/sh -c 'head -n 1 <&7'",
      "env -i /bin/sh -c 'env -i /bin/sh -c \"head -c 5 <&7; head -c 3 <&7\"'",
      "exec 8<&7 7<&-; exec 7<&8; head -n 1 <&7",
      "(read a <&7; echo $a; \"$STATIC\" cat7; read b <&7; echo $b)",
      "cat /dev/fd/7 | head -n 1",
      "head -n 1 /proc/self/fd/7",
      "exec 0<&7; head -n 1 /dev/stdin; read x; echo $x",
      "nice setsid head -n 1 <&7",
      "sh -c 'kill -9 $$' ; head -n 1 <&7",
      "perl -e 'open F, \"<&=7\"; sysread F, $b, 10; print $b; exec \"head\", \"-n\", \"1\"' <&7"};
  setenv("STATIC", at("../program_static"), 1);
  const char* program = getenv("HOSTILE_STATIC");
  setenv("STATIC", program != NULL ? program : "/nowhere", 1);
  for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
    int fd = open_or_die(at("numbers"));
    lseek(fd, 1000, SEEK_SET);
    dup2(fd, 7);
    printf("%s\n", chains[i]);
    run("/bin/sh", (char*[]){"sh", "-c", (char*)chains[i], NULL}, environ);
    char b[8];
    // How far a reader of a pipe or a line has read ahead is its own affair.
    if (strstr(chains[i], "cat7") == NULL || strstr(chains[i], "read") == NULL)
      SHOW(read(fd, b, 8) >= 0);
    close(fd), close(7);
  }
}

static void exec_by_number(void) {
  char* argv[] = {"by number", "an argument", NULL};
  const char* names[] = {"program", "tell", "small", "tree", "program_static"};
  for (int i = 0; i < 5; i++) {
    for (int how = 0; how < 6; how++) {
      fflush(stdout);
      pid_t pid = fork();
      if (pid == 0) {
        if (how == 4 && i == 1) _exit(0);  // has no name that its interpreter could open
        int flags = (how & 1 ? O_PATH : O_RDONLY) | (how == 4 ? O_CLOEXEC : 0);
        int fd = open(at(names[i]), flags), dir = open(root, O_RDONLY | O_DIRECTORY);
        if (how < 2 || how == 4)
          fexecve(fd, argv, environ);
        else if (how == 2)
          execveat(dir, names[i], argv, environ, 0);
        else if (how == 3)
          execveat(fd, "", argv, environ, AT_EMPTY_PATH);
        else
          execveat(dir, names[i], argv, environ, AT_SYMLINK_NOFOLLOW);
        printf("%s %d: %s\n", names[i], how, strerrorname_np(errno));
        fflush(stdout);
        _exit(127);
      }
      wait_for(pid);
    }
  }
  char path[64];
  int fd = open(at("program"), O_RDONLY);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  run(path, argv, environ);
  snprintf(path, sizeof path, "/dev/fd/%d", open(at("tell"), O_RDONLY));
  run(path, argv, environ);
  (void)!chdir(at("tree"));
  run("../program", argv, environ);
  run("../greet", argv, environ);
  run("./one", argv, environ);
  run("..", argv, environ);
}

static int child_reads(void* argument) {
  char b[16] = "";
  long n = read(*(int*)argument, b, 10);
  dprintf(1, "clone child %ld %.*s\n", n, (int)n, b);
  return 5;
}

static long raw_clone3(struct clone_args* args) { return syscall(SYS_clone3, args, sizeof *args); }

static void clones(void) {
  static char stack[1 << 18] __attribute__((aligned(64)));
  int fd = open_or_die(at("numbers")), status;
  static const int flags[] = {SIGCHLD,
                              SIGCHLD | CLONE_FILES,
                              SIGCHLD | CLONE_VM | CLONE_VFORK,
                              SIGCHLD | CLONE_VM | CLONE_FILES,
                              SIGCHLD | CLONE_FS,
                              SIGCHLD | CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND};
  fflush(stdout);
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
    pid_t pid = clone(child_reads, stack + sizeof stack, flags[i], &fd);
    waitpid(pid, &status, 0);
    printf("flags %x: %d, offset %ld\n", flags[i], WIFEXITED(status) ? WEXITSTATUS(status) : -1,
           (long)lseek(fd, 0, SEEK_CUR));
    fflush(stdout);
  }
  for (int how = 0; how < 2; how++) {
    struct clone_args args = {.exit_signal = SIGCHLD, .flags = how ? CLONE_FILES : 0};
    long pid = raw_clone3(&args);
    if (pid == 0) {
      child_reads(&fd);
      if (how) close(fd), dup2(open("/dev/null", O_RDONLY), fd);
      _exit(6);
    }
    waitpid((pid_t)pid, &status, 0);
    printf("clone3 %d: %d, offset %ld\n", how, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
           (long)lseek(fd, 0, SEEK_CUR));
    fflush(stdout);
  }
  pid_t pid = _Fork();
  if (pid == 0) _exit(child_reads(&fd));
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR));
}

static void* unshared(void* argument) {
  int fd = *(int*)argument;
  char b[8];
  SHOW(unshare(CLONE_FILES));
  SHOW(close(fd));
  SHOW(read(fd, b, 4));
  int other = open(at("small"), O_RDONLY);
  SHOW(other == fd);
  SHOW(read(other, b, 4));
  printf("%.4s\n", b);
  return NULL;
}

// A thread with a table of its own closes a number and puts another file onto it.
static void unshare_files(void) {
  int fd = open_or_die(at("numbers"));
  char b[8];
  pthread_t thread;
  SHOW(unshare(CLONE_FILES));
  SHOW(read(fd, b, 4));
  pthread_create(&thread, NULL, unshared, &fd);
  pthread_join(thread, NULL);
  SHOW(read(fd, b, 4));
  printf("%.4s\n", b);
}

// A vforked child closes, duplicates and executes; the parent's numbers stay.
static void vforked(void) {
  int fd = open_or_die(at("numbers")), other = open_or_die(at("small"));
  char b[16] = "";
  for (int how = 0; how < 4; how++) {
    fflush(stdout);
    pid_t pid = vfork();
    if (pid == 0) {
      if (how == 0) close(fd), _exit(3);
      if (how == 1) {
        dup2(other, fd), close(other);
        dup2(fd, 0);
        execl("/usr/bin/head", "head", "-n", "1", (char*)NULL);
      }
      if (how == 2) {
        lseek(fd, 20, SEEK_SET);
        int mine = open(at("small"), O_RDONLY);
        _exit(read(mine, b, 4) == 4 ? 4 : 5);
      }
      closefrom(3);
      _exit(0);
    }
    wait_for(pid);
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(read(fd, b, 4));
    SHOW(lseek(other, 0, SEEK_SET));
  }
}

// system and popen with an environment that was cleared, and with descriptors on the way.
static void shells(void) {
  char command[5000];
  int fd = open_or_die(at("numbers"));
  clearenv();
  snprintf(command, sizeof command,
           "/bin/cat '%s'; /usr/bin/head -c 4 <&%d; cd '%s' && /bin/pwd | /bin/sed 's,.*/,,'",
           at("small"), fd, at("tree"));
  fflush(stdout);
  SHOW(system(command));
  FILE* f = popen(command, "re");
  char line[200];
  while (fgets(line, sizeof line, f)) printf("> %s", line);
  SHOW(pclose(f));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(system(NULL));
  f = popen("/bin/cat >/dev/null", "w");
  SHOW(fputs("x", f) >= 0);
  SHOW(pclose(f));
  SHOW(popen("true", "q") == NULL ? -1 : 0);
}

// The offset of an open file that a shell, a static program and the parent share.
static void read_between(void) {
  char command[5000];
  const char* program = getenv("HOSTILE_STATIC");
  const char* scripts[] = {
      "{ read a; '%s' line; read b; echo \"$a $b\"; } <'%s'",
      "{ read a; env -i '%s' line; read b; echo \"$a $b\"; } <'%s'",
      "exec 5<'%2$s'; read a <&5; '%1$s' line <&5; read b <&5; '%1$s' line <&5; echo \"$a $b\"; "
      "head -n 1 <&5",
      "{ '%s' line; read a; ( read b; echo $b ); read c; echo \"$a $c\"; } <'%s'",
      "while read a; do echo \"$a\"; '%s' line; [ \"$a\" = 5 ] && break; done <'%s'"};
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    for (int shell = 0; shell < 2; shell++) {
      snprintf(command, sizeof command, scripts[i], program, at("numbers"));
      run(shell ? "/bin/bash" : "/bin/dash", (char*[]){"sh", "-c", command, NULL}, environ);
    }
  }
}

const struct hostile_case process_cases[] = {{"exec_chains", exec_chains},
                                             {"exec_by_number", exec_by_number},
                                             {"clones", clones},
                                             {"unshare_files", unshare_files},
                                             {"vforked", vforked},
                                             {"shells", shells},
                                             {"read_between", read_between},
                                             {NULL, NULL}};
