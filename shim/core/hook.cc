#include "shim/core/hook.h"

#include <errno.h>

namespace penstock {

int PstFail(int err) {
  errno = err;
  return -1;
}

}  // namespace penstock
