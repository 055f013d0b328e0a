// Percent-encoding of URLs.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::origin {

// Appends `text` with everything but unreserved characters (and '/' if `keep_slash`) encoded. What
// comes out is also what gets signed, so there is one encoder.
void AppendPercentEncoded(std::string_view text, bool keep_slash, std::string* out);

// nullopt if a '%' is not followed by two hexadecimal digits. '+' stays '+'.
std::optional<std::string> PercentDecode(std::string_view text);

}  // namespace penstock::origin
