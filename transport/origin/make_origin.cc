#include <fmt/format.h>

#include "transport/origin/file_origin.h"
#include "transport/origin/origin.h"

namespace penstock::origin {

Result<std::unique_ptr<Origin>> MakeOrigin(const OriginConfig& config, std::string* explanation) {
  if (config.url.starts_with("file:")) {
    auto folder = ParseFileUrl(config.url, explanation);
    if (!folder) return std::unexpected(folder.error());
    return std::make_unique<FileOrigin>(*std::move(folder), MakeFileIo());
  }
  *explanation = fmt::format("'{}' is no origin: allowed is file:///folder", config.url);
  return Fail(Code::kInvalid, "reading an origin's URL");
}

}  // namespace penstock::origin
