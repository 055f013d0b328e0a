#include "transport/blob/az_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "transport/base/environment.h"
#include "transport/blob/az_auth.h"
#include "transport/identity/http_token_source.h"

namespace penstock::origin {
namespace {

// Published with the emulators: not a secret.
constexpr std::string_view kDevelopmentAccount = "devstoreaccount1";
constexpr std::string_view kDevelopmentKey =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

std::unexpected<Error> BadCredentials(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kInvalid, "reading credentials");
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

Result<AzCredentials> FromKey(std::string_view text, std::string_view account, std::string source,
                              std::string* explanation) {
  auto key = DecodeBase64(Trim(text));
  if (!key || key->empty()) {
    return BadCredentials(explanation, fmt::format("the account key in {} is not base64", source));
  }
  AzCredentials credentials;
  credentials.kind = AzCredentials::Kind::kSharedKey;
  credentials.account = account;
  credentials.key = *std::move(key);
  credentials.source = std::move(source);
  return credentials;
}

Result<AzCredentials> FromSas(std::string_view text, std::string source, std::string* explanation) {
  std::string_view query = Trim(text);
  if (query.starts_with('?')) query.remove_prefix(1);
  const bool has_bad_character = std::any_of(query.begin(), query.end(), [](unsigned char c) {
    return c <= ' ' || c >= 0x7F || c == '#' || c == '"' || c == '<' || c == '>';
  });
  if (has_bad_character || query.find("sig=") == std::string_view::npos) {
    return BadCredentials(
        explanation,
        fmt::format("the SAS token in {} is not one: it should look like sv=...&sig=...", source));
  }
  AzCredentials credentials;
  credentials.kind = AzCredentials::Kind::kSas;
  credentials.sas_query = query;
  credentials.source = std::move(source);
  return credentials;
}

enum class Wanted { kAny, kKey, kSas, kAnonymous, kManaged, kWorkload, kPrincipal, kCli };

struct ModeName {
  std::string_view name;
  Wanted wanted;
};
// Ours, and what BlobFuse2 calls the same in AZURE_STORAGE_AUTH_TYPE.
constexpr ModeName kModeNames[] = {
    {"", Wanted::kAny},
    {"auto", Wanted::kAny},
    {"key", Wanted::kKey},
    {"sas", Wanted::kSas},
    {"anon", Wanted::kAnonymous},
    {"anonymous", Wanted::kAnonymous},
    {"msi", Wanted::kManaged},
    {"workload", Wanted::kWorkload},
    {"workloadidentity", Wanted::kWorkload},
    {"spn", Wanted::kPrincipal},
    {"cli", Wanted::kCli},
    {"azcli", Wanted::kCli},
};

std::optional<Wanted> ParseMode(std::string_view mode) {
  const std::string lower = LowerCase(mode);
  for (const ModeName& row : kModeNames) {
    if (row.name == lower) return row.wanted;
  }
  return std::nullopt;
}

identity::IdentityMode IdentityModeOf(Wanted wanted) {
  switch (wanted) {
    case Wanted::kManaged:
      return identity::IdentityMode::kManaged;
    case Wanted::kWorkload:
      return identity::IdentityMode::kWorkload;
    case Wanted::kPrincipal:
      return identity::IdentityMode::kPrincipal;
    case Wanted::kCli:
      return identity::IdentityMode::kCli;
    default:
      return identity::IdentityMode::kAuto;
  }
}

// Credentials by a token; anonymous if `auto` finds nothing to look for.
Result<AzCredentials> FromIdentity(const AzEnvironment& environment, const AzAuth& auth,
                                   Wanted wanted, const AzLocation& location,
                                   std::string* explanation) {
  const bool tls = location.origin.starts_with("https://");
  for (const std::string* place : {&location.origin, &location.dfs_origin}) {
    if (!place->starts_with("http://") || identity::IsLoopbackUrl(*place)) continue;
    if (wanted == Wanted::kAny) return AzCredentials{};
    return BadCredentials(explanation,
                 fmt::format("{} is plain http: a token goes over https only", *place));
  }
  auto choice = identity::ChooseIdentity(IdentityModeOf(wanted), auth.identity,
                                         environment.identity, AccountSuffix(location),
                                         auth.ca_file, /*may_look=*/tls, explanation);
  if (!choice) return std::unexpected(choice.error());
  if (!*choice) return AzCredentials{};
  auto keeper = identity::KeeperOf(**choice, explanation);
  if (!keeper) return std::unexpected(keeper.error());
  AzCredentials credentials;
  credentials.kind = AzCredentials::Kind::kToken;
  credentials.tokens = *std::move(keeper);
  return credentials;
}

// What the connection string offers; kNotFound if it has nothing of the kind that is wanted.
Result<AzCredentials> FromConnectionString(const AzEnvironment& environment, Wanted wanted,
                                           std::string_view account, std::string* explanation) {
  constexpr std::string_view kSource = "AZURE_STORAGE_CONNECTION_STRING";
  auto parsed = ParseConnectionString(environment.connection_string, explanation);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->account.empty() && parsed->account != account) {
    return BadCredentials(explanation, fmt::format("{} is for the account '{}', but the origin names '{}'",
                                          kSource, parsed->account, account));
  }
  if (!parsed->key.empty() && wanted != Wanted::kSas) {
    return FromKey(parsed->key, account, std::string(kSource), explanation);
  }
  if (!parsed->sas_query.empty() && wanted != Wanted::kKey) {
    return FromSas(parsed->sas_query, std::string(kSource), explanation);
  }
  return Fail(Code::kNotFound, "looking for credentials");
}

}  // namespace

