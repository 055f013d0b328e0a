// Streams of the C library.
#include "host.h"

void stdio_case(void) {
  char line[256];
  FILE* f = fopen(at("numbers"), "r");
  SHOW(f != NULL);
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(ungetc('x', f));
  SHOW(fgetc(f));
  SHOW(ftell(f));
  SHOW(fseek(f, -4, SEEK_END));
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(fgetc(f));
  SHOW(feof(f) != 0);
  SHOW(fputc('x', f));
  rewind(f);
  int value;
  SHOW(fscanf(f, "%d", &value));
  SHOW(value);
  char* text = NULL;
  size_t room = 0;
  SHOW(getline(&text, &room, f));
  SHOW(getline(&text, &room, f));
  printf("%s", text);
  SHOW(fileno(f) >= 0);
  struct stat st;
  SHOW(fstat(fileno(f), &st));
  SHOW(st.st_size);
  f = freopen(at("small"), "r", f);
  SHOW(f != NULL);
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(freopen("/dev/null", "r", f) != NULL);
  SHOW(fgetc(f));
  SHOW(freopen(at("numbers"), "re", f) != NULL);
  SHOW(fgetc(f));
  SHOW(fcntl(fileno(f), F_GETFD));
  SHOW(fclose(f));
  SHOW(fopen(at("missing"), "r") == NULL);
  SHOW(fopen(at("small"), "q") == NULL);
  int fd = open_or_die(at("numbers"));
  SHOW(lseek(fd, 4, SEEK_SET));
  f = fdopen(fd, "r");
  SHOW(fgets(line, sizeof line, f) != NULL);
  printf("%s", line);
  SHOW(fclose(f));
  SHOW(close(fd));
  f = fopen(at("wide"), "r,ccs=UTF-8");
  SHOW(f != NULL);
  SHOW(f == NULL ? 0 : fgetwc(f));
  /* stdin by freopen and by dup2. */
  SHOW(freopen(at("small"), "r", stdin) == stdin);
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  static char big[1 << 20];
  f = fopen(at("big"), "rb");
  show_bytes("fread", big, fread(big, 1, sizeof big, f));
  fclose(f);
}

void stdin_case(void) {
  /* The program's own stdin, by libc's functions: started with the file on number 0. */
  int fd = open_or_die(at("numbers"));
  pid_t pid = fork();
  if (pid == 0) {
    dup2(fd, 0);
    execl(self, self, "read_stdin", root, mounted ? "mount" : "plain", (char*)NULL);
    _exit(127);
  }
  wait_for(pid);
  SHOW(lseek(fd, 0, SEEK_CUR) > 0);
}

void read_stdin(void) {
  char line[64];
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
  SHOW(scanf("%63s", line));
  printf("%s\n", line);
}
