// First messages from anywhere: the first byte says how many descriptors came, the rest is the
// message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "cache/session/handshake.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace penstock::cache;
  if (size == 0) return 0;
  const std::size_t fds = data[0] % (kMaxHelloFds + 1);
  Hello hello;
  const int err = CheckHello(std::as_bytes(std::span(data, size)).subspan(1), fds, &hello);
  if (err < 0 || err > 4095) std::abort();
  if (err != 0) return 0;
  if (hello.role != PST_ROLE_CLIENT && hello.role != PST_ROLE_ADMIN) std::abort();
  for (const int index : {hello.pidfd_index, hello.open_files_index})
    if (index >= static_cast<int>(fds)) std::abort();
  if (hello.pidfd_index >= 0 && hello.pidfd_index == hello.open_files_index) std::abort();
  return 0;
}
