/* Built with musl-gcc: the same library serves another libc.
 *   musl_host FILE DIRECTORY */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char** argv) {
  char bytes[100] = "";
  struct stat st;
  int entries = 0;
  if (argc < 3) return 2;
  int fd = open(argv[1], O_RDONLY);
  printf("read %d\n", (int)read(fd, bytes, 50));
  printf("seek %d\n", (int)lseek(fd, 0, SEEK_CUR));
  FILE* stream = fopen(argv[1], "r");
  printf("line %s", stream != NULL && fgets(bytes, sizeof bytes, stream) != NULL ? bytes : "none\n");
  printf("stat %d, ", stat(argv[1], &st));
  printf("size %ld\n", (long)st.st_size);
  char* map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  printf("mapped %d\n", map == MAP_FAILED ? -1 : map[0]);
  DIR* dir = opendir(argv[2]);
  while (dir != NULL && readdir(dir) != NULL) entries++;
  printf("entries %d\n", entries);
  printf("missing %d\n", open(argv[1], O_RDWR | O_EXCL | O_CREAT, 0600));
  return 0;
}
