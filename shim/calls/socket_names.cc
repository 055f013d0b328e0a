// Names of unix sockets. A mount holds files and folders only: none can be made in it, and none
// answers.

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shim/calls/support.h"
#include "shim/core/serve.h"

namespace penstock {
namespace {

// Is the address a name in a mount? Then *err is what becomes of it.
bool Covered(const struct sockaddr* address, socklen_t bytes, bool makes, int* err) {
  constexpr socklen_t kStart = offsetof(struct sockaddr_un, sun_path);
  if (PST_LIKELY(!g_config.active) || address == nullptr || bytes <= kStart ||
      bytes > sizeof(struct sockaddr_un) || address->sa_family != AF_UNIX) {
    return false;
  }
  char name[sizeof(struct sockaddr_un) + 1];
  const socklen_t room = bytes - kStart;
  memcpy(name, reinterpret_cast<const char*>(address) + kStart, room);
  name[room] = 0;
  PathBuffer buffer;
  Route route;
  const Cover cover = RouteOf(AT_FDCWD, name, &buffer, &route);
  if (PST_LIKELY(cover != Cover::kMount && cover != Cover::kError)) return false;
  if (makes) {  // as for a file
    bool handled;
    const int made =
        PstOpenAt(AT_FDCWD, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600, &handled);
    *err = made == -EEXIST ? EADDRINUSE : -made;
  } else {
    pst_attr attr;
    *err = cover == Cover::kError ? route.err : PstLookup(route, &attr);
    if (*err == 0) *err = ECONNREFUSED;
  }
  return true;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int bind(int fd, const struct sockaddr* address, socklen_t bytes) {
  int err;
  return PST_UNLIKELY(Covered(address, bytes, true, &err)) ? PstFail(err)
                                                           : real.bind(fd, address, bytes);
}

PST_EXPORT int connect(int fd, const struct sockaddr* address, socklen_t bytes) {
  int err;
  return PST_UNLIKELY(Covered(address, bytes, false, &err)) ? PstFail(err)
                                                            : real.connect(fd, address, bytes);
}
