#include "transport/blob/az_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <utility>

#include "transport/blob/az_auth.h"

namespace penstock::origin {
namespace {

// Published with the emulators: not a secret.
constexpr std::string_view kDevelopmentAccount = "devstoreaccount1";
constexpr std::string_view kDevelopmentKey =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

std::unexpected<Error> Wrong(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kInvalid, "reading credentials");
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
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
    return Wrong(explanation, fmt::format("the account key in {} is not base64", source));
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
    return Wrong(
        explanation,
        fmt::format("the SAS token in {} is not one: it should look like sv=...&sig=...", source));
  }
  AzCredentials credentials;
  credentials.kind = AzCredentials::Kind::kSas;
  credentials.sas_query = query;
  credentials.source = std::move(source);
  return credentials;
}

enum class Wanted { kAny, kKey, kSas, kAnonymous };

std::optional<Wanted> ParseMode(std::string_view mode) {
  const std::string lower = LowerCase(mode);
  if (lower.empty() || lower == "auto") return Wanted::kAny;
  if (lower == "key") return Wanted::kKey;
  if (lower == "sas") return Wanted::kSas;
  if (lower == "anon" || lower == "anonymous") return Wanted::kAnonymous;
  return std::nullopt;
}

// What the connection string offers; kNotFound if it has nothing of the kind that is wanted.
Result<AzCredentials> FromConnectionString(const AzEnvironment& environment, Wanted wanted,
                                           std::string_view account, std::string* explanation) {
  constexpr std::string_view kSource = "AZURE_STORAGE_CONNECTION_STRING";
  auto parsed = ParseConnectionString(environment.connection_string, explanation);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->account.empty() && parsed->account != account) {
    return Wrong(explanation, fmt::format("{} is for the account '{}', but the origin names '{}'",
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
  environment.account = Variable("AZURE_STORAGE_ACCOUNT");
  environment.key = Variable("AZURE_STORAGE_KEY");
  if (environment.key.empty()) environment.key = Variable("AZURE_STORAGE_ACCESS_KEY");
  environment.sas = Variable("AZURE_STORAGE_SAS_TOKEN");
  environment.connection_string = Variable("AZURE_STORAGE_CONNECTION_STRING");
  environment.auth_type = Variable("AZURE_STORAGE_AUTH_TYPE");
  environment.blob_endpoint = Variable("AZURE_STORAGE_BLOB_ENDPOINT");
  return environment;
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
      return Wrong(explanation, "the connection string has a part without '='");
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
    return Wrong(explanation, "the connection string has neither AccountName nor BlobEndpoint");
  }
  if (parsed.blob_endpoint.empty()) {
    parsed.blob_endpoint = fmt::format("{}://{}.blob.{}", protocol, parsed.account, suffix);
  }
  return parsed;
}

Result<AzCredentials> ChooseCredentials(const AzEnvironment& environment,
                                        std::string_view auth_mode, std::string_view account,
                                        std::string* explanation) {
  auto wanted = ParseMode(auth_mode);
  std::string_view spelled = auth_mode;
  if (wanted == Wanted::kAny && !environment.auth_type.empty()) {
    wanted = ParseMode(environment.auth_type);
    spelled = environment.auth_type;
  }
  if (!wanted) {
    return Wrong(
        explanation,
        fmt::format("the authentication mode '{}' is not known: allowed are auto, key, sas "
                    "and anon",
                    spelled));
  }
  if (*wanted == Wanted::kAnonymous) return AzCredentials{};
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
    return Wrong(explanation,
                 "the authentication mode is 'key', but neither AZURE_STORAGE_KEY nor "
                 "AZURE_STORAGE_ACCESS_KEY is set");
  }
  if (*wanted == Wanted::kSas) {
    return Wrong(explanation,
                 "the authentication mode is 'sas', but AZURE_STORAGE_SAS_TOKEN is not set");
  }
  return AzCredentials{};
}

std::string EndpointFromEnvironment(const AzEnvironment& environment, std::string_view account) {
  if (!environment.blob_endpoint.empty()) return environment.blob_endpoint;
  if (environment.connection_string.empty()) return "";
  std::string unused;
  const auto parsed = ParseConnectionString(environment.connection_string, &unused);
  if (!parsed || (!parsed->account.empty() && parsed->account != account)) return "";
  return parsed->blob_endpoint;
}

std::string PlainHttpRisk(std::string_view origin, AzCredentials::Kind kind) {
  constexpr std::string_view kPlain = "http://";
  if (!origin.starts_with(kPlain)) return "";
  std::string_view host = origin.substr(kPlain.size());
  host = host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
  if (host == "localhost" || host == "[::1]" || host.starts_with("127.")) return "";
  return fmt::format("{} is spoken to without TLS: {}; use https://", origin,
                     kind == AzCredentials::Kind::kSas
                         ? "whoever listens on the way can take the SAS token and use it"
                         : "whoever listens on the way can read the data and change it");
}

}  // namespace penstock::origin