AzEnvironment AzEnvironment::FromProcess() {
  AzEnvironment environment;
  environment.account = Environment("AZURE_STORAGE_ACCOUNT");
  environment.key = Environment("AZURE_STORAGE_KEY");
  if (environment.key.empty()) environment.key = Environment("AZURE_STORAGE_ACCESS_KEY");
  environment.sas = Environment("AZURE_STORAGE_SAS_TOKEN");
  environment.connection_string = Environment("AZURE_STORAGE_CONNECTION_STRING");
  environment.auth_type = Environment("AZURE_STORAGE_AUTH_TYPE");
  environment.blob_endpoint = Environment("AZURE_STORAGE_BLOB_ENDPOINT");
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}) {
    if (environment.ca_file.empty()) environment.ca_file = Environment(name);
  }
  environment.identity = identity::IdentityEnvironment::FromProcess();
  return environment;
}

std::string AzCredentials::Describe() const {
  switch (kind) {
    case Kind::kAnonymous:
      return "none, anonymous";
    case Kind::kSharedKey:
      return fmt::format("account key, {}", source);
    case Kind::kSas:
      return fmt::format("SAS, {}", source);
    case Kind::kToken:
      return tokens->Describe();
  }
  return "";
}

Result<ConnectionString> ParseConnectionString(std::string_view text, std::string* explanation) {
  ConnectionString parsed;
  std::string protocol = "https";
  std::string suffix = "core.windows.net";
  bool development = false;
  for (std::string_view rest = Trim(text); !rest.empty();) {
    const std::size_t end = rest.find(';');
    const std::string_view part = Trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) {
      return BadCredentials(explanation, "the connection string has a part without '='");
    }
    const std::string name = LowerCase(part.substr(0, equals));
    const std::string_view value = part.substr(equals + 1);
    if (name == "accountname") parsed.account = value;
    if (name == "accountkey") parsed.key = value;
    if (name == "sharedaccesssignature") parsed.sas_query = value;
    if (name == "blobendpoint") parsed.blob_endpoint = value;
    if (name == "defaultendpointsprotocol") protocol = LowerCase(value);
    if (name == "endpointsuffix") suffix = value;
    if (name == "usedevelopmentstorage") development = LowerCase(value) == "true";
  }
  if (development) {
    parsed.account = kDevelopmentAccount;
    parsed.key = kDevelopmentKey;
    if (parsed.blob_endpoint.empty()) {
      parsed.blob_endpoint = fmt::format("http://127.0.0.1:10000/{}", kDevelopmentAccount);
    }
  }
  if (parsed.account.empty() && parsed.blob_endpoint.empty()) {
    return BadCredentials(explanation, "the connection string has neither AccountName nor BlobEndpoint");
  }
  if (parsed.blob_endpoint.empty()) {
    parsed.blob_endpoint = fmt::format("{}://{}.blob.{}", protocol, parsed.account, suffix);
  }
  return parsed;
}

