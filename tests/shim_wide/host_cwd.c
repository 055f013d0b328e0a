// The working directory, and what stands above a mount.
#include "host.h"

void cwd_case(void) {
  char b[4096];
  SHOW(chdir(at("tree")));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(access("one", R_OK));
  SHOW(access("../small", R_OK));
  SHOW(chdir("deep/er"));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  char* allocated = getcwd(NULL, 0);
  printf("%s\n", plain(allocated));
  SHOW(getcwd(b, 3) == NULL);
  SHOW(errno);
  printf("%s\n", plain(get_current_dir_name()));
  ssize_t n = readlink("/proc/self/cwd", b, sizeof b - 1);
  b[n < 0 ? 0 : n] = 0;
  printf("%s\n", plain(b));
  SHOW(chdir(".."));
  SHOW(chdir("missing"));
  SHOW(chdir("one"));
  int dir = open(".", O_RDONLY | O_DIRECTORY), file = openat(dir, "../one", O_RDONLY);
  SHOW(dir >= 0);
  SHOW(file >= 0);
  show_rest("relative", file);
  SHOW(chdir("/"));
  SHOW(fchdir(dir));
  printf("%s\n", plain(getcwd(b, sizeof b)));
  SHOW(fchdir(file));
  fflush(stdout);
  SHOW(system("pwd | sed s,.*/tree,TREE,; cat ../one | wc -c; ls"));
  struct stat st;
  SHOW(fstatat(dir, "er", &st, 0));
  SHOW(S_ISDIR(st.st_mode));
  SHOW(chdir("../.."));
  SHOW(access("small", R_OK));
  SHOW(chdir("../../../../../../.."));
  printf("%s\n", plain(getcwd(b, sizeof b)));
}

static pthread_barrier_t turns_start;

static void* turn(void* folder) {
  int dir = open(folder, O_RDONLY | O_DIRECTORY);
  pthread_barrier_wait(&turns_start);
  for (int i = 0; i < 3000; i++) fchdir(dir);
  close(dir);
  return NULL;
}

/* The working directory is right after threads have changed it at once. */
void turns_case(void) {
  char b[4096], one[4096], two[4096];
  int wrong = 0, lost = 0;
  strcpy(one, at("tree/deep"));
  strcpy(two, at("tree/empty"));
  SHOW(chdir(root));
  pthread_barrier_init(&turns_start, NULL, 2);
  for (int i = 0; i < 60; i++) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, turn, one);
    pthread_create(&threads[1], NULL, turn, two);
    for (int k = 0; k < 200; k++) {
      char* now = getcwd(b, sizeof b);
      if (now == NULL || (strcmp(now, one) && strcmp(now, two) && strcmp(now, root))) wrong++;
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    if (chdir(root) != 0 || strcmp(getcwd(b, sizeof b), root) != 0 || access("small", R_OK) != 0) lost++;
  }
  SHOW(wrong);
  SHOW(lost);
}

/* What stands above a mount is a directory, on disk or not. */
void above_case(void) {
  SHOW(open(at(".."), O_CREAT | O_WRONLY, 0600));
  SHOW(open(at(".."), O_CREAT | O_EXCL | O_WRONLY, 0600));
}

/* One can stand there, find the way down by relative names, and so can a program that is started there. */
void above_cwd_case(void) {
  char folder[4096], here[4096], command[4400];
  strcpy(folder, root);
  char* slash = strrchr(folder, '/');
  *slash = 0;
  const char* name = slash + 1;
  int home = open(".", O_RDONLY | O_DIRECTORY);
  SHOW(chdir(folder));
  SHOW(getcwd(here, sizeof here) != NULL && strcmp(here, folder) == 0);
  snprintf(here, sizeof here, "%s/small", name);
  show_rest("from above", open(here, O_RDONLY));
  SHOW(open("no-such-name", O_RDONLY));
  snprintf(command, sizeof command, "cat %s/small; test \"$(pwd -P)\" = '%s'; echo same $?; cd %s/tree && cat one", name, folder, name);
  fflush(stdout);
  SHOW(system(command));
  SHOW(chdir(name));
  show_rest("from within", open("small", O_RDONLY));
  SHOW(chdir(".."));
  SHOW(getcwd(here, sizeof here) != NULL && strcmp(here, folder) == 0);
  int above = open(".", O_RDONLY | O_DIRECTORY);
  SHOW(above >= 0);
  SHOW(fchdir(home));
  snprintf(here, sizeof here, "%s/small", name);
  show_rest("through the folder above", openat(above, here, O_RDONLY));
  SHOW(fchdir(above));
  show_rest("from above again", open(here, O_RDONLY));
  SHOW(chdir("/"));
}

/* For a mount whose path is on disk: an unnamed file above it is no directory. */
void unnamed_case(void) {
  struct stat st;
  int fd = open(at(".."), O_TMPFILE | O_RDWR, 0600);
  SHOW(fstat(fd, &st));
  SHOW(st.st_mode & 07777);
  SHOW(openat(fd, "local/small", O_RDONLY));
  int dir = open(at(".."), O_RDONLY | O_DIRECTORY);
  show_rest("through the directory", openat(dir, "local/small", O_RDONLY));
}
