// Directories as streams and as raw entries: a hundred thousand names, odd names, positions.
#include "tests/hostile/host.h"

static unsigned long hash_of(const char* s) {
  unsigned long h = 5381;
  for (; *s; s++) h = h * 33 + (unsigned char)*s;
  return h;
}

static void count_entries(const char* name) {
  DIR* dir = opendir(at(name));
  unsigned long sum = 0;
  long n = 0, wrong_type = 0, wrong_inode = 0, wrong_length = 0;
  struct dirent* e;
  while ((e = readdir(dir)) != NULL) {
    n++;
    sum += hash_of(e->d_name);
    wrong_length += e->d_reclen < (size_t)((char*)e->d_name - (char*)e) + strlen(e->d_name) + 1;
    if (n % 211 != 0 && n > 300) continue;
    struct stat st;
    if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      printf("stat of an entry: %s\n", strerrorname_np(errno));
      continue;
    }
    if (strcmp(e->d_name, "..") != 0) wrong_inode += st.st_ino != e->d_ino;
    wrong_type += e->d_type != IFTODT(st.st_mode);
  }
  printf("%s: %ld entries, names %lx, wrong types %ld, inodes %ld, lengths %ld\n", name, n, sum,
         wrong_type, wrong_inode, wrong_length);
  SHOW(readdir(dir) == NULL);
  SHOW(closedir(dir));
}

static void many(void) {
  count_entries("many");
  count_entries("odd");
  count_entries("tree");
  count_entries("tree/empty");
  count_entries(".");
  struct dirent** list;
  int n = scandir(at("many"), &list, NULL, alphasort);
  SHOW(n);
  printf("%s %s\n", list[2]->d_name, list[n - 1]->d_name);
  n = scandir(at("odd"), &list, NULL, versionsort);
  for (int i = 0; i < n; i++) {
    for (const char* c = list[i]->d_name; *c; c++)
      printf(*c > ' ' && *c < 127 ? "%c" : "\\%02x", (unsigned char)*c);
    printf(" %d\n", list[i]->d_type);
  }
}

// Telling and seeking at random, two streams at once.
static void positions(void) {
  enum { kMost = 100100 };
  static long places[kMost + 1];
  static unsigned long names[kMost];
  unsigned seed = 42;
  long n = 0, wrong = 0;
  DIR *one = opendir(at("many")), *two = opendir(at("many"));
  struct dirent* e;
  for (places[0] = telldir(one); n < kMost && (e = readdir(one)) != NULL;
       places[++n] = telldir(one))
    names[n] = hash_of(e->d_name);
  SHOW(n);
  for (int i = 0; i < 5000; i++) {
    long k = (long)(rand_r(&seed) % (unsigned)n);
    DIR* dir = i % 3 == 0 ? two : one;
    seekdir(dir, places[k]);
    if (rand_r(&seed) % 4 == 0 && telldir(dir) != places[k]) wrong++;
    for (long j = k; j < n && j < k + rand_r(&seed) % 5; j++) {
      e = readdir(dir);
      if (e == NULL || hash_of(e->d_name) != names[j] || telldir(dir) != places[j + 1]) wrong++;
    }
    if (i % 500 == 0) {
      rewinddir(two);
      e = readdir(two);
      if (e == NULL || hash_of(e->d_name) != names[0]) wrong++;
    }
  }
  SHOW(wrong);
  seekdir(one, places[n]);
  SHOW(readdir(one) == NULL);
  SHOW(readdir(one) == NULL);
  rewinddir(one);
  struct dirent entry, *got;
  SHOW(readdir_r(one, &entry, &got) == 0 && got == &entry && hash_of(entry.d_name) == names[0]);
  // The number below a stream: rewinding it by lseek, and by a stream of its own.
  SHOW(lseek(dirfd(two), 0, SEEK_SET));
  SHOW(closedir(two));
  int fd = open(at("many"), O_RDONLY | O_DIRECTORY);
  two = fdopendir(fd);
  for (int i = 0; i < 1000; i++) readdir(two);
  int copy = dup(fd);
  SHOW(closedir(two));
  SHOW(lseek(copy, 0, SEEK_SET));
  two = fdopendir(copy);
  SHOW((e = readdir(two)) != NULL && hash_of(e->d_name) == names[0]);
  SHOW(closedir(two));
  SHOW(closedir(one));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(fcntl(copy, F_GETFD));
}

