// Streams by chance: every way to open one, and whatever can be done with it, in an order that a seed decides.
// Each step prints what it gave, so that the same steps on the plain directory must print the same.
#include "host.h"

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>

static uint64_t state;
static unsigned chance(unsigned below) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)(state >> 33) % below;
}

static unsigned long sum_of(const void* bytes, size_t n) {
  unsigned long sum = 5381;
  for (size_t i = 0; i < n; i++) sum = sum * 33 + ((const unsigned char*)bytes)[i];
  return sum;
}

static unsigned size_of(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (unsigned)st.st_size : 0;
}

static const char* const modes[] = {"r", "rb", "re", "rm", "rc", "rt", "rbe", "rx", "r+", "w", "a+", "q", "", "w+x",
                                    "rme", "rb+", "a"};
static const char* const files[] = {"numbers", "small", "wide", "big", "tree", "missing", "tree/one"};

static bool mapped_mode;  // "m": libc reads the file by a mapping

static FILE* open_one(int* copy) {
  const char* file = files[chance(sizeof files / sizeof *files)];
  const char* mode = modes[chance(3) ? chance(7) : chance(sizeof modes / sizeof *modes)];
  // What would make or change files is for read-only folders alone the same.
  if (mode[0] == 'w' || mode[0] == 'a' || strchr(mode, '+')) mode = chance(2) ? "q" : "rq";
  FILE* stream = NULL;
  *copy = -1;
  mapped_mode = strchr(mode, 'm') != NULL;
  errno = 0;
  switch (chance(6)) {
    case 0: case 1:
      stream = fopen(at(file), mode);
      break;
    case 2:
      stream = fopen64(at(file), mode);
      break;
    case 3: {
      int fd = open(at(file), O_RDONLY);
      if (fd >= 0) *copy = dup(fd);
      if (chance(2) && fd >= 0 && !mapped_mode) lseek(fd, chance(3000) % (size_of(fd) + 1), SEEK_SET);
      errno = 0;
      stream = fd < 0 ? NULL : fdopen(fd, chance(4) ? mode : chance(2) ? "w" : "r+");
      if (stream == NULL) {
        int err = errno;
        if (fd >= 0) close(fd);
        if (*copy >= 0) close(*copy);
        *copy = -1;
        errno = err;
      }
      break;
    }
    case 4:
      stream = freopen(at(file), mode, fopen("/dev/null", "r"));
      break;
    default:
      stream = freopen(at(file), mode, fopen(at("small"), "r"));
  }
  printf("open %s %s: %d %d\n", file, mode, stream != NULL, stream == NULL ? errno : 0);
  return stream;
}

static fpos_t kept;
static FILE* kept_of;

static void step(FILE* f, int copy) {
  static char bytes[70000];
  static char* line;
  static size_t room;
  static char own[9000];
  long got = 0, extra = 0;
  unsigned what = chance(40);
  if ((what >= 31 && what <= 36) || what == 38) what = 24;
  /* glibc's mapped streams lose their way after an ungetc, and put the kernel's offset to the end. */
  if (mapped_mode && (what == 15 || what == 16 || what == 28)) what = 24;
  unsigned n = chance(5) ? chance(300) : chance(sizeof bytes);
  errno = 0;
  switch (what) {
    case 0: case 1: case 2: case 3:
      got = (long)fread(bytes, 1, n, f);
      extra = (long)sum_of(bytes, (size_t)got);
      break;
    case 4:
      got = (long)fread(bytes, 1 + n % 97, 1 + n % 13, f);
      break;
    case 5: got = fgetc(f); break;
    case 6: got = getc(f); break;
    case 7: got = getc_unlocked(f); break;
    case 8: case 9:
      got = fgets(bytes, (int)(2 + n % 200), f) != NULL;
      extra = got ? (long)sum_of(bytes, strlen(bytes)) : 0;
      break;
    case 10: case 11:
      got = getline(&line, &room, f);
      extra = got > 0 ? (long)sum_of(line, (size_t)got) : 0;
      break;
    case 12:
      got = getdelim(&line, &room, '7', f);
      extra = got > 0 ? (long)sum_of(line, (size_t)got) : 0;
      break;
    case 13: { int value = -1; got = fscanf(f, "%d", &value); extra = value; break; }
    case 14: { bytes[0] = 0; got = fscanf(f, "%20s", bytes); extra = (long)sum_of(bytes, got > 0 ? strlen(bytes) : 0); break; }
    /* What is given back differently libc itself counts in several ways. */
    case 15: got = fgetc(f); if (got != EOF) extra = ungetc((int)got, f); break;
    case 16: got = getc(f); if (got != EOF) extra = ungetc((int)got, f); break;
    /* Not beyond the end: from there glibc 2.36 does not find back. */
    case 17: case 18: got = fseek(f, (long)(n % (size_of(fileno(f)) + 1)), SEEK_SET); break;
    case 19: got = fseeko(f, -(off_t)(n % 250), SEEK_CUR); break;
    case 20: got = fseeko64(f, -(off_t)(n % 5000), SEEK_END); break;
    case 21: got = fseek(f, -5, SEEK_SET); break;
    case 22: got = fseek(f, 0, 99); break;
    case 23: case 24: got = ftell(f); break;
    case 25: rewind(f); break;
    case 26: got = fgetpos(f, &kept); kept_of = f; break;
    case 27: if (kept_of == f) got = fsetpos(f, &kept); break;
    case 28: got = fflush(f); extra = lseek(fileno(f), 0, SEEK_CUR); break;
    case 29: got = feof(f) != 0; extra = ferror(f) != 0; if (n % 3 == 0) clearerr(f); break;
    case 30: got = fputc('x', f); extra = ferror(f) != 0; break;
    case 37: got = fileno(f) >= 0; extra = fileno_unlocked(f) == fileno(f); break;
    default: { struct stat st; got = fstat(fileno(f), &st); extra = got == 0 ? (long)st.st_size * S_ISREG(st.st_mode) : -1; }
  }
  printf("  %u %u: %ld %ld %d\n", what, n, got, extra, got < 0 ? errno : 0);
}

