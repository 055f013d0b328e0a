// Names inside an origin: what is one, and what is a path component.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::origin {

// True if `name` can be an entry of a directory: not "", ".", "..", no '/' and no NUL.
bool IsPathComponent(std::string_view name);

// Checks a whole name: "" (the root) or components joined by single slashes. kInvalid for one that
// is not ("..", "//", NUL), kNameTooLong beyond limits::kMaxNameBytes. A part may be longer than
// file systems allow: Blob knows no such limit.
Result<void> CheckName(std::string_view name);

// `base` and `name` joined by one slash; either may be empty.
std::string JoinNames(std::string_view base, std::string_view name);

// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool IsUtf8(std::string_view text);

// Code points in well-formed UTF-8.
std::size_t CountCharacters(std::string_view utf8);

}  // namespace penstock::origin
