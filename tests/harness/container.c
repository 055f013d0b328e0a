// pst_container: runs a command as a container of Kubernetes would have it, for the tests.
//
//   pst_container [--uid N] [--map OUTER] [--bind SRC:DST[:ro]]... [--netns-of PID] -- CMD...
//       New mount, pid, ipc, uts, cgroup, network and user namespaces; user N (default 1000) of a
//       user namespace that maps 0..65535 to OUTER.. (default 100000); own /proc; fresh /tmp, /run,
//       /var/tmp and /dev/shm, into which the given paths are bound; no capabilities, no_new_privs,
//       containerd's default seccomp profile. Loopback is up. --netns-of joins the network
//       namespace of a process.
//   pst_container --net-only -- CMD...
//       A new network namespace with loopback, nothing else (for a test server).
//
// Needs root. Its exit status is CMD's, 128 + N after signal N, 125 if the container could not be
// made. SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on; when it dies, so does
// the container.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/seccomp_default.h"

enum { kMaxBinds = 32, kCannotMake = 125, kLastCapability = 63 };

typedef struct Bind {
  int source;  // O_PATH
  const char* target;
  int read_only;
  int is_directory;
} Bind;

typedef struct Options {
  unsigned uid;
  unsigned map_outer;
  int net_only;
  int netns;  // fd, or -1
  Bind binds[kMaxBinds];
  int bind_count;
  char** command;
} Options;

static volatile sig_atomic_t g_child;  // whom PassOn() signals

static void Die(const char* what) {
  fprintf(stderr, "pst_container: %s: %s\n", what, strerror(errno));
  _exit(kCannotMake);
}

static void Usage(const char* what) {
  fprintf(stderr, "pst_container: %s\n", what);
  _exit(kCannotMake);
}

// ---------------------------------------------------------------- options

static void AddBind(Options* o, char* text) {
  if (o->bind_count == kMaxBinds) Usage("too many --bind");
  Bind* b = &o->binds[o->bind_count++];
  char* target = strchr(text, ':');
  if (!target || target[1] != '/') Usage("--bind wants SRC:/DST[:ro]");
  *target++ = '\0';
  char* flags = strchr(target, ':');
  if (flags) {
    *flags++ = '\0';
    if (strcmp(flags, "ro") != 0) Usage("--bind knows the flag ro only");
    b->read_only = 1;
  }
  b->target = target;
  struct stat st;
  if (stat(text, &st) != 0) Die(text);
  b->is_directory = S_ISDIR(st.st_mode);
  b->source = -1;  // opened in the container's mount namespace, see OpenBinds()
}

static void Parse(Options* o, char** argv, char* sources[kMaxBinds]) {
  *o = (Options){.uid = 1000, .map_outer = 100000, .netns = -1};
  char** arg = argv + 1;
  for (; *arg && strcmp(*arg, "--") != 0; ++arg) {
    if (strcmp(*arg, "--net-only") == 0) {
      o->net_only = 1;
      continue;
    }
    char *option = *arg, *value = *++arg;
    if (!value) Usage("option without a value, or no '--'");
    if (strcmp(option, "--uid") == 0) {
      o->uid = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(option, "--map") == 0) {
      o->map_outer = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(option, "--bind") == 0) {
      AddBind(o, value);
      sources[o->bind_count - 1] = value;
    } else if (strcmp(option, "--netns-of") == 0) {
      char path[64];
      snprintf(path, sizeof(path), "/proc/%lu/ns/net", strtoul(value, NULL, 10));
      o->netns = open(path, O_RDONLY | O_CLOEXEC);
      if (o->netns < 0) Die(path);
    } else {
      Usage(option);
    }
  }
  if (!*arg || !arg[1]) Usage("no command after '--'");
  o->command = arg + 1;
}

// ---------------------------------------------------------------- signals and waiting

static void PassOn(int signal_number) {
  int saved = errno;
  if (g_child > 0) kill(g_child, signal_number);
  errno = saved;
}

static const int kPassed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static void PassSignals(void) {
  for (size_t i = 0; i < sizeof(kPassed) / sizeof(kPassed[0]); ++i) {
    struct sigaction action = {.sa_handler = PassOn, .sa_flags = SA_RESTART};
    sigaction(kPassed[i], &action, NULL);
  }
}

static void DefaultSignals(void) {
  for (size_t i = 0; i < sizeof(kPassed) / sizeof(kPassed[0]); ++i) signal(kPassed[i], SIG_DFL);
}

// Reaps everything until `child` has ended; its exit status as a shell gives it.
static int WaitFor(pid_t child) {
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0 && errno != EINTR) Die("waitpid");
    if (pid == child) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

// ---------------------------------------------------------------- inside

static void LoopbackUp(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo"};
  if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0) Die("loopback");
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) Die("loopback up");
  close(fd);
}

static void MakeParents(const char* path) {
  char part[4096];
  for (const char* slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
    if (mkdir(part, 0755) != 0 && errno != EEXIST) Die(part);
  }
}

