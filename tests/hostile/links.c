// Numbers by their links, roots of one's own, standard input in all its lives.
#include "tests/hostile/host.h"

static void number_links(void) {
  static const char* const forms[] = {"/dev/fd/%d", "/proc/self/fd/%d", "/proc/thread-self/fd/%d"};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    char path[100], b[4096];
    struct stat st;
    int fd = open_or_die(at("numbers"));
    lseek(fd, 100, SEEK_SET);
    snprintf(path, sizeof path, forms[i], fd);
    int other = open(path, O_RDONLY);
    SHOW(read(other, b, 6));
    printf("%.6s", b);
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(open(path, O_RDONLY | O_NOFOLLOW));
    SHOW(open(path, O_RDWR));
    SHOW(open(path, O_RDONLY | O_DIRECTORY));
    SHOW(stat(path, &st));
    SHOW(st.st_size);
    SHOW(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
    SHOW(access(path, R_OK));
    SHOW(access(path, W_OK));
    SHOW(faccessat(AT_FDCWD, path, R_OK, AT_SYMLINK_NOFOLLOW));
    FILE* f = fopen(path, "r");
    SHOW(f != NULL ? fgetc(f) : -9);
    int dir = open(at("tree"), O_RDONLY | O_DIRECTORY);
    snprintf(path, sizeof path, forms[i], dir);
    DIR* d = opendir(path);
    SHOW(d != NULL);
    int n = 0;
    while (d != NULL && readdir(d) != NULL) n++;
    SHOW(n);
    strcat(path, "/one");
    SHOW(open(path, O_RDONLY) >= 0);
    SHOW(stat(path, &st));
    SHOW(open(path, O_WRONLY));
    printf("%s\n", plain(realpath(path, b)));
    strcat(path, "/x");
    SHOW(stat(path, &st));
    closefrom(3);
    snprintf(path, sizeof path, forms[i], 50);
    SHOW(open(path, O_RDONLY));
    SHOW(stat(path, &st));
    dup2(open("/dev/null", O_RDONLY), 50);
    SHOW(open(path, O_RDONLY) >= 0);
    closefrom(3);
  }
}

static void rooted(void) {
  char b[32] = "", folder[] = "/tmp/penstock-root-XXXXXX";
  int fd = open_or_die(at("numbers")), dir = open(at("tree"), O_RDONLY | O_DIRECTORY),
      big = open_or_die(at("cold/j"));
  (void)!mkdtemp(folder);
  if (geteuid() != 0 || chroot(folder) != 0) {
    printf("no root\n");
    rmdir(folder);
    return;
  }
  SHOW(read(fd, b, 10));
  int copy = dup(fd);
  SHOW(read(copy, b, 10));
  static char bytes[80000];
  show_bytes("cold", bytes, read(big, bytes, sizeof bytes));
  struct stat st;
  SHOW(fstat(fd, &st));
  SHOW(st.st_size);
  IN_CHILD(SHOW(read(fd, b, 10)));
  SHOW(lseek(fd, 0, SEEK_CUR));
  SHOW(open("/etc/passwd", O_RDONLY));
  SHOW(stat("/data", &st));
  void* map = mmap(NULL, 100, PROT_READ, MAP_SHARED, fd, 0);
  show_bytes("map", map, 100);
  (void)dir;
}

