#include "shim/calls/uring.h"

#include <link.h>
#include <string.h>

#include "shim/calls/launch.h"

namespace penstock {

bool g_open_real;

namespace {

int IsUring(dl_phdr_info* object, size_t, void*) {
  return object->dlpi_name != nullptr && strstr(object->dlpi_name, "/liburing.so") != nullptr ? 1
                                                                                              : 0;
}

}  // namespace

void UringDetect() {
  if (dl_iterate_phdr(IsUring, nullptr) == 0) return;
  UringStart();
}

void UringStart() {
  if (g_open_real || !g_config.active) return;
  __atomic_store_n(&g_open_real, true, __ATOMIC_RELEASE);
  MakeOpenFilesReal(true);
}

}  // namespace penstock
