// Calls after which the program is somebody else: files of a mount without an owner of its own are shown as
// the program's.

#include <sched.h>
#include <unistd.h>

#include "shim/calls/support.h"
#include "shim/calls/uring.h"

namespace penstock {
namespace {

int Forget(int result) {
  PstForgetIds();
  return result;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int setuid(uid_t user) { return Forget(real.setuid(user)); }
PST_EXPORT int setgid(gid_t group) { return Forget(real.setgid(group)); }
PST_EXPORT int seteuid(uid_t user) { return Forget(real.seteuid(user)); }
PST_EXPORT int setegid(gid_t group) { return Forget(real.setegid(group)); }
PST_EXPORT int setreuid(uid_t user, uid_t effective) { return Forget(real.setreuid(user, effective)); }
PST_EXPORT int setregid(gid_t group, gid_t effective) { return Forget(real.setregid(group, effective)); }

PST_EXPORT int setresuid(uid_t user, uid_t effective, uid_t saved) {
  return Forget(real.setresuid(user, effective, saved));
}

PST_EXPORT int setresgid(gid_t group, gid_t effective, gid_t saved) {
  return Forget(real.setresgid(group, effective, saved));
}

// Another user name space has other numbers. A thread with a table of its own for its descriptors.
PST_EXPORT int unshare(int flags) {
  if ((flags & CLONE_FILES) != 0 && MayHaveThreads()) OpenRealFromNow();
  return Forget(real.unshare(flags));
}
PST_EXPORT int setns(int fd, int kind) { return Forget(real.setns(fd, kind)); }
