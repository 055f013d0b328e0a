// posix_spawn with every action and attribute.
#include "tests/hostile/host.h"

extern char** environ;
static posix_spawn_file_actions_t actions;

static void spawn(const char* what, const char* program, char* const* argv) {
  pid_t pid;
  fflush(stdout);
  int err = posix_spawn(&pid, program, &actions, NULL, argv, environ), status = -1;
  if (err == 0) waitpid(pid, &status, 0);
  printf("%s: %s %x\n", what, err == 0 ? "spawned" : strerrorname_np(err), status);
}

static void begin(void) {
  posix_spawn_file_actions_destroy(&actions);
  posix_spawn_file_actions_init(&actions);
}

static void spawn_actions(void) {
  char* head[] = {"head", "-n", "2", NULL};
  char* cat[] = {"cat", NULL};
  char* ls[] = {"ls", NULL};
  char* one[] = {"cat", "one", NULL};
  char* sh[] = {"sh", "-c", "head -c 6 <&9; head -n 1", NULL};
  int fd = open_or_die(at("numbers"));
  posix_spawn_file_actions_init(&actions);
  // The same actions twice: the file is opened by each child.
  posix_spawn_file_actions_addopen(&actions, 0, at("numbers"), O_RDONLY, 0);
  spawn("first", "/usr/bin/head", head);
  spawn("second", "/usr/bin/head", head);
  begin();
  posix_spawn_file_actions_addchdir_np(&actions, at("tree"));
  posix_spawn_file_actions_addopen(&actions, 0, "one", O_RDONLY, 0);
  spawn("open below chdir", "/bin/cat", cat);
  spawn("name below chdir", "/bin/cat", one);
  begin();
  posix_spawn_file_actions_addchdir_np(&actions, root);
  posix_spawn_file_actions_addchdir_np(&actions, "tree");
  posix_spawn_file_actions_addchdir_np(&actions, "deep/..");
  spawn("chdir by steps", "/bin/cat", one);
  begin();
  posix_spawn_file_actions_addfchdir_np(&actions, open(at("tree"), O_RDONLY | O_DIRECTORY));
  posix_spawn_file_actions_addopen(&actions, 0, "../small", O_RDONLY, 0);
  spawn("open below fchdir", "/bin/cat", cat);
  begin();
  posix_spawn_file_actions_addopen(&actions, 9, at("small"), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, fd, 0);
  posix_spawn_file_actions_addclose(&actions, fd);
  spawn("open, dup2, close", "/bin/sh", sh);
  begin();
  posix_spawn_file_actions_addopen(&actions, 9, at("small"), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, 9, 0);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  spawn("closefrom", "/bin/cat", cat);
  begin();
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0);
  spawn("closefrom before open", "/bin/cat", cat);
  begin();
  posix_spawn_file_actions_adddup2(&actions, fd, fd);
  posix_spawn_file_actions_adddup2(&actions, fd, 9);
  posix_spawn_file_actions_addclose(&actions, 0);
  posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0);
  spawn("dup2 onto itself", "/bin/sh", sh);
  static const struct {
    const char* name;
    int flags;
  } failing[] = {{"missing", O_RDONLY},      {"small/x", O_RDONLY},
                 {"small", O_WRONLY},        {"tree", O_RDWR},
                 {"new", O_CREAT | O_RDWR},  {"small", O_RDONLY | O_DIRECTORY},
                 {"small", O_CREAT | O_EXCL}};
  for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
    begin();
    SHOW(
        posix_spawn_file_actions_addopen(&actions, 0, at(failing[i].name), failing[i].flags, 0600));
    spawn(failing[i].name, "/bin/cat", cat);
  }
  begin();
  SHOW(posix_spawn_file_actions_addchdir_np(&actions, at("missing")));
  spawn("chdir nowhere", "/bin/cat", cat);
  begin();
  SHOW(posix_spawn_file_actions_addchdir_np(&actions, at("small")));
  spawn("chdir to a file", "/bin/cat", cat);
  begin();
  SHOW(posix_spawn_file_actions_addclose(&actions, 777));
  spawn("close of nothing", "/bin/true", cat);
  SHOW(posix_spawn_file_actions_adddup2(&actions, 777, 3));
  spawn("dup2 of nothing", "/bin/true", cat);
  SHOW(posix_spawn_file_actions_addopen(&actions, -1, at("small"), O_RDONLY, 0));
  SHOW(posix_spawn_file_actions_addtcsetpgrp_np(&actions, 0));
  begin();
  posix_spawn_file_actions_addopen(&actions, 0, at("tree"), O_RDONLY | O_DIRECTORY, 0);
  char* by_number[] = {"ls", "/dev/fd/0/", NULL};
  spawn("a directory", "/bin/ls", by_number);
  begin();
  posix_spawn_file_actions_addchdir_np(&actions, at("tree"));
  spawn("ls", "/bin/ls", ls);
  char* run[] = {"../program", "spawned", NULL};
  spawn("a program below chdir", "../program", run);
  char* script[] = {"../greet", "spawned", NULL};
  spawn("a script below chdir", "../greet", script);
  // Offsets: of what the parent has, shared; of what the child opens, its own.
  SHOW(lseek(fd, 0, SEEK_CUR) >= 0);
}

