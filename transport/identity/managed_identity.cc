#include "transport/identity/managed_identity.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "transport/base/environment.h"
#include "transport/identity/secret_file.h"

namespace penstock::identity {
namespace {

constexpr std::string_view kImdsHost = "http://169.254.169.254";
constexpr std::string_view kImdsPath = "/metadata/identity/oauth2/token";
constexpr std::string_view kArcEndpoint = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
constexpr std::size_t kMaxArcKeyBytes = 4096;

// What differs between the services.
struct Variant {
  std::string name;      // for a person
  std::string endpoint;  // without a query
  std::string api_version;
  std::string header;     // that proves or marks a request
  std::string secret;     // in it, "" if none
  const char* client_id;  // the parameters' names; nullptr: not supported
  const char* object_id;
  const char* resource_id;
  bool metadata_service = false;
  bool arc = false;
};

Variant ImdsVariant(const ManagedIdentityPlaces& places) {
  std::string host = places.imds_host.empty() ? std::string(kImdsHost) : places.imds_host;
  while (host.ends_with('/')) host.pop_back();
  // Some set the whole address.
  std::string endpoint = host.ends_with(kImdsPath) ? host : host + std::string(kImdsPath);
  return {"managed identity (IMDS)",
          std::move(endpoint),
          "2018-02-01",
          "Metadata: true",
          "",
          "client_id",
          "object_id",
          "msi_res_id",
          /*metadata_service=*/true};
}

Variant ArcVariant(const ManagedIdentityPlaces& places) {
  std::string endpoint =
      places.identity_endpoint.empty() ? std::string(kArcEndpoint) : places.identity_endpoint;
  return {"managed identity (Azure Arc)",
          std::move(endpoint),
          "2020-06-01",
          "Metadata: true",
          "",
          nullptr,
          nullptr,
          nullptr,
          /*metadata_service=*/true,
          /*arc=*/true};
}

Variant ChooseVariant(const ManagedIdentityPlaces& places) {
  if (!places.identity_endpoint.empty() && !places.identity_header.empty()) {
    return {"managed identity (App Service)",
            places.identity_endpoint,
            "2019-08-01",
            "X-IDENTITY-HEADER: " + places.identity_header,
            places.identity_header,
            "client_id",
            "principal_id",
            "mi_res_id"};
  }
  if (!places.msi_endpoint.empty() && !places.msi_secret.empty()) {
    return {"managed identity (Azure ML)",
            places.msi_endpoint,
            "2017-09-01",
            "secret: " + places.msi_secret,
            places.msi_secret,
            "clientid",
            nullptr,
            nullptr};
  }
  const bool arc_named = !places.identity_endpoint.empty() && !places.imds_endpoint.empty();
  if (arc_named || access(places.arc_agent.c_str(), F_OK) == 0) return ArcVariant(places);
  return ImdsVariant(places);
}

TokenRetries RetriesOf(const Variant& variant) {
  TokenRetries retries;
  retries.metadata_service = variant.metadata_service;
  return retries;
}

origin::HttpLimits LimitsOf(const std::string& ca_file) {
  origin::HttpLimits limits;
  limits.max_connections = 1;
  limits.connect_timeout_ms = 2'000;  // beside us
  limits.request_timeout_ms = 10'000;
  limits.stall_timeout_ms = 10'000;
  limits.use_proxy = false;
  limits.ca_file = ca_file;
  return limits;
}

class ManagedIdentity final : public HttpTokenSource {
 public:
  ManagedIdentity(Variant variant, std::string url, std::string description,
                  const ManagedIdentityPlaces& places, bool probing)
      : HttpTokenSource(LimitsOf(places.ca_file), RetriesOf(variant), TokenDialect::kManaged),
        variant_(std::move(variant)),
        url_(std::move(url)),
        description_(std::move(description)),
        arc_key_folder_(places.arc_key_folder) {
    SetProbing(probing);
  }
  ~ManagedIdentity() override { Stop(); }

  std::string Describe() const override { return description_; }

 private:
  Result<TokenCall> MakeCall(std::string*) override {
    TokenCall call;
    call.url = url_;
    call.headers = {variant_.header};
    if (!variant_.secret.empty()) call.secrets = {variant_.secret};
    return call;
  }

  bool AnswerChallenge(std::string_view challenge, TokenCall* call,
                       std::string* explanation) override {
    if (!variant_.arc) return false;
    auto key = ReadArcKey(challenge, arc_key_folder_, explanation);
    if (!key) return false;
    call->headers.push_back("Authorization: Basic " + *key);
    call->secrets.push_back(*std::move(key));
    return true;
  }

  std::string Where() const override { return variant_.endpoint; }

  // 400: "Identity not found"; 401, 403, 404, 405: another cloud's service, or a proxy in the way.
  bool MeansNotHere(const origin::HttpExchange& exchange) const override {
    return exchange.status >= 400 && exchange.status < 500 && exchange.status != 429;
  }