Result<AzCredentials> ChooseCredentials(const AzEnvironment& environment, const AzAuth& auth,
                                        const AzLocation& location, std::string* explanation) {
  const std::string_view account = location.account;
  auto wanted = ParseMode(auth.mode);
  std::string_view spelled = auth.mode;
  if (wanted == Wanted::kAny && !environment.auth_type.empty()) {
    wanted = ParseMode(environment.auth_type);
    spelled = environment.auth_type;
  }
  if (!wanted) {
    return BadCredentials(
        explanation,
        fmt::format("the authentication mode '{}' is not known: allowed are auto, key, sas, "
                    "msi, workload, spn, cli and anon",
                    spelled));
  }
  if (*wanted == Wanted::kAnonymous) return AzCredentials{};
  if (*wanted != Wanted::kAny && *wanted != Wanted::kKey && *wanted != Wanted::kSas) {
    return FromIdentity(environment, auth, *wanted, location, explanation);
  }
  if (*wanted != Wanted::kSas && !environment.key.empty()) {
    return FromKey(environment.key, account, "AZURE_STORAGE_KEY", explanation);
  }
  if (*wanted != Wanted::kKey && !environment.sas.empty()) {
    return FromSas(environment.sas, "AZURE_STORAGE_SAS_TOKEN", explanation);
  }
  if (!environment.connection_string.empty()) {
    auto found = FromConnectionString(environment, *wanted, account, explanation);
    if (found || found.error().code != Code::kNotFound) return found;
  }
  if (*wanted == Wanted::kKey) {
    return BadCredentials(explanation,
                 "the authentication mode is 'key', but neither AZURE_STORAGE_KEY nor "
                 "AZURE_STORAGE_ACCESS_KEY is set");
  }
  if (*wanted == Wanted::kSas) {
    return BadCredentials(explanation,
                 "the authentication mode is 'sas', but AZURE_STORAGE_SAS_TOKEN is not set");
  }
  return FromIdentity(environment, auth, Wanted::kAny, location, explanation);
}

std::string EndpointFromEnvironment(const AzEnvironment& environment, std::string_view account) {
  if (!environment.blob_endpoint.empty()) return environment.blob_endpoint;
  std::string unused;
  if (const auto parsed = ParseConnectionString(environment.connection_string, &unused);
      parsed && (parsed->account.empty() || parsed->account == account)) {
    return parsed->blob_endpoint;
  }
  const std::string_view suffix = identity::SuffixOfAuthority(environment.identity.authority_host);
  return suffix.empty() ? "" : fmt::format("https://{}.blob.{}", account, suffix);
}

std::string PlainHttpRisk(std::string_view origin, AzCredentials::Kind kind) {
  if (!origin.starts_with("http://") || identity::IsLoopbackUrl(origin)) return "";
  return fmt::format("{} is spoken to without TLS: {}; use https://", origin,
                     kind == AzCredentials::Kind::kSas
                         ? "whoever listens on the way can take the SAS token and use it"
                         : "whoever listens on the way can read the data and change it");
}

}  // namespace penstock::origin
