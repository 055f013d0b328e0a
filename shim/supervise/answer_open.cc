// open, openat, openat2, creat: a real file or a shadow directory into the program's table.

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/core/raw.h"
#include "shim/core/serve.h"
#include "shim/supervise/answer.h"
#include "shim/supervise/known_files.h"

namespace penstock {
namespace {

// A descriptor of ours for what the program opens, or -errno.
int OpenHere(const Place& place, int flags, mode_t mode) {
  if (place.route.cover == Cover::kError) return -place.route.err;
  if (place.route.cover != Cover::kMount) {
    // What ".." or a folder of ours leads to: the kernel could not walk there from where the
    // program stands.
    int fd = open(place.path, flags | O_CLOEXEC, mode);
    return fd >= 0 ? fd : -errno;
  }
  return PstOpenReal(place.route, flags | O_CLOEXEC);
}

// The program's umask, for a file that is made outside.
mode_t Masked(const Call& call, unsigned mode) {
  int status = PstOpenCallerFile(call, "status", O_RDONLY);
  if (status < 0) return mode & 0777;
  char text[512];
  long n = Raw(SYS_read, status, text, sizeof text - 1);
  Raw(SYS_close, status);
  text[n > 0 ? n : 0] = '\0';
  const char* at = strstr(text, "\nUmask:");
  unsigned mask = 0;
  for (at = at != nullptr ? at + 7 : ""; *at == '\t' || (*at >= '0' && *at <= '7'); ++at)
    if (*at != '\t') mask = mask * 8 + static_cast<unsigned>(*at - '0');
  return mode & ~mask;
}

}  // namespace

Outcome PstAnswerOpen(const Call& call, int dirfd, uint64_t path, int flags, unsigned mode) {
  Place place;
  bool follow = (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  int err = PstLocate(call, dirfd, path, follow, &place);
  if (err != 0) return Value(err);
  if (!place.ours) return kPassOn;
  if ((flags & O_CREAT) != 0 && place.route.cover == Cover::kNone) mode = Masked(call, mode);
  int fd = OpenHere(place, flags, mode);
  if (fd < 0) return Value(fd);
  PstKnow(fd);
  int number = PstGiveFd(call, fd, (flags & O_CLOEXEC) != 0, true);
  close(fd);
  return number >= 0 ? kGivenAlready : Value(number);
}

Outcome PstAnswerOpen2(const Call& call) {
  constexpr uint64_t kStays = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  struct open_how how;
  char first;
  if (call.args[3] < sizeof how || PstReadMemory(call, call.args[2], &how, sizeof how) != 0 ||
      PstReadMemory(call, call.args[1], &first, 1) != 0 ||
      ((how.resolve & kStays) != 0 && first == '/'))
    return kPassOn;
  return PstAnswerOpen(call, static_cast<int>(call.args[0]), call.args[1],
                       static_cast<int>(how.flags), static_cast<unsigned>(how.mode));
}

}  // namespace penstock
