#include "transport/blob/az_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "transport/http/percent.h"

namespace penstock::origin {
namespace {

constexpr std::string_view kPublicSuffix = "core.windows.net";

std::unexpected<Error> BadAddress(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kInvalid, "reading a Blob address");
}

std::string_view TrimSlashes(std::string_view text) {
  while (text.starts_with('/')) text.remove_prefix(1);
  while (text.ends_with('/')) text.remove_suffix(1);
  return text;
}

// Cuts off and returns what stands before the first '/'.
std::string_view TakePart(std::string_view* rest) {
  const std::size_t slash = rest->find('/');
  const std::string_view part = rest->substr(0, slash);
  *rest = slash == std::string_view::npos ? std::string_view() : rest->substr(slash + 1);
  return part;
}

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool IsAccountName(std::string_view name) {
  return name.size() >= 3 && name.size() <= 24 &&
         std::all_of(name.begin(), name.end(), IsLowerOrDigit);
}

bool IsContainerName(std::string_view name) {
  if (name == "$root" || name == "$web" || name == "$logs") return true;
  if (name.size() < 3 || name.size() > 63) return false;
  if (!IsLowerOrDigit(name.front()) || !IsLowerOrDigit(name.back())) return false;
  if (name.find("--") != std::string_view::npos) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return IsLowerOrDigit(c) || c == '-'; });
}

// What may be repeated of an address: no query, where people put SAS tokens, and no password.
std::string_view Shown(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const std::size_t at = url.rfind('@');
  return at == std::string_view::npos ? url : url.substr(at + 1);
}

bool HoldsSas(std::string_view url) {
  const std::size_t query = url.find('?');
  return query != std::string_view::npos && url.find("sig=", query) != std::string_view::npos;
}

// No "//", "." or ".." inside: such names cannot be walked as paths.
bool IsWalkable(std::string_view prefix) {
  while (!prefix.empty()) {
    const bool last = prefix.find('/') == std::string_view::npos;
    const std::string_view part = TakePart(&prefix);
    if (part.empty() || part == "." || part == "..") return false;
    if (!last && prefix.empty()) return false;
  }
  return true;
}

struct Endpoint {
  std::string origin;
  std::string base_path;
};

Result<Endpoint> ParseEndpoint(std::string_view text, std::string* explanation) {
  const auto wrong = [&](std::string_view why) {
    return BadAddress(explanation, fmt::format("the endpoint '{}' {}: write it like "
                                          "https://account.blob.core.windows.net or "
                                          "http://127.0.0.1:10000/account",
                                          Shown(text), why));
  };
  const bool plain = text.starts_with("http://");
  if (!plain && !text.starts_with("https://")) return wrong("is neither http:// nor https://");
  std::string_view rest = text.substr(plain ? 7 : 8);
  if (rest.find_first_of("?#@ \t\r\n") != std::string_view::npos) {
    return wrong("has more in it than a host and a path");
  }
  const std::string_view host = TakePart(&rest);
  if (host.empty()) return wrong("names no host");
  Endpoint endpoint;
  endpoint.origin = fmt::format("{}{}", plain ? "http://" : "https://", host);
  const std::string_view path = TrimSlashes(rest);
  if (!path.empty()) endpoint.base_path = fmt::format("/{}", path);
  return endpoint;
}

// "account" of "account.blob.suffix" or "account.dfs.suffix", with the rest after the service.
struct AccountHost {
  std::string_view account;
  std::string_view suffix;
};

std::optional<AccountHost> SplitAccountHost(std::string_view host) {
  const std::size_t dot = host.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view rest = host.substr(dot + 1);
  for (const std::string_view service : {std::string_view("blob."), std::string_view("dfs.")}) {
    if (rest.starts_with(service)) {
      return AccountHost{host.substr(0, dot), rest.substr(service.size())};
    }
  }
  return std::nullopt;
}

std::string BlobOrigin(std::string_view scheme, std::string_view account, std::string_view suffix) {
  return fmt::format("{}://{}.blob.{}", scheme, account, suffix);
}

