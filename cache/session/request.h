// A client's request, copied out of shared memory once and checked. Nothing that a client wrote is
// used but through this.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "shim/abi/session.h"

namespace penstock::cache {

struct SessionRequest {
  std::uint32_t op = 0;
  std::uint32_t mount = 0;  // index
  std::uint32_t flags = 0;
  pst_key128 id{};
  std::string path;     // relative to the mount; empty where `by_key`
  bool by_key = false;  // the client named the key alone
  std::uint64_t version = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::int64_t deadline_ns = 0;      // absolute; from now to kMaxRequestNs ahead
  bool late = false;                 // it had passed already: not to be started
  std::uint32_t slot = PST_NO_SLOT;  // in range, or PST_NO_SLOT
  std::uint32_t slot_generation = 0;
};

inline constexpr std::int64_t kMaxRequestNs = 24ll * 3600 * 1'000'000'000;
inline constexpr std::size_t kMaxComponentBytes = 255;  // what a dirent can hold
inline constexpr std::uint32_t kMaxLeaseSlots = PST_PATH_MAX / sizeof(std::uint32_t);

enum class RequestVerdict : std::uint8_t {
  kGood,
  kRefused,  // an ordinary mistake: `err` is the answer
  kRubbish,  // no client of this ABI writes that: the session ends
};
struct RequestCheck {
  RequestVerdict verdict = RequestVerdict::kGood;
  int err = 0;
  const char* why = "";  // static
};

// `copy` is private memory; `buffer` may be shared: each of its bytes is read once. `buffer` holds
// PST_PATH_MAX bytes.
RequestCheck CheckRequest(const pst_request& copy, const void* buffer, std::uint32_t mount_count,
                          std::int64_t now_ns, SessionRequest* out);

// 0, EINVAL or ENAMETOOLONG: relative, no empty, "." or ".." component, no NUL, components of at
// most 255 bytes. "" is the mount itself.
int CheckRelativePath(std::string_view path);

}  // namespace penstock::cache