static void one(unsigned seed) {
  state = seed * 7919u + 1;
  int copy;
  printf("seed %u\n", seed);
  FILE* f = open_one(&copy);
  kept_of = NULL;
  if (f != NULL && !mapped_mode && chance(4) == 0) {
    static char own[9000];
    const unsigned size = 1 + chance(sizeof own), kind = chance(3);
    printf("  buffer %u %u: %d\n", size, kind,
           setvbuf(f, chance(2) ? own : NULL, kind == 0 ? _IONBF : kind == 1 ? _IOFBF : _IOLBF, size));
  }
  if (f == NULL) return;
  for (unsigned steps = chance(60); steps > 0; steps--) {
    step(f, copy);
    if (chance(60) != 0) continue;
    /* The stream's other lives: another file, the same one anew. */
    errno = 0;
    const char* next = chance(3) ? at(files[chance(7)]) : chance(2) ? "/dev/null" : NULL;
    FILE* again = freopen(next, "r", f);
    printf("  reopened %d %d\n", again != NULL, again == NULL ? errno : 0);
    if (again == NULL) {
      if (copy >= 0) close(copy);
      return;
    }
  }
  bool alone = true;
  if (copy >= 0 && chance(2)) {
    alone = false;
    /* A child's exit and the parent's close leave the offset where the reader was. */
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      (void)!fread(&copy, 1, 3, f);
      exit(0);
    }
    waitpid(pid, NULL, 0);
    if (!mapped_mode) printf("  after a child %ld\n", (long)lseek(copy, 0, SEEK_CUR));
  }
  int number = fileno(f);
  /* How far libc has read ahead of a reader that seeks is its own affair. */
  if (!mapped_mode && copy >= 0) fflush(f);
  errno = 0;
  printf("  close %d\n", fclose(f));
  printf("  closed %d %d\n", fcntl(number, F_GETFD), errno);
  if (copy >= 0) {
    if (!mapped_mode && alone) printf("  left at %ld\n", (long)lseek(copy, 0, SEEK_CUR));
    close(copy);
  }
}

void streams_case(void) {
  setlocale(LC_ALL, "C.UTF-8");
  alarm(25);
  const char* first = getenv("HOST_SEED");
  unsigned begin = first != NULL ? (unsigned)atoi(first) : 1;
  for (unsigned seed = begin; seed < begin + 1500; seed++) one(seed);
  /* Wide characters, which each stream decides for with its first one. */
  wchar_t wide[100];
  for (int way = 0; way < 8; way++) {
    FILE* f = fopen(at(way % 2 ? "wide" : "numbers"), "r");
    if (way == 3) SHOW(fseek(f, 1, SEEK_SET));
    if (way == 4) SHOW(fseek(f, 700, SEEK_SET));
    if (way == 5) SHOW(fgetc(f));
    if (way == 6) f = freopen(at("numbers"), "r", f);
    SHOW(fwide(f, way == 2 ? 1 : way == 1 ? -1 : 0));
    int value = -1;
    switch (way) {
      case 0: SHOW(fgetwc(f)); SHOW(ungetwc(L'w', f)); SHOW(getwc(f)); break;
      case 1: SHOW(getwc_unlocked(f)); break;
      case 2: SHOW(fwscanf(f, L"%d %ls", &value, wide)); SHOW(value); break;
      case 3: SHOW(fgetwc_unlocked(f)); break;
      case 4: SHOW(fgetws(wide, 50, f) == wide); SHOW(wcslen(wide)); SHOW(ftell(f)); break;
      case 5: SHOW(fgetwc(f)); break;
      case 6: SHOW(fgetws_unlocked(wide, 50, f) == wide); SHOW(fputwc(L'x', f)); SHOW(fgetwc(f)); break;
      default: SHOW(fputws(L"no", f)); SHOW(fgetwc(f)); SHOW(fgetwc(f));
    }
    SHOW(fwide(f, 0));
    SHOW(ferror(f) != 0);
    if (fwide(f, 0) <= 0) SHOW(fgetc(f));
    SHOW(fileno(f) >= 0);
    value = fileno(f);
    SHOW(fclose(f));
    SHOW(fcntl(value, F_GETFD));
  }
  /* Many at once: numbers are the lowest free ones, and each has a place of its own. */
  enum { kMany = 300 };
  static FILE* many[kMany];
  char line[64];
  for (int i = 0; i < kMany; i++) {
    many[i] = fopen(at("numbers"), "r");
    if (many[i] == NULL) break;
    fseek(many[i], i * 5, SEEK_SET);
  }
  for (int i = 0; i < kMany && many[i] != NULL; i++)
    printf("%d %s", fileno(many[i]), fgets(line, sizeof line, many[i]) ? line : "none\n");
  for (int i = 0; i < kMany && many[i] != NULL; i++) SHOW(fclose(many[i]));
  /* popen and system of programs that read the file. */
  char command[600];
  snprintf(command, sizeof command, "head -2 '%s'; wc -c <'%s'", at("numbers"), at("small"));
  FILE* pipe_ = popen(command, "r");
  while (fgets(line, sizeof line, pipe_) != NULL) printf("popen: %s", line);
  SHOW(pclose(pipe_));
  fflush(stdout);
  SHOW(system(command));
  /* Left open: flushed and given up at exit. */
  FILE* left = fopen(at("numbers"), "r");
  SHOW(fgetc(left));
}