struct raw_entry {
  unsigned long long d_ino;
  long long d_off;
  unsigned short d_reclen;
  unsigned char d_type;
  char d_name[];
};

static long raw_all(int fd, size_t room, unsigned long* sum) {
  static char buffer[1 << 20];
  long n, total = 0;
  while ((n = syscall(SYS_getdents64, fd, buffer, room)) > 0) {
    for (long i = 0; i < n; total++) {
      struct raw_entry* e = (struct raw_entry*)(buffer + i);
      *sum += hash_of(e->d_name);
      i += e->d_reclen;
    }
  }
  return n < 0 ? -errno : total;
}

// getdents64 itself, with room for one entry, for some, for all; positions shared by dup and fork.
static void raw_entries(void) {
  static const size_t rooms[] = {1, 23, 24, 31, 32, 40, 64, 280, 1000, 4096, 32768, 1 << 20};
  int fd = open(at("tree"), O_RDONLY | O_DIRECTORY), other = dup(fd);
  char buffer[8192];
  for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
    unsigned long sum = 0;
    SHOW(lseek(fd, 0, SEEK_SET));
    long total = raw_all(fd, rooms[i], &sum);
    // Where the room is too small it depends on the order of names how far one comes.
    printf("room %zu: %ld entries %lx\n", rooms[i], total, total < 0 ? 0 : sum);
  }
  fd = open(at("many"), O_RDONLY | O_DIRECTORY), other = dup(fd);
  unsigned long sum = 0;
  long first = 0, n = 0;
  for (int turn = 0; turn < 40; turn++) {
    n = syscall(SYS_getdents64, turn % 2 ? fd : other, buffer, sizeof buffer);
    for (long i = 0; i < n; first++)
      sum += hash_of(((struct raw_entry*)(buffer + i))->d_name),
          i += ((struct raw_entry*)(buffer + i))->d_reclen;
  }
  fflush(stdout);
  int ends[2];
  (void)!pipe(ends);
  pid_t pid = fork();
  if (pid == 0) {
    unsigned long part = 0;
    long k = 0;
    for (int turn = 0; turn < 40; turn++) {
      n = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
      for (long i = 0; i < n; k++)
        part += hash_of(((struct raw_entry*)(buffer + i))->d_name),
            i += ((struct raw_entry*)(buffer + i))->d_reclen;
    }
    long both[2] = {k, (long)part};
    _exit(write(ends[1], both, sizeof both) == sizeof both ? 0 : 1);
  }
  wait_for(pid);
  long both[2];
  SHOW(read(ends[0], both, sizeof both));
  sum += (unsigned long)both[1];
  n = raw_all(other, sizeof buffer, &sum);
  printf("shared position: %ld entries %lx\n", first + both[0] + n, sum);
  SHOW(lseek(fd, 0, SEEK_CUR) != 0);
  SHOW(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
  SHOW(lseek(fd, 0, SEEK_SET));
  n = syscall(SYS_getdents64, fd, buffer, 300);
  struct raw_entry* e = (struct raw_entry*)buffer;
  long long place = e->d_off;
  char second[256];
  strcpy(second, ((struct raw_entry*)(buffer + e->d_reclen))->d_name);
  SHOW(lseek(fd, place, SEEK_SET) == place);
  n = syscall(SYS_getdents64, fd, buffer, 300);
  SHOW(strcmp(e->d_name, second));
  SHOW(syscall(SYS_getdents64, open(at("small"), O_RDONLY), buffer, sizeof buffer));
  SHOW(syscall(SYS_getdents64, -1, buffer, sizeof buffer));
  SHOW(syscall(SYS_getdents64, open(at("tree"), O_PATH), buffer, sizeof buffer));
  SHOW(read(fd, buffer, 10));
  SHOW(pread(fd, buffer, 10, 0));
  SHOW(lseek(fd, -1, SEEK_SET));
  SHOW(lseek(fd, 0, 77));
  SHOW(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
}

// A stream of a number that has a position of its own, and numbers that go on after the stream.
static void stream_numbers(void) {
  struct dirent* e;
  int fd = open(at("tree"), O_RDONLY | O_DIRECTORY);
  DIR* dir = fdopendir(fd);
  SHOW(dirfd(dir) == fd);
  int n = 0;
  while ((e = readdir(dir)) != NULL) n++;
  SHOW(n);
  rewinddir(dir);
  SHOW(readdir(dir) != NULL);
  struct stat st;
  SHOW(fstat(fd, &st));
  SHOW(faccessat(fd, "one", R_OK, 0));
  SHOW(fcntl(fd, F_GETFD));
  SHOW(closedir(dir));
  SHOW(fstat(fd, &st));
  SHOW(fdopendir(fd) == NULL ? -1 : 0);
  SHOW(fdopendir(open(at("small"), O_RDONLY)) == NULL ? -1 : 0);
  SHOW(fdopendir(open(at("tree"), O_PATH)) == NULL ? -1 : 0);
  SHOW(closedir(NULL) == -1 && errno == EINVAL);
  SHOW(dirfd(opendir(at("tree"))) >= 0);
  // A child that reads on where its parent was, with the stream it inherited.
  dir = opendir(at("tree"));
  readdir(dir);
  IN_CHILD({
    for (n = 0; readdir(dir) != NULL;) n++;
    SHOW(n);
    SHOW(closedir(dir));
  });
  for (n = 0; readdir(dir) != NULL;) n++;
  SHOW(n);
  closedir(dir);
  // Two hundred streams at once, and their numbers.
  DIR* streams[200];
  for (int i = 0; i < 200; i++) streams[i] = opendir(at(i % 2 ? "tree" : "odd"));
  for (n = 0; n < 200; n++)
    if (streams[n] == NULL || dirfd(streams[n]) < 0) break;
  SHOW(n);
  for (int i = 0; i < 200; i++) closedir(streams[i]);
  SHOW(open(at("small"), O_RDONLY));
}

// Names of odd bytes, by every way to them.
static void odd_names(void) {
  static const char* const names[] = {"new\nline", "\xff\xfe",  "trailing  ", "..foo", "...",
                                      ".hidden",   " ",         "a\\b",       "*",     "?[x]",
                                      "%41",       "tab\there", "\xc3\xa4",   "-rf",   "~",
                                      "#hash",     "a:b",       "\"q\"",      "'"};
  char name[300], long_name[300];
  memset(long_name, 'L', 255), long_name[255] = 0;
  int dir = open(at("odd"), O_RDONLY | O_DIRECTORY);
  for (size_t i = 0; i <= sizeof names / sizeof *names; i++) {
    const char* one = i < sizeof names / sizeof *names ? names[i] : long_name;
    struct stat st;
    char line[64] = "";
    snprintf(name, sizeof name, "odd/%s", one);
    int fd = open(at(name), O_RDONLY), other = openat(dir, one, O_RDONLY);
    printf("%zu: %d %d %zd ", i, fd >= 0, other >= 0, read(fd, line, 60));
    const int both[2] = {stat(at(name), &st), fstatat(dir, one, &st, 0)};
    printf("%d %d %ld %s\n", both[0], both[1], (long)st.st_size, line);
    FILE* f = fopen(at(name), "r");
    printf("  %d\n", f != NULL && fgetc(f) == line[0]);
    if (f) fclose(f);
    char link[64], b[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, b, sizeof b - 1);
    b[n < 0 ? 0 : n] = 0;
    printf("  %d %d\n", strcmp(plain(b) + 5, name) == 0,
           realpath(at(name), b) != NULL && strcmp(plain(b) + 5, name) == 0);
    close(fd), close(other);
  }
  SHOW(openat(dir, "\xff", O_RDONLY));
  SHOW(openat(dir, "trailing ", O_RDONLY));
  SHOW(openat(dir, "newline", O_RDONLY));
  SHOW(openat(dir, "A", O_RDONLY));
}

const struct hostile_case directory_cases[] = {{"many", many},
                                               {"positions", positions},
                                               {"raw_entries", raw_entries},
                                               {"stream_numbers", stream_numbers},
                                               {"odd_names", odd_names},
                                               {NULL, NULL}};
