#include "transport/base/result.h"

#include <cerrno>
#include <cstddef>
#include <iterator>

namespace penstock {
namespace {

struct CodeRow {
  Code code;
  int errno_value;
  const char* name;
};

// The one mapping of codes to what a program sees and what a log says, in the order of the enum.
constexpr CodeRow kCodes[] = {
    {Code::kOk, 0, "ok"},
    {Code::kNotFound, ENOENT, "not_found"},
    {Code::kNotDirectory, ENOTDIR, "not_directory"},
    {Code::kIsDirectory, EISDIR, "is_directory"},
    {Code::kPermission, EACCES, "permission"},
    {Code::kReadOnly, EROFS, "read_only"},
    {Code::kNameTooLong, ENAMETOOLONG, "name_too_long"},
    {Code::kInvalid, EINVAL, "invalid"},
    {Code::kVersionChanged, ESTALE, "version_changed"},
    {Code::kTruncated, EIO, "truncated"},
    {Code::kCorrupt, EIO, "corrupt"},
    {Code::kUnavailable, EIO, "unavailable"},
    {Code::kThrottled, EIO, "throttled"},
    {Code::kDeadline, EIO, "deadline"},
    {Code::kCancelled, EINTR, "cancelled"},
    {Code::kNoSpace, ENOSPC, "no_space"},
    {Code::kLimit, EIO, "limit"},
    {Code::kIo, EIO, "io"},
    {Code::kInternal, EIO, "internal"},
};

constexpr bool RowsFollowTheEnum() {
  for (std::size_t i = 0; i < std::size(kCodes); ++i) {
    if (static_cast<std::size_t>(kCodes[i].code) != i) return false;
  }
  return std::size(kCodes) == static_cast<std::size_t>(Code::kInternal) + 1;
}
static_assert(RowsFollowTheEnum(), "a code lacks its row, or the rows are out of order");

const CodeRow& RowOf(Code code) {
  const auto index = static_cast<std::size_t>(code);
  // A code read from memory of somebody else may be anything.
  return index < std::size(kCodes) ? kCodes[index]
                                   : kCodes[static_cast<std::size_t>(Code::kInternal)];
}

Code CodeOfErrno(int errno_value) {
  switch (errno_value) {
    case ENOENT:
      return Code::kNotFound;
    case ENOTDIR:
      return Code::kNotDirectory;
    case EISDIR:
      return Code::kIsDirectory;
    case EACCES:
    case EPERM:
      return Code::kPermission;
    case EROFS:
      return Code::kReadOnly;
    case ENAMETOOLONG:
      return Code::kNameTooLong;
    case EINVAL:
      return Code::kInvalid;
    case ESTALE:
      return Code::kVersionChanged;
    case ENOSPC:
    case EDQUOT:
      return Code::kNoSpace;
    case ECANCELED:
      return Code::kCancelled;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kLimit;
    default:
      return Code::kIo;
  }
}

}  // namespace

int ErrnoOf(const Error& error) {
  if (error.code == Code::kIo && error.errno_value > 0) return error.errno_value;
  return RowOf(error.code).errno_value;
}

const char* CodeName(Code code) { return RowOf(code).name; }

Error ErrnoError(int errno_value, const char* context) {
  const Code code = CodeOfErrno(errno_value);
  const bool retryable = code == Code::kLimit || errno_value == EAGAIN || errno_value == EINTR ||
                         errno_value == ETIMEDOUT;
  return Error{code, retryable, errno_value, context};
}

std::unexpected<Error> FailErrno(const char* context) {
  return std::unexpected<Error>(ErrnoError(errno, context));
}

}  // namespace penstock
