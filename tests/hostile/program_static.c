/* A static program of the hostile cases: no library can be loaded into it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int receive(int channel) {
  int got[2] = {-1, -1};
  char control[CMSG_SPACE(2 * sizeof(int))], b[32] = "";
  struct iovec io = {b, 1};
  struct msghdr m = {
      .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(channel, &m, 0) != 1) return 2;
  memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
  long n = read(got[0], b, 12);
  if (n > 0) (void)!write(channel, b, (size_t)n);
  return n == 12 ? 0 : 3;
}

int main(int argc, char** argv) {
  char b[16];
  if (argc > 2 && strcmp(argv[1], "receive") == 0) return receive(atoi(argv[2]));
  if (argc > 2 && strcmp(argv[1], "exec7") == 0) {
    if (strcmp(argv[2], "/usr/bin/head") == 0) dup2(7, 0);
    execv(argv[2], argv + 2);
    return 127;
  }
  if (argc > 1 && strcmp(argv[1], "cat7") == 0) {
    long n = read(7, b, 10);
    printf("static: %ld %.*s\n", n, (int)n, b);
  } else if (argc > 1 && strcmp(argv[1], "line") == 0) {
    char c;
    printf("static: ");
    while (read(0, &c, 1) == 1 && c != '\n') putchar(c);
    putchar('\n');
  } else if (argc > 1 && strcmp(argv[1], "records") == 0) {
    while (read(0, b, 16) == 16) (void)!write(1, b, 16);
  } else {
    printf("static program %d\n", argc);
  }
  return 0;
}
