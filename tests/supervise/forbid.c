/* Runs a program where supervision is not possible:
 *   forbid no COMMAND...        seccomp(2) gives EPERM, as in a container that forbids it
 *   forbid old COMMAND...       EINVAL, as a kernel without user notification says
 *   forbid taken COMMAND...     another supervisor listens already; it lets every call pass
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long Install(int number, unsigned action, unsigned flags) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void Listen(int listener) {
  for (;;) {
    struct seccomp_notif call;
    struct seccomp_notif_resp answer;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return;
    }
    memset(&answer, 0, sizeof answer);
    answer.id = call.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

int main(int argc, char** argv) {
  if (argc < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 2;
  long result = -1;
  if (strcmp(argv[1], "no") == 0) result = Install(SYS_seccomp, SECCOMP_RET_ERRNO | EPERM, 0);
  if (strcmp(argv[1], "old") == 0) result = Install(SYS_seccomp, SECCOMP_RET_ERRNO | EINVAL, 0);
  if (strcmp(argv[1], "taken") == 0) {
    result = Install(SYS_sysinfo, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (result >= 0 && fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL); /* it has the filter too, so the listener never hangs up */
      for (int fd = 0; fd < 64; fd++)
        if (fd != result) close(fd);
      Listen((int)result);
      _exit(0);
    }
  }
  if (result < 0) {
    perror("forbid");
    return 2;
  }
  execvp(argv[2], argv + 2);
  return 126;
}
