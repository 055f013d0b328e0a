// Response headers from anywhere: no crash, and values stay within what callers rely on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "transport/http/http_headers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  penstock::origin::ResponseHeaders headers;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    penstock::origin::ParseHeaderLine(text.substr(0, end), &headers);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  if (headers.content_range) {
    const auto& range = *headers.content_range;
    if (range.last < range.first || (range.total && *range.total <= range.last)) std::abort();
  }
  if (headers.retry_after_ms < 0) std::abort();
  for (const char c : headers.etag) {
    if (c < ' ') std::abort();  // it goes into a header that we send
  }
  return 0;
}
