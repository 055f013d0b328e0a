#include "transport/blob/az_path_list.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "transport/base/parse.h"
#include "transport/blob/az_auth.h"
#include "transport/http/http_headers.h"

namespace penstock::origin {
namespace {

using Json = nlohmann::json;

std::unexpected<Error> BadPaths(const char* context) { return Fail(Code::kCorrupt, context, true); }

// The service writes numbers and truths as texts; both are taken.
std::optional<std::string> Text(const Json& path, const char* key) {
  const auto found = path.find(key);
  if (found == path.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_boolean()) return found->get<bool>() ? "true" : "false";
  if (found->is_number_unsigned()) return std::to_string(found->get<std::uint64_t>());
  return std::nullopt;
}

Result<ListedBlob> ParsePath(const Json& path) {
  if (!path.is_object()) return BadPaths("reading a path of a listing");
  auto name = Text(path, "name");
  if (!name || name->empty()) return BadPaths("reading a path's name in a listing");
  ListedBlob blob;
  blob.name = *std::move(name);
  blob.is_folder = Text(path, "isDirectory") == "true";
  blob.mtime_ns = ParseHttpDate(Text(path, "lastModified").value_or("")).value_or(0);
  if (blob.is_folder) return blob;
  const auto size = ParseUnsigned(Text(path, "contentLength").value_or(""));
  if (!size) return BadPaths("reading a path's size in a listing");
  blob.size = *size;
  const std::string etag = Text(path, "etag").value_or("");
  blob.version = UnquoteEtag(etag);
  if (blob.version.empty()) return BadPaths("reading a path's ETag in a listing");
  return blob;
}

}  // namespace

AzRequest MakePathListRequest(const std::string& directory, const std::string& continuation) {
  AzRequest request;
  request.dfs = true;
  if (!continuation.empty()) request.query.emplace_back("continuation", continuation);
  if (!directory.empty()) request.query.emplace_back("directory", directory);
  request.query.emplace_back("recursive", "false");
  request.query.emplace_back("resource", "filesystem");
  return request;
}

AzRequest MakeNamespaceRequest() {
  AzRequest request;
  request.dfs = true;
  request.method = HttpMethod::kHead;
  request.of_root = true;
  request.query.emplace_back("action", "getAccessControl");
  request.query.emplace_back("upn", "false");
  return request;
}

Result<ListPage> ParsePathList(std::string_view body) {
  const Json document = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded() || !document.is_object()) return BadPaths("reading a listing's JSON");
  const auto paths = document.find("paths");
  if (paths == document.end() || !paths->is_array()) return BadPaths("looking for a listing's paths");
  ListPage page;
  page.blobs.reserve(paths->size());
  for (const Json& path : *paths) {
    auto blob = ParsePath(path);
    if (!blob) return std::unexpected(blob.error());
    page.blobs.push_back(*std::move(blob));
  }
  return page;
}

}  // namespace penstock::origin
