#include "shim/supervise/start.h"

#include <errno.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/calls/kept_env.h"
#include "shim/core/config.h"
#include "shim/core/decimal.h"
#include "shim/core/raw.h"
#include "shim/hooks/real.h"
#include "shim/supervise/channel.h"
#include "shim/supervise/filter.h"
#include "shim/supervise/guard.h"
#include "shim/supervise/probe.h"
#include "shim/supervise/yama.h"

namespace penstock {

bool g_own_image;

namespace {

bool Masked(const char* variable) { return strncmp(variable, "LD_", 3) == 0; }

int FindLoader(dl_phdr_info* program, size_t, void* out) {
  for (int i = 0; i < program->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = program->dlpi_phdr[i];
    if (segment.p_type == PT_INTERP)
      *static_cast<const char**>(out) =
          reinterpret_cast<const char*>(program->dlpi_addr + segment.p_vaddr);
  }
  return 1;  // the first object is the program
}

// Before glibc 2.34 threads are a library of their own, which this one does not need; the guard
// does.
constexpr char kThreads[] = "LD_PRELOAD=libpthread.so.0";

bool ThreadsApart() {
  auto* version = reinterpret_cast<const char* (*)()>(FindNext("gnu_get_libc_version"));
  const char* minor = version != nullptr ? strchr(version(), '.') : nullptr;
  int number = 0;
  for (const char* at = minor; minor != nullptr && *++at >= '0' && *at <= '9';)
    number = number * 10 + (*at - '0');
  return minor != nullptr && number < 34;
}

// Says why programs are not supervised here, and that they run all the same.
void SayImpossible(int err) {
  const char* why = "";
  switch (err) {
    case EBUSY:
      why = "another supervisor listens to this process's system calls";
      break;
    case EPERM:
    case EACCES:
      why = "seccomp(2) is forbidden here";
      break;
    case EINVAL:
    case ENOSYS:
      why = "the kernel has no seccomp user notification (it needs Linux 5.9)";
      break;
    default:
      why = strerror(err);
      break;
  }
  char text[256];
  char* at = stpcpy(text, "penstock: static and Go programs cannot be supervised: ");
  at = stpcpy(at, why);
  at = stpcpy(at, "; covered paths are not served to them\n");
  Raw(SYS_write, 2, text, at - text);
}

}  // namespace

bool PstMustSupervise() {
  if (!g_config.active || g_supervised != Supervised::kNo) return false;
  if (!g_own_image) return true;
  PstSuperviseSelf(false);
  return false;
}

StartNeed PstStartNeed(char* const* argv, char* const* envp) {
  StartNeed need = {6, 2, 16};
  for (char* const* word = argv; word != nullptr && *word != nullptr; ++word) ++need.words;
  for (char* const* variable = envp; variable != nullptr && *variable != nullptr; ++variable) {
    ++need.env;
    if (Masked(*variable)) need.bytes += strlen(*variable) + 1;
  }
  return need;
}

const char* PstStartCommand(int fd, const char* path, char* const* argv, char* const* envp,
                            const char** words, const char** env, char* text) {
  const char* loader = nullptr;
  dl_iterate_phdr(FindLoader, &loader);
  // After chroot, or where the library was named relative to another folder, they may not be there.
  if (loader == nullptr || access(loader, X_OK) != 0 || access(KeptLibrary(), R_OK) != 0)
    return nullptr;
  const char* file = "-";
  if (fd >= 0) {
    file = text;
    text = PutDecimal(static_cast<uint64_t>(fd), text);
    *text++ = '\0';
  }
  size_t at = 0;
  words[at++] = argv != nullptr && argv[0] != nullptr ? argv[0] : path;
  words[at++] = KeptLibrary();
  words[at++] = kStartOption;
  words[at++] = file;
  words[at++] = path;
  for (char* const* word = argv; word != nullptr && *word != nullptr; ++word) words[at++] = *word;
  words[at] = nullptr;
  size_t count = 0;
  for (char* const* variable = envp; variable != nullptr && *variable != nullptr; ++variable) {
    env[count] = *variable;
    if (Masked(*variable)) {
      size_t len = strlen(*variable) + 1;
      memcpy(text, *variable, len);
      *text = kMaskedLetter;
      env[count] = text;
      text += len;
    }
    ++count;
  }
  if (ThreadsApart()) env[count++] = kThreads;
  env[count] = nullptr;
  return loader;
}

int PstSuperviseSelf(bool strict) {
  int ours, guards;
  int err = PstOpenChannel(&ours, &guards);
  if (err == 0) {
    // A child without an exit signal: the program's wait() does not find it.
    long guard = Raw(SYS_clone, 0, 0, 0, 0, 0);
    if (guard == 0) {
      Raw(SYS_close, ours);
      PstGuard(guards, strict);
    }
    Raw(SYS_close, guards);
    err = static_cast<int>(guard < 0 ? guard : 0);
    if (err == 0) {
#ifdef PR_SET_PTRACER
      Raw(SYS_prctl, PR_SET_PTRACER, guard, 0, 0, 0);  // Yama; EINVAL without it
#endif
      int listener = PstInstallFilter(PstYamaRestricts());
      err = listener < 0 ? listener : PstSendListener(ours, listener);
      if (listener >= 0) Raw(SYS_close, listener);
    }
    Raw(SYS_close, ours);  // without a listener the guard ends by this
    if (err != 0 && guard > 0) Raw(SYS_wait4, guard, nullptr, __WCLONE, nullptr);
  }
  if (err != 0) SayImpossible(-err);
  g_supervised = strict ? Supervised::kStrict : Supervised::kYes;
  return -err;
}

}  // namespace penstock