static void MountBind(const Bind* b) {
  MakeParents(b->target);
  if (b->is_directory) {
    if (mkdir(b->target, 0755) != 0 && errno != EEXIST) Die(b->target);
  } else {
    int fd = open(b->target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) Die(b->target);
    close(fd);
  }
  char source[64];
  snprintf(source, sizeof(source), "/proc/self/fd/%d", b->source);
  if (mount(source, b->target, NULL, MS_BIND | MS_REC, NULL) != 0) Die(b->target);
  if (b->read_only &&
      mount(NULL, b->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) != 0) {
    Die("read-only bind");
  }
  close(b->source);
}

static void SetUpMounts(Options* o, char* const sources[kMaxBinds]) {
  static const char* const kFresh[] = {"/tmp", "/run", "/var/tmp", "/dev/shm"};
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) Die("private mounts");
  for (int i = 0; i < o->bind_count; ++i) {
    o->binds[i].source = open(sources[i], O_PATH | O_CLOEXEC);
    if (o->binds[i].source < 0) Die(sources[i]);
  }
  for (size_t i = 0; i < sizeof(kFresh) / sizeof(kFresh[0]); ++i) {
    if (mount("tmpfs", kFresh[i], "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0) Die(kFresh[i]);
  }
  for (int i = 0; i < o->bind_count; ++i) MountBind(&o->binds[i]);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) Die("/proc");
}

// Drops every right: ids first (that clears the permitted set), then what could come back.
static void DropRights(const Options* o) {
  for (unsigned long cap = 0; cap <= kLastCapability; ++cap) {
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL) Die("bounding set");
  }
  if (setgroups(0, NULL) != 0 || setresgid(o->uid, o->uid, o->uid) != 0 ||
      setresuid(o->uid, o->uid, o->uid) != 0) {
    Die("ids");
  }
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{0}};
  if (syscall(SYS_capset, &header, data) != 0) Die("capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Die("no_new_privs");
}

static void Exec(const Options* o) {
  DefaultSignals();
  execvp(o->command[0], o->command);
  fprintf(stderr, "pst_container: %s: %s\n", o->command[0], strerror(errno));
  _exit(errno == ENOENT ? 127 : 126);
}

static void EnterNamespaces(const Options* o) {
  int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (o->netns < 0) {
    flags |= CLONE_NEWNET;
  } else if (setns(o->netns, CLONE_NEWNET) != 0) {
    Die("joining the network namespace");
  }
  if (unshare(flags) != 0) Die("namespaces (this needs root)");
  if (o->netns < 0) LoopbackUp();
}

// Pid 1 of the container: makes it, waits for the parent's id maps, starts CMD and reaps.
static void Inside(Options* o, char* const sources[kMaxBinds], int ready, int mapped) {
  EnterNamespaces(o);
  SetUpMounts(o, sources);
  if (unshare(CLONE_NEWUSER) != 0) Die("user namespace");
  if (write(ready, "r", 1) != 1) Die("telling the parent");
  char byte;
  if (read(mapped, &byte, 1) != 1) Die("id maps");
  close(ready);
  close(mapped);
  DropRights(o);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) Die("parent's death");
  if (PstInstallDefaultSeccomp() != 0) Die("seccomp");
  setenv("HOME", "/tmp", 1);
  setenv("TMPDIR", "/tmp", 1);
  if (chdir("/") != 0) Die("/");
  sigset_t passed, before;
  sigfillset(&passed);
  sigprocmask(SIG_BLOCK, &passed, &before);
  PassSignals();
  pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) {
    sigprocmask(SIG_SETMASK, &before, NULL);
    Exec(o);
  }
  g_child = child;
  sigprocmask(SIG_SETMASK, &before, NULL);
  _exit(WaitFor(child));
}

// ---------------------------------------------------------------- outside

static void WriteMap(pid_t pid, const char* file, unsigned outer) {
  char path[64], text[64];
  snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
  int length = snprintf(text, sizeof(text), "0 %u 65536\n", outer);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, (size_t)length) != length) Die(path);
  close(fd);
}

int main(int argc, char** argv) {
  (void)argc;
  static Options options;
  char* sources[kMaxBinds] = {NULL};
  Parse(&options, argv, sources);
  if (options.net_only) {
    if (unshare(CLONE_NEWNET) != 0) Die("network namespace");
    LoopbackUp();
    Exec(&options);
  }
  // The rest is unshared by the child: this process needs the host's /proc for the id maps.
  if (unshare(CLONE_NEWPID) != 0) Die("pid namespace (this needs root)");
  int ready[2], mapped[2];
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(mapped, O_CLOEXEC) != 0) Die("pipe");
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  PassSignals();
  pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) {
    close(ready[0]);
    close(mapped[1]);
    sigprocmask(SIG_SETMASK, &before, NULL);
    Inside(&options, sources, ready[1], mapped[0]);
  }
  g_child = child;
  close(ready[1]);
  close(mapped[0]);
  char byte;
  if (read(ready[0], &byte, 1) == 1) {
    WriteMap(child, "uid_map", options.map_outer);
    WriteMap(child, "gid_map", options.map_outer);
    if (write(mapped[1], "m", 1) != 1) Die("telling the child");
  }
  sigprocmask(SIG_SETMASK, &before, NULL);
  return WaitFor(child);
}