// stdin swapped, closed, taken again, duplicated onto, reopened both ways.
static void standard_input(void) {
  char line[64];
  int fd = open_or_die(at("numbers"));
  SHOW(dup2(fd, 0));
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  SHOW(ftell(stdin));
  SHOW(fflush(stdin));
  SHOW(lseek(fd, 0, SEEK_CUR));
  fclose(stdin);
  SHOW(fcntl(0, F_GETFD));
  SHOW(open(at("small"), O_RDONLY));
  SHOW(read(0, line, 5));
  IN_CHILD({
    close(0);
    SHOW(open(at("numbers"), O_RDONLY));
    SHOW(system("head -n 1; head -c 3 /dev/stdin"));
  });
  SHOW(lseek(0, 0, SEEK_CUR));
}
static void standard_input_again(void) {
  char line[64];
  close(0);
  SHOW(open(at("numbers"), O_RDONLY));
  SHOW(getchar());
  SHOW(scanf("%63s", line));
  SHOW(freopen(at("small"), "r", stdin) == stdin);
  SHOW(fileno(stdin));
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  SHOW(freopen("/etc/passwd", "r", stdin) == stdin);
  SHOW(getchar() > 0);
  SHOW(freopen(at("wide"), "r", stdin) == stdin);
  SHOW(getchar());
  SHOW(freopen("/dev/null", "r", stdin) == stdin);
  SHOW(getchar());
  int fd = open_or_die(at("numbers"));
  SHOW(dup2(fd, fileno(stdin)) == fileno(stdin));
  clearerr(stdin);
  SHOW(getchar());
  SHOW(ungetc('u', stdin));
  SHOW(getchar());
  SHOW(fseek(stdin, 20, SEEK_SET));
  SHOW(getchar());
  IN_CHILD({
    SHOW(getchar());
    exit(0);
  });
  SHOW(freopen(at("missing"), "r", stdin) == NULL ? -1 : 0);
  // Output cannot go there; where it was it goes on.
  FILE* out = fopen("/dev/null", "w");
  SHOW(freopen(at("small"), "w", out) == NULL ? -1 : 0);
  out = fopen("/dev/null", "w");
  SHOW(freopen(at("small"), "r", out) == out);
  SHOW(fgetc(out));
  SHOW(fputc('x', out));
}

static void dev_stdin(void) {
  static const char* const commands[] = {
      "head -n 2 /dev/stdin <\"$F\"",
      "cat - <\"$F\" | head -n 1",
      "{ head -c 3 >/dev/null; head -n 1 /dev/stdin; } <\"$F\"",
      "cat /dev/fd/3 3<\"$F\" | tail -n 1",
      "diff /dev/fd/3 /dev/fd/4 3<\"$F\" 4<\"$F\" && echo same",
      "wc -c </proc/self/fd/0 <\"$F\"",
      "test -f /dev/stdin <\"$F\" && echo file",
      "[ /dev/stdin -ef \"$F\" ] <\"$F\" && echo the same file",
      "stat -L -c '%F %s' /dev/stdin <\"$F\"",
      "stat -L -c '%F %s' - <\"$F\"",
      "tail -c 6 <\"$F\"",
      "tac /dev/stdin <\"$F\" | head -n 1",
      "cmp - \"$F\" <\"$F\" && echo equal",
      "sort -rn /dev/stdin <\"$F\" | head -n 1",
      "exec 3<\"$F\"; exec 3<&-; cat <&3",
      "exec 3<\"$F\"; read a <&3; read b <&3; echo $a $b; exec 4<&3; read c <&4; read d <&3; echo "
      "$c $d",
      "exec <\"$F\"; read a; read b; echo $a $b; exec <\"$D/small\"; read a; echo $a",
      "cat <<X 3<\"$F\"\n$(head -n 1 <&3)\nX",
      "dd bs=4 skip=2 count=1 <\"$F\" 2>/dev/null; echo",
      "ls /proc/self/fd/0 -lL <\"$F\" | cut -c1",
      "(exec 9<\"$D/tree\"; cat /dev/fd/9/one; ls /proc/self/fd/9/)",
      "cd \"$D\" && cat ./small ../*/small >/dev/null && echo *all",
      "echo x >\"$D/new\" || echo refused",
      "echo x >>\"$F\" || echo refused",
      ": >\"$D/tree\" || echo refused",
      "exec 5<>\"$F\" || echo refused"};
  setenv("F", at("numbers"), 1);
  setenv("D", root, 1);
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    for (int shell = 0; shell < 2; shell++) {
      fflush(stdout);
      pid_t pid = fork();
      if (pid == 0) {
        dup2(1, 2);
        execl(shell ? "/bin/bash" : "/bin/dash", "sh", "-c", commands[i], (char*)NULL);
        _exit(127);
      }
      printf("%s\n", commands[i]);
      wait_for(pid);
    }
  }
}

const struct hostile_case link_cases[] = {
    {"number_links", number_links},     {"rooted", rooted},
    {"standard_input", standard_input}, {"standard_input_again", standard_input_again},
    {"dev_stdin", dev_stdin},           {NULL, NULL}};
