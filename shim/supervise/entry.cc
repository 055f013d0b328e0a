// This library as a program: what the loader jumps to when it is told to run it (start.h).

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/kept_env.h"
#include "shim/core/raw.h"
#include "shim/hooks/real.h"
#include "shim/supervise/start.h"

extern "C" char** environ;

namespace penstock {
namespace {

constexpr int kUsage = 2, kCannotRun = 126, kNotFound = 127;

void Say(const char* const (&parts)[4]) {
  char text[1024];
  size_t len = 0;
  for (const char* part : parts)
    for (; *part != '\0' && len < sizeof text - 1; ++part) text[len++] = *part;
  text[len++] = '\n';
  Raw(SYS_write, 2, text, len);
}

int CannotRun(const char* program) {
  int err = errno;
  if (err == ENOENT || err == ENOTDIR) {
    Say({"penstock: ", program, ": command not found", ""});
    return kNotFound;
  }
  Say({"penstock: ", program, ": cannot be run: ", strerror(err)});
  return kCannotRun;
}

// <descriptor or "-"> <path> <argv...>
int Start(char** words) {
  PstSuperviseSelf(false);
  char* const* argv = words + 2;
  long err;
  // Raw, and so not reported: it need not wait for the guard to be up.
  if (*words[0] == '-') {
    err = Raw(SYS_execve, words[1], argv, environ);
  } else {
    int fd = 0;
    for (const char* digit = words[0]; *digit >= '0' && *digit <= '9'; ++digit)
      fd = fd * 10 + (*digit - '0');
    Raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    err = Raw(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
  }
  errno = static_cast<int>(-err);
  return CannotRun(words[1]);
}

// <"strict" or "-"> <file> <arguments...>
int Run(char** words) {
  if (*words[0] == 's') {
    int err = PstSuperviseSelf(true);
    if (err != 0) return kCannotRun;
  }
  execvp(words[1], words + 1);
  return CannotRun(words[1]);
}

// The program's variables of the loader (start.h).
void RestoreVariables() {
  char** to = environ;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (strncmp(*variable, "LD_", 3) == 0) continue;
    if (**variable == kMaskedLetter) **variable = 'L';
    *to++ = *variable;
  }
  *to = nullptr;
}

int Main(int argc, char** argv, char**) {
  RestoreVariables();
  KeepLibraryAs(argv[0]);
  g_own_image = true;
  if (argc > 4 && strcmp(argv[1], kStartOption) == 0) return Start(argv + 2);
  if (argc > 3 && strcmp(argv[1], kRunOption) == 0) return Run(argv + 2);
  Say({"libpenstock.so is preloaded: see penstock run and penstock env", "", "", ""});
  return kUsage;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

// In C from here: `stack` as the kernel left it, `finish` what the loader wants to run at exit.
extern "C" __attribute__((visibility("hidden"), noreturn, used)) void pst_main(long* stack,
                                                                               void (*finish)()) {
  using Begin =
      int (*)(int (*)(int, char**, char**), int, char**, void (*)(), void (*)(), void (*)(), void*);
  auto begin = reinterpret_cast<Begin>(FindNext("__libc_start_main"));
  if (begin != nullptr)
    begin(Main, static_cast<int>(stack[0]), reinterpret_cast<char**>(stack + 1), nullptr, nullptr,
          finish, stack);
  for (;;) Raw(SYS_exit_group, kCannotRun);
}

#if defined(__x86_64__)
__asm__(
    ".text\n.globl pst_entry\n.hidden pst_entry\n.type pst_entry, @function\npst_entry:\n"
    "xor %ebp, %ebp\nmov %rsp, %rdi\nmov %rdx, %rsi\nand $-16, %rsp\ncall pst_main\nhlt\n"
    ".size pst_entry, . - pst_entry\n");
#elif defined(__aarch64__)
__asm__(
    ".text\n.globl pst_entry\n.hidden pst_entry\n.type pst_entry, %function\npst_entry:\n"
    "mov x29, #0\nmov x30, #0\nmov x1, x0\nmov x0, sp\nbl pst_main\nbrk #0\n"
    ".size pst_entry, . - pst_entry\n");
#endif