// az://account/container/prefix
Result<AzLocation> ParseAzForm(std::string_view rest, std::string_view url,
                               std::string* explanation) {
  AzLocation location;
  location.account = TakePart(&rest);
  rest = rest.substr(std::min(rest.find_first_not_of('/'), rest.size()));
  location.container = TakePart(&rest);
  location.prefix = TrimSlashes(rest);
  if (location.container.empty()) {
    return BadAddress(
        explanation,
        fmt::format("'{}' names no container: write az://account/container/prefix{}", url,
                    location.account.empty()
                        ? ""
                        : fmt::format("; if '{}' is the container, its account goes before "
                                      "it: az://ACCOUNT/{}",
                                      location.account, location.account)));
  }
  location.origin = BlobOrigin("https", location.account, kPublicSuffix);
  return location;
}

// container@account.dfs.suffix/prefix
Result<AzLocation> ParseAtForm(std::string_view rest, std::string_view url,
                               std::string* explanation) {
  const std::string_view authority = TakePart(&rest);
  const std::size_t at = authority.find('@');
  const auto host =
      at == std::string_view::npos ? std::nullopt : SplitAccountHost(authority.substr(at + 1));
  if (!host && at == std::string_view::npos && !authority.empty() && !authority.contains('.')) {
    // As adlfs writes it, which takes the account from elsewhere.
    const std::string_view path = TrimSlashes(rest);
    const std::string_view slash = path.empty() ? "" : "/";
    return BadAddress(explanation,
                 fmt::format("'{}' does not say which storage account '{}' is a container of: write "
                             "abfss://{}@ACCOUNT.dfs.core.windows.net{}{} or az://ACCOUNT/{}{}{}",
                             url, authority, authority, slash, path, authority, slash, path));
  }
  if (!host) {
    return BadAddress(explanation, fmt::format("'{}' is not of the form "
                                          "abfss://container@account.dfs.core.windows.net/prefix",
                                          url));
  }
  AzLocation location;
  location.container = authority.substr(0, at);
  location.account = host->account;
  location.prefix = TrimSlashes(rest);
  location.origin = BlobOrigin("https", host->account, host->suffix);
  return location;
}

// https://account.blob.suffix/container/prefix, http://host:port/account/container/prefix
Result<AzLocation> ParseHttpForm(std::string_view scheme, std::string_view rest,
                                 std::string_view url, std::string* explanation) {
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return BadAddress(explanation,
                 "the origin's address has a query: give a SAS token in the environment variable "
                 "AZURE_STORAGE_SAS_TOKEN instead, and write '?' and '#' of a name as %3F and %23");
  }
  const std::string_view authority = TakePart(&rest);
  if (authority.empty() || authority.find('@') != std::string_view::npos) {
    return BadAddress(explanation,
                      fmt::format("the host in '{}' cannot be understood", Shown(url)));
  }
  const auto decoded = PercentDecode(rest);
  if (!decoded) {
    return BadAddress(explanation, fmt::format("'{}' has a % that no two hexadecimal digits follow: "
                                          "write %25 for the character itself",
                                          url));
  }
  std::string_view path = *decoded;
  AzLocation location;
  if (const auto host = SplitAccountHost(authority)) {
    location.account = host->account;
    location.origin = BlobOrigin(scheme, host->account, host->suffix);
  } else {
    location.account = TakePart(&path);
    location.origin = fmt::format("{}://{}", scheme, authority);
    location.base_path = fmt::format("/{}", location.account);
  }
  location.container = TakePart(&path);
  location.prefix = TrimSlashes(path);
  return location;
}

Result<AzLocation> ParseByScheme(std::string_view url, std::string* explanation) {
  const std::size_t colon = url.find("://");
  const std::string_view scheme = url.substr(0, colon);
  const std::string_view rest = url.substr(colon + 3);
  if (scheme == "az") return ParseAzForm(rest, url, explanation);
  if (scheme == "http" || scheme == "https") return ParseHttpForm(scheme, rest, url, explanation);
  return ParseAtForm(rest, url, explanation);
}

