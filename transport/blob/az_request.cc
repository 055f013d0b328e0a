#include "transport/blob/az_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "transport/http/percent.h"

namespace penstock::origin {
namespace {

// The oldest that marks names which XML cannot hold (2021-02-12) and that Azurite knows, with room
// for what later needs.
constexpr std::string_view kServiceVersion = "2023-11-03";

RequestKind KindOf(const AzRequest& request) {
  switch (request.method) {
    case HttpMethod::kHead:
      return RequestKind::kHead;
    case HttpMethod::kPut:
      return RequestKind::kPut;
    case HttpMethod::kDelete:
      return RequestKind::kDelete;
    default:
      break;
  }
  for (const auto& [name, value] : request.query) {
    if (name == "comp" && value == "list") return RequestKind::kList;
    if (name == "resource" && value == "filesystem") return RequestKind::kList;
  }
  return RequestKind::kGet;
}

}  // namespace

AzRequest MakeListRequest(const AzListQuery& query) {
  AzRequest request;
  request.query.emplace_back("comp", "list");
  if (!query.delimiter.empty()) request.query.emplace_back("delimiter", query.delimiter);
  if (query.metadata) request.query.emplace_back("include", "metadata");
  if (!query.marker.empty()) request.query.emplace_back("marker", query.marker);
  request.query.emplace_back("maxresults", std::to_string(query.max_results));
  if (!query.prefix.empty()) request.query.emplace_back("prefix", query.prefix);
  request.query.emplace_back("restype", "container");
  return request;
}

std::string MakeRange(std::uint64_t offset, std::uint64_t size) {
  return fmt::format("bytes={}-{}", offset, offset + size - 1);
}

AzService::AzService(AzLocation location, AzCredentials credentials, const Clock* clock)
    : location_(std::move(location)), credentials_(std::move(credentials)), clock_(clock) {
  if (credentials_.kind == AzCredentials::Kind::kSharedKey) {
    signer_ = std::make_unique<Signer>(credentials_.account, credentials_.key);
  }
}

AzService::~AzService() = default;

std::string AzService::PathOf(const AzRequest& request) const {
  std::string path;
  path.reserve(location_.base_path.size() + location_.container.size() + request.name.size() + 16);
  AppendPercentEncoded(request.dfs ? location_.dfs_base_path : location_.base_path, true, &path);
  path.push_back('/');
  AppendPercentEncoded(location_.container, false, &path);
  if (!request.name.empty() || request.of_root) {
    path.push_back('/');
    AppendPercentEncoded(request.name, true, &path);
  }
  return path;
}

std::string AzService::UrlOf(const AzRequest& request, std::string_view path) const {
  std::string url;
  url.reserve(location_.origin.size() + path.size() + credentials_.sas_query.size() + 64);
  url.append(request.dfs ? location_.dfs_origin : location_.origin).append(path);
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    url.push_back(std::exchange(separator, '&'));
    url.append(name).push_back('=');
    AppendPercentEncoded(value, false, &url);
  }
  if (credentials_.kind == AzCredentials::Kind::kSas) {
    url.push_back(separator);
    url.append(credentials_.sas_query);
  }
  return url;
}

void AzService::Fill(const AzRequest& request, HttpExchange* exchange,
                     const identity::Token* token) const {
  const std::string path = PathOf(request);
  const std::string date = FormatHttpDate(clock_->WallNs());
  const std::string if_match =
      request.if_match.empty() ? std::string() : fmt::format("\"{}\"", request.if_match);
  exchange->method = request.method;
  exchange->kind = KindOf(request);
  exchange->url = UrlOf(request, path);
  std::vector<std::string>& headers = exchange->headers;
  headers.clear();
  headers.push_back(fmt::format("x-ms-date: {}", date));
  headers.push_back(fmt::format("x-ms-version: {}", kServiceVersion));
  for (const auto& [name, value] : request.ms_headers) {
    headers.push_back(fmt::format("{}: {}", name, value));
  }
  if (!request.range.empty()) headers.push_back(fmt::format("Range: {}", request.range));
  if (!if_match.empty()) headers.push_back(fmt::format("If-Match: {}", if_match));
  if (token != nullptr && !token->value.empty()) {
    headers.push_back(fmt::format("Authorization: Bearer {}", token->value));
  }
  if (signer_ == nullptr) return;

  SignedParts parts;
  parts.method = HttpMethodName(request.method);
  parts.content_length = request.content_length;
  parts.if_match = if_match;
  parts.range = request.range;
  parts.path = path;
  parts.ms_headers.reserve(request.ms_headers.size() + 2);
  parts.ms_headers.emplace_back("x-ms-date", date);
  parts.ms_headers.emplace_back("x-ms-version", kServiceVersion);
  for (const auto& [name, value] : request.ms_headers) parts.ms_headers.emplace_back(name, value);
  std::sort(parts.ms_headers.begin(), parts.ms_headers.end());
  for (const auto& [name, value] : request.query) parts.query.emplace_back(name, value);
  headers.push_back(fmt::format("Authorization: {}", signer_->Authorization(parts)));
}

}  // namespace penstock::origin