  const Variant variant_;
  const std::string url_;
  const std::string description_;
  const std::string arc_key_folder_;
};

std::unexpected<Error> NoManagedIdentity(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kInvalid, "choosing a managed identity");
}

// Characters that can stand in an id, a path or a header.
bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 0x7F; });
}

struct Selection {
  const char* parameter = nullptr;
  const char* key = "";
  std::string value;
};

Selection SelectionOf(const ManagedIdentityId& id, const Variant& variant) {
  if (!id.client_id.empty()) return {variant.client_id, "client_id", id.client_id};
  if (!id.object_id.empty()) return {variant.object_id, "object_id", id.object_id};
  if (!id.resource_id.empty()) return {variant.resource_id, "resource_id", id.resource_id};
  return {};
}

}  // namespace

ManagedIdentityPlaces ManagedIdentityPlaces::FromProcess() {
  ManagedIdentityPlaces places;
  places.imds_host = Environment("AZURE_POD_IDENTITY_AUTHORITY_HOST");
  places.identity_endpoint = Environment("IDENTITY_ENDPOINT");
  places.identity_header = Environment("IDENTITY_HEADER");
  places.server_thumbprint = Environment("IDENTITY_SERVER_THUMBPRINT");
  places.imds_endpoint = Environment("IMDS_ENDPOINT");
  places.msi_endpoint = Environment("MSI_ENDPOINT");
  places.msi_secret = Environment("MSI_SECRET");
  return places;
}

bool ManagedIdentityPlaces::Named() const {
  return (!identity_endpoint.empty() && (!identity_header.empty() || !imds_endpoint.empty())) ||
         (!msi_endpoint.empty() && !msi_secret.empty());
}

Result<std::unique_ptr<TokenSource>> MakeManagedIdentity(const ManagedIdentityId& id,
                                                         const ManagedIdentityPlaces& places,
                                                         bool probing, std::string* explanation) {
  if (!places.server_thumbprint.empty() && !places.identity_endpoint.empty()) {
    return NoManagedIdentity(explanation, "managed identities of Service Fabric are not served");
  }
  Variant variant = ChooseVariant(places);
  if (!IsPlainUrl(variant.endpoint)) {
    return NoManagedIdentity(explanation,
                 fmt::format("{}: the address of its service is no http(s) address", variant.name));
  }
  if (!IsVisible(variant.secret)) {
    return NoManagedIdentity(explanation,
                 fmt::format("{}: its secret has characters that cannot be sent", variant.name));
  }
  const Selection selection = SelectionOf(id, variant);
  std::string url = fmt::format("{}{}api-version={}&resource={}", variant.endpoint,
                                variant.endpoint.find('?') == std::string::npos ? '?' : '&',
                                variant.api_version, PercentEncoded(kStorageResource));
  std::string description = variant.name;
  if (!selection.value.empty()) {
    if (selection.parameter == nullptr) {
      return NoManagedIdentity(explanation, fmt::format("{} cannot be chosen by {}: leave it out", variant.name,
                                            selection.key));
    }
    if (!IsVisible(selection.value)) {
      return NoManagedIdentity(explanation, fmt::format("auth.{} has characters that none has", selection.key));
    }
    url += fmt::format("&{}={}", selection.parameter, PercentEncoded(selection.value));
    description += fmt::format(", {} {}", selection.key, selection.value);
  }
  return std::make_unique<ManagedIdentity>(std::move(variant), std::move(url),
                                           std::move(description), places, probing);
}

Result<std::string> ReadArcKey(std::string_view challenge, const std::string& key_folder,
                               std::string* explanation) {
  constexpr std::string_view kBasic = "Basic realm=";
  const auto wrong = [explanation](std::string sentence) {
    *explanation = std::move(sentence);
    return penstock::Fail(Code::kPermission, "answering Azure Arc's challenge");
  };
  if (!challenge.starts_with(kBasic)) {
    return wrong("Azure Arc's agent sent no challenge of the form Basic realm=FILE");
  }
  std::string_view name = challenge.substr(kBasic.size());
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
    name = name.substr(1, name.size() - 2);
  }
  const std::filesystem::path path(name);
  if (path.parent_path() != key_folder || path.extension() != ".key" || path.stem().empty()) {
    return wrong(fmt::format("Azure Arc's agent named a key file that is not in {}", key_folder));
  }
  auto key = ReadSecretLine(path.string(), kMaxArcKeyBytes, explanation);
  if (!key) {
    *explanation += "; to read it this user must be in the group himds";
    return key;
  }
  if (!IsVisible(*key)) return wrong("Azure Arc's key has characters that cannot be sent");
  return key;
}

}  // namespace penstock::identity