// The file is there, or is another one, only when the child is made.
static void spawn_late(void) {
  char link[100], target[4096], other[4096];
  char* cat[] = {"cat", NULL};
  snprintf(link, sizeof link, "/tmp/penstock-late-%d", (int)getpid());
  strcpy(target, at("small")), strcpy(other, at("tree/one"));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, link, O_RDONLY, 0);
  spawn("not there yet", "/bin/cat", cat);
  (void)!symlink(target, link);
  spawn("a link into it", "/bin/cat", cat);
  unlink(link);
  (void)!symlink(other, link);
  spawn("a link elsewhere", "/bin/cat", cat);
  unlink(link);
  begin();
  posix_spawn_file_actions_addopen(&actions, 0, "one", O_RDONLY, 0);
  (void)!chdir(at("tree"));
  spawn("relative to where one stands then", "/bin/cat", cat);
  (void)!chdir("/");
  spawn("relative to nowhere", "/bin/cat", cat);
  // A relative name that is a link, from here and from where a step before leads.
  (void)!symlink(at("tree"), link);
  const char* name = strrchr(link, '/') + 1;
  char below[200];
  snprintf(below, sizeof below, "%s/one", name);
  begin();
  posix_spawn_file_actions_addopen(&actions, 0, below, O_RDONLY, 0);
  (void)!chdir("/tmp");
  spawn("a relative link", "/bin/cat", cat);
  (void)!chdir("/");
  begin();
  posix_spawn_file_actions_addchdir_np(&actions, "/tmp");
  posix_spawn_file_actions_addopen(&actions, 0, below, O_RDONLY, 0);
  spawn("a link below chdir", "/bin/cat", cat);
  unlink(link);
}

// A signal while the child is being made is the default's there, and the handler's here.
static int* handled;
static pid_t parent;
static char pipe_name[100];
static void handle(int number) { handled[getpid() != parent]++; }
static void* signal_all(void* unused) {
  usleep(500000);
  kill(0, SIGUSR1);
  close(open(pipe_name, O_WRONLY));
  return NULL;
}

static void signalled_child(void) {
  char* cat[] = {"cat", NULL};
  pthread_t thread;
  setpgid(0, 0);
  parent = getpid();
  snprintf(pipe_name, sizeof pipe_name, "/tmp/penstock-spawn-%d", (int)parent);
  mkfifo(pipe_name, 0600);
  handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_RESTART}, NULL);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 9, pipe_name, O_RDONLY, 0);
  pthread_create(&thread, NULL, signal_all, NULL);
  spawn("signalled", "/bin/cat", cat);
  pthread_join(thread, NULL);
  unlink(pipe_name);
  printf("handled here %d, there %d\n", handled[0], handled[1]);
}

static void spawn_signalled(void) { IN_CHILD(signalled_child()); }

// Ids are given back in the child while the parent's threads come and go.
static volatile int over;
static void* nothing(void* unused) { return unused; }
static void* make_threads(void* unused) {
  while (!over) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) == 0) pthread_join(thread, NULL);
  }
  return NULL;
}

static void spawn_resets_ids(void) {
  char* run[] = {"true", NULL};
  pthread_t threads[4];
  posix_spawnattr_t attributes;
  int bad = 0;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_RESETIDS);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, at("small"), O_RDONLY, 0);
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, make_threads, NULL);
  for (int i = 0; i < 200; i++) {
    pid_t pid;
    int status = -1;
    if (posix_spawn(&pid, "/bin/true", &actions, &attributes, run, environ) == 0)
      waitpid(pid, &status, 0);
    bad += status != 0;
  }
  over = 1;
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  SHOW(bad);
}

const struct hostile_case spawn_cases[] = {
    {"spawn_actions", spawn_actions}, {"spawn_late", spawn_late},
    {"spawn_signalled", spawn_signalled}, {"spawn_resets_ids", spawn_resets_ids}, {NULL, NULL}};
