#include <fmt/format.h>

#include <utility>

#include "transport/blob/az_credentials.h"
#include "transport/blob/az_origin.h"
#include "transport/blob/az_url.h"
#include "transport/file/file_origin.h"
#include "transport/origin/origin.h"

namespace penstock::origin {
namespace {

Result<std::unique_ptr<Origin>> MakeAzOrigin(OriginConfig config, std::string* explanation) {
  const AzEnvironment environment = AzEnvironment::FromProcess();
  // libcurl as a library does not look at these.
  if (config.ca_file.empty()) config.ca_file = environment.ca_file;
  auto location = ParseAzUrl(config.url, config.endpoint, explanation);
  if (!location) return std::unexpected(location.error());
  // An http(s) address says itself where the service answers.
  if (config.endpoint.empty() && !config.url.starts_with("http")) {
    const std::string endpoint = EndpointFromEnvironment(environment, location->account);
    location = ParseAzUrl(config.url, endpoint, explanation);
    if (!location) return std::unexpected(location.error());
  }
  if (auto found = FindDfsEndpoint(config.dfs_endpoint, &*location, explanation); !found) {
    return std::unexpected(found.error());
  }
  const AzAuth auth{config.auth_mode, config.identity, config.ca_file};
  auto credentials = ChooseCredentials(environment, auth, *location, explanation);
  if (!credentials) return std::unexpected(credentials.error());
  return std::make_unique<AzOrigin>(*std::move(location), *std::move(credentials), config,
                                    environment.account);
}

}  // namespace

Result<std::unique_ptr<Origin>> MakeOrigin(const OriginConfig& config, std::string* explanation) {
  if (config.url.starts_with("file:")) {
    auto folder = ParseFileUrl(config.url, explanation);
    if (!folder) return std::unexpected(folder.error());
    return std::make_unique<FileOrigin>(*std::move(folder), MakeFileIo());
  }
  if (IsAzUrl(config.url)) return MakeAzOrigin(config, explanation);
  *explanation = fmt::format(
      "'{}' is no origin: allowed are az://account/container/prefix, "
      "https://account.blob.core.windows.net/container/prefix, "
      "abfss://container@account.dfs.core.windows.net/prefix and file:///folder",
      std::string_view(config.url).substr(0, config.url.find('?')));  // no SAS token in a log
  return Fail(Code::kInvalid, "reading an origin's URL");
}

}  // namespace penstock::origin
