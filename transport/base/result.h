// Errors as values.
//
// Every fallible function of Penstock outside the shim returns Result<T>. Error is trivially
// copyable, so it crosses threads and shared memory without ownership questions. `context` points
// to a string with static storage duration: it says what was being done, never what was in the data
// (no names, no credentials), so it may go into any log.
//
// Thread safety: values; no shared state.
#pragma once

#include <cstdint>
#include <expected>
#include <type_traits>

namespace penstock {

// What went wrong, in terms a caller can act on. ErrnoOf() maps each to what a program sees.
enum class Code : std::uint8_t {
  kOk = 0,
  kNotFound,        // ENOENT
  kNotDirectory,    // ENOTDIR
  kIsDirectory,     // EISDIR
  kPermission,      // EACCES: the origin refused our credentials (401, 403)
  kReadOnly,        // EROFS
  kNameTooLong,     // ENAMETOOLONG
  kInvalid,         // EINVAL: a bad argument, configuration or name
  kVersionChanged,  // ESTALE: the object is no longer the version that was opened (412)
  kTruncated,       // EIO: a body was shorter or longer than promised; never cached
  kCorrupt,         // EIO: a checksum or a structure did not hold
  kUnavailable,     // EIO: unreachable, refused, 5xx after all tries
  kThrottled,       // EIO: 429 or 503 after all tries
  kDeadline,        // EIO: the deadline passed
  kCancelled,       // EINTR: nobody wants the result any more
  kNoSpace,         // ENOSPC
  kLimit,           // EIO: a limit of ours was reached (requests in flight, memory)
  kIo,              // EIO, or errno_value when it is set
  kInternal,        // EIO: a bug of ours
};

struct Error {
  Code code = Code::kInternal;
  bool retryable = false;        // trying again later can help
  std::int32_t errno_value = 0;  // the errno of the call that failed, 0 if none
  const char* context = "";      // static storage
};
static_assert(std::is_trivially_copyable_v<Error>);

template <typename T>
using Result = std::expected<T, Error>;

// The errno that a program sees for `error`. The one table (result.cc) that does this mapping.
int ErrnoOf(const Error& error);

// A stable short name ("not_found") for logs and counters.
const char* CodeName(Code code);

// Builds an Error from an errno; `context` must have static storage duration.
Error ErrnoError(int errno_value, const char* context);
// The same, as what a function returns.
std::unexpected<Error> FailErrno(const char* context);

inline std::unexpected<Error> Fail(Code code, const char* context, bool retryable = false) {
  return std::unexpected<Error>(Error{code, retryable, 0, context});
}

}  // namespace penstock
