// Streams of the C library where tests/shim_wide does not go: freopen both ways, wide ones, locked
// ones, shared ones.
#include "tests/hostile/host.h"

#include <locale.h>

static void reopened(void) {
  char line[100];
  static const char* const targets[] = {"numbers", "/etc/passwd", "small",  "/dev/null",
                                        "wide",    "tree",        "missing"};
  for (int i = 0; i < 7; i++) {
    for (int k = 0; k < 7; k++) {
      FILE* f = fopen(targets[i][0] == '/' ? targets[i] : at(targets[i]), "r");
      if (f == NULL) continue;
      int number = fileno(f);
      if (k % 2) (void)!fgets(line, sizeof line, f);
      errno = 0;
      FILE* g = freopen(targets[k][0] == '/' ? targets[k] : at(targets[k]), k % 3 ? "r" : "re", f);
      printf("%s to %s: %d %d ", targets[i], targets[k], g != NULL, g == NULL ? errno : 0);
      if (g == NULL) {
        printf("%d\n", fcntl(number, F_GETFD));
        continue;
      }
      printf("number %d, cloexec %d, %ld, ", fileno(g) == number, fcntl(fileno(g), F_GETFD),
             ftell(g));
      char* got = fgets(line, sizeof line, g);
      printf("%s %d",
             got != NULL && targets[k][0] != '/' ? line
             : got != NULL                       ? "a line\n"
                                                 : "none\n",
             ferror(g));
      g = freopen(NULL, "r", g);
      printf(" again %d\n", g != NULL);
      if (g != NULL) fclose(g);
    }
  }
}

static void wide_streams(void) {
  wchar_t b[100];
  setlocale(LC_ALL, "C.UTF-8");
  static const char* const modes[] = {"r", "r,ccs=UTF-8", "rb,ccs=ISO-8859-1", "r,ccs=nonsense",
                                      "rm"};
  for (int i = 0; i < 5; i++) {
    FILE* f = fopen(at("wide"), modes[i]);
    SHOW(f != NULL);
    if (f == NULL) continue;
    SHOW(fgetwc(f));
    SHOW(ungetwc(0x20ac, f));
    SHOW(fgetwc(f));
    SHOW(ftell(f));
    SHOW(fseek(f, 0, SEEK_SET));
    SHOW(fgetws(b, 100, f) != NULL);
    SHOW(wcslen(b));
    SHOW(fgetwc(f) == WEOF);
    SHOW(fwide(f, 0) > 0);
    SHOW(fgetc(f));
    SHOW(fclose(f));
  }
  FILE* f = fopen(at("numbers"), "r");
  SHOW(fwide(f, 1));
  int a = 0;
  for (int i = 0; i < 20000; i++) a += fgetwc(f) == L'7';
  SHOW(a);
  SHOW(fseek(f, 500, SEEK_SET));
  SHOW(fwscanf(f, L"%d", &a));
  SHOW(a);
  IN_CHILD({
    SHOW(fgetwc(f));
    exit(0);
  });
  SHOW(fgetwc(f));
  SHOW(fclose(f));
}

static void* lines_of(void* f) {
  char line[64];
  long sum = 0;
  while (fgets(line, sizeof line, f) != NULL) sum += atol(line);
  return (void*)sum;
}
static void shared_stream(void) {
  FILE* f = fopen(at("numbers"), "r");
  pthread_t threads[8];
  long sum = 0;
  for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, lines_of, f);
  for (int i = 0; i < 8; i++) {
    void* part;
    pthread_join(threads[i], &part);
    sum += (long)part;
  }
  SHOW(sum);
  flockfile(f);
  rewind(f);
  SHOW(getc_unlocked(f));
  funlockfile(f);
  // The number below is one's own to close and to replace.
  int number = fileno(f);
  // (What libc still has of the file before is its own affair: beyond its buffer.)
  SHOW(dup2(open(at("records"), O_RDONLY), number) == number);
  SHOW(fseek(f, 50000, SEEK_SET));
  SHOW(fgetc(f));
  close(number);
  SHOW(fseek(f, 500000, SEEK_SET));
  SHOW(fgetc(f));
  SHOW(fclose(f));
}

static void buffers(void) {
  static char own[100000];
  char line[100];
  for (int i = 0; i < 6; i++) {
    FILE* f = fopen(at("numbers"), "r");
    int copy = dup(fileno(f));
    SHOW(setvbuf(f, i % 2 ? own : NULL,
                 i / 2 == 0   ? _IOFBF
                 : i / 2 == 1 ? _IOLBF
                              : _IONBF,
                 i < 2   ? 65536
                 : i < 4 ? 100
                         : 0));
    SHOW(fgetc(f));
    SHOW(lseek(copy, 0, SEEK_CUR) >= 1);
    SHOW(fgets(line, sizeof line, f) != NULL);
    SHOW(fflush(f));
    SHOW(lseek(copy, 0, SEEK_CUR));
    SHOW(lseek(copy, 50, SEEK_SET));
    SHOW(ftell(f));
    SHOW(fseek(f, 0, SEEK_CUR));
    SHOW(fgetc(f));
    SHOW(fclose(f));
    SHOW(lseek(copy, 0, SEEK_CUR));
    close(copy);
  }
  FILE* f = fdopen(open(at("small"), O_RDONLY), "w");
  SHOW(f == NULL ? -1 : 0);
  f = fdopen(open(at("tree"), O_RDONLY), "r");
  SHOW(f != NULL);
  SHOW(fgetc(f));
  SHOW(ferror(f) != 0);
  f = fopen(at("tree"), "r");
  SHOW(f != NULL);
  SHOW(fread(own, 1, 10, f));
  f = fopen(at("numbers"), "r");
  SHOW(fclose(f));
  SHOW(fcloseall());
}

// Standard input that an open put there, by a link from outside.
static void input_by_link(void) {
  char link[100];
  snprintf(link, sizeof link, "/tmp/penstock-input-%d", (int)getpid());
  (void)!symlink(at("small"), link);
  close(0);
  SHOW(open(link, O_RDONLY));
  unlink(link);
  SHOW(getchar());
  char line[100];
  SHOW(fgets(line, sizeof line, stdin) != NULL);
  printf("%s", line);
}

const struct hostile_case stream_cases[] = {{"reopened", reopened},
                                            {"input_by_link", input_by_link},
                                            {"wide_streams", wide_streams},
                                            {"shared_stream", shared_stream},
                                            {"buffers", buffers},
                                            {NULL, NULL}};