Result<void> CheckParts(const AzLocation& location, std::string_view url,
                        std::string* explanation) {
  if (!IsAccountName(location.account)) {
    return BadAddress(explanation,
                 fmt::format("'{}': '{}' is no storage account's name (3 to 24 lower-case letters "
                             "and digits). {}",
                             url, location.account, OtherReading(location, "")));
  }
  if (!IsContainerName(location.container)) {
    return BadAddress(
        explanation,
        fmt::format("'{}': '{}' is no container's name (3 to 63 lower-case letters, digits "
                    "and single hyphens)",
                    url, location.container));
  }
  if (!IsWalkable(location.prefix)) {
    return BadAddress(explanation, fmt::format("'{}': the prefix '{}' has an empty part, '.' or '..'",
                                          url, location.prefix));
  }
  return {};
}

}  // namespace

std::string AzLocation::Describe() const {
  return prefix.empty() ? fmt::format("az://{}/{}", account, container)
                        : fmt::format("az://{}/{}/{}", account, container, prefix);
}

bool IsAzUrl(std::string_view url) {
  for (const std::string_view scheme :
       {"az://", "abfs://", "abfss://", "wasb://", "wasbs://", "http://", "https://"}) {
    if (url.starts_with(scheme)) return true;
  }
  return false;
}

Result<AzLocation> ParseAzUrl(std::string_view url, std::string_view endpoint,
                              std::string* explanation) {
  if (!IsAzUrl(url)) return BadAddress(explanation, fmt::format("'{}' is no Blob address", url));
  if (HoldsSas(url)) {
    return BadAddress(explanation,
                      fmt::format("the origin's address '{}' has a SAS token behind it: give that in "
                                  "the environment variable AZURE_STORAGE_SAS_TOKEN instead",
                                  Shown(url)));
  }
  auto location = ParseByScheme(url, explanation);
  if (!location) return location;
  if (auto checked = CheckParts(*location, url, explanation); !checked) {
    return std::unexpected(checked.error());
  }
  if (!endpoint.empty()) {
    auto parsed = ParseEndpoint(endpoint, explanation);
    if (!parsed) return std::unexpected(parsed.error());
    location->origin = std::move(parsed->origin);
    location->base_path = std::move(parsed->base_path);
  }
  return location;
}

Result<void> FindDfsEndpoint(std::string_view given, AzLocation* location,
                             std::string* explanation) {
  if (!given.empty()) {
    auto parsed = ParseEndpoint(given, explanation);
    if (!parsed) return std::unexpected(parsed.error());
    location->dfs_origin = std::move(parsed->origin);
    location->dfs_base_path = std::move(parsed->base_path);
    return {};
  }
  const std::string blob = fmt::format("://{}.blob.", location->account);
  const std::size_t at = location->origin.find(blob);
  if (at == std::string::npos || !location->base_path.empty()) return {};
  location->dfs_origin = location->origin;
  location->dfs_origin.replace(at, blob.size(), fmt::format("://{}.dfs.", location->account));
  return {};
}

std::string AccountSuffix(const AzLocation& location) {
  const std::size_t scheme = location.origin.find("://");
  if (scheme == std::string::npos) return "";
  std::string_view host = std::string_view(location.origin).substr(scheme + 3);
  host = host.substr(0, host.find(':'));
  const auto parts = SplitAccountHost(host);
  if (!parts) return "";
  // account.privatelink.blob.core... and account.z1.blob.storage... say more, or other things.
  return std::string(parts->suffix);
}

std::string OtherReading(const AzLocation& location, std::string_view usual_account) {
  std::string path = fmt::format("{}/{}", location.account, location.container);
  if (!location.prefix.empty()) path += "/" + location.prefix;
  if (usual_account == location.account) return "";
  if (usual_account.empty()) {
    return fmt::format("If '{}' is the container, write az://ACCOUNT/{}", location.account, path);
  }
  return fmt::format(
      "If '{}' is a container of the account '{}' that the environment names, write "
      "az://{}/{}",
      location.account, usual_account, usual_account, path);
}

}  // namespace penstock::origin
