// A program that puts itself into a sandbox (seccomp) may not be able to reach the sidecar from there: what it has
// open becomes real before, so that the kernel serves it whatever the filter forbids. Names that it opens later need
// the session, and fail at once with EIO where the filter forbids that.

#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "shim/calls/launch.h"
#include "shim/calls/sandbox.h"
#include "shim/calls/support.h"

namespace penstock {

void PstBeforeSandbox() {
  if (g_config.active) MakeOpenFilesReal(true);
}

}  // namespace penstock

using namespace penstock;

PST_EXPORT int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  const unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
  const unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
  va_end(list);
  const bool filter = a == SECCOMP_MODE_STRICT || (a == SECCOMP_MODE_FILTER && b != 0);
  if (PST_UNLIKELY(option == PR_SET_SECCOMP) && filter) PstBeforeSandbox();
  return real.prctl(option, a, b, c, d);
}
