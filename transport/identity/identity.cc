#include "transport/identity/identity.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "transport/base/environment.h"
#include "transport/identity/token_chain.h"

namespace penstock::identity {
namespace {

struct Cloud {
  std::string_view suffix;
  std::string_view authority;  // where tokens are given today
  std::string_view former;     // what else it is called
};
constexpr std::array kClouds = {
    Cloud{"core.windows.net", "https://login.microsoftonline.com", "https://login.windows.net"},
    Cloud{"core.chinacloudapi.cn", "https://login.partner.microsoftonline.cn",
          "https://login.chinacloudapi.cn"},
    Cloud{"core.usgovcloudapi.net", "https://login.microsoftonline.us",
          "https://login-us.microsoftonline.com"},
};

const std::string& FirstOf(const std::string& first, const std::string& second) {
  return first.empty() ? second : first;
}

// "login.microsoftonline.us/" as "https://login.microsoftonline.us".
std::string NormalAuthority(std::string authority) {
  while (authority.ends_with('/')) authority.pop_back();
  if (!authority.empty() && authority.find("://") == std::string::npos) {
    authority.insert(0, "https://");
  }
  return authority;
}

std::unexpected<Error> NoIdentity(std::string* explanation, std::string sentence) {
  *explanation = std::move(sentence);
  return Fail(Code::kInvalid, "choosing an identity");
}

// Puts an identity together from what configuration and environment say.
class Chooser {
 public:
  Chooser(const IdentityConfig& config, const IdentityEnvironment& environment,
          std::string_view account_suffix, const std::string& ca_file)
      : config_(config), environment_(environment), ca_file_(ca_file) {
    authority_ = NormalAuthority(FirstOf(config.authority_host, environment.authority_host));
    if (authority_.empty()) authority_ = AuthorityOfSuffix(account_suffix);
    if (authority_.empty()) authority_ = kClouds[0].authority;
  }

  IdentityChoice Managed() const {
    IdentityChoice choice;
    choice.mode = IdentityMode::kManaged;
    choice.managed_id = ManagedId();
    choice.places = environment_.places;
    choice.places.ca_file = ca_file_;
    return choice;
  }

  IdentityChoice Workload() const {
    IdentityChoice choice = Application(IdentityMode::kWorkload);
    choice.credentials.federated_token_file =
        FirstOf(config_.federated_token_file, environment_.federated_token_file);
    return choice;
  }

  IdentityChoice Principal() const {
    IdentityChoice choice = Application(IdentityMode::kPrincipal);
    ClientCredentials& to = choice.credentials;
    to.client_id = FirstOf(to.client_id, environment_.spn_client_id);
    to.tenant_id = FirstOf(to.tenant_id, environment_.spn_tenant_id);
    to.secret_file = config_.client_secret_file;
    to.certificate_file = config_.certificate_file;
    // What the file says goes before what the environment says; a secret before a certificate.
    if (to.secret_file.empty() && to.certificate_file.empty()) {
      to.secret = FirstOf(environment_.client_secret, environment_.spn_client_secret);
      if (to.secret.empty()) to.certificate_file = environment_.certificate_path;
    }
    if (!to.certificate_file.empty()) {
      to.certificate_password = environment_.certificate_password;
      to.send_certificate_chain = environment_.send_certificate_chain;
    }
    return choice;
  }

  IdentityChoice Cli() const {
    IdentityChoice choice;
    choice.mode = IdentityMode::kCli;
    choice.cli = {FirstOf(config_.tenant_id, environment_.tenant_id), ca_file_, environment_.path};
    return choice;
  }

  IdentityChoice Look() const {
    IdentityChoice choice = Managed();
    choice.mode = IdentityMode::kAuto;
    choice.cli = Cli().cli;
    return choice;
  }

 private:
  IdentityChoice Application(IdentityMode mode) const {
    IdentityChoice choice;
    choice.mode = mode;
    choice.credentials.authority_host = authority_;
    choice.credentials.client_id = FirstOf(config_.client_id, environment_.client_id);
    choice.credentials.tenant_id = FirstOf(config_.tenant_id, environment_.tenant_id);
    choice.credentials.ca_file = ca_file_;
    return choice;
  }

  ManagedIdentityId ManagedId() const {
    const ManagedIdentityId from_file{config_.client_id, config_.object_id, config_.resource_id};
    if (from_file != ManagedIdentityId()) return from_file;
    if (environment_.managed_id != ManagedIdentityId()) return environment_.managed_id;
    return {environment_.client_id, "", ""};
  }

  const IdentityConfig& config_;
  const IdentityEnvironment& environment_;
  const std::string& ca_file_;
  std::string authority_;
};

bool HasProof(const ClientCredentials& credentials) {
  return !credentials.secret.empty() || !credentials.secret_file.empty() ||
         !credentials.certificate_file.empty() || !credentials.federated_token_file.empty();
}

bool IsComplete(const ClientCredentials& credentials) {
  return HasProof(credentials) && !credentials.client_id.empty() && !credentials.tenant_id.empty();
}

// Empty if `choice` can be had.
std::string WhatIsMissing(const IdentityChoice& choice) {
  if (choice.mode == IdentityMode::kWorkload && choice.credentials.federated_token_file.empty()) {
    return "the authentication mode is 'workload', but AZURE_FEDERATED_TOKEN_FILE is not set: the "
           "pod needs the label azure.workload.identity/use and a service account with a client id";
  }
  if (choice.mode == IdentityMode::kPrincipal && !HasProof(choice.credentials)) {
    return "the authentication mode is 'spn', but neither AZURE_CLIENT_SECRET nor "
           "AZURE_CLIENT_CERTIFICATE_PATH is set, nor auth.client_secret_file or "
           "auth.certificate_file";
  }
  return "";
}

Result<std::unique_ptr<TokenSource>> MakeSource(const IdentityChoice& choice,
                                                std::string* explanation) {
  switch (choice.mode) {
    case IdentityMode::kManaged:
      return MakeManagedIdentity(choice.managed_id, choice.places, false, explanation);
    case IdentityMode::kWorkload:
    case IdentityMode::kPrincipal:
      return MakeClientCredentials(choice.credentials, explanation);
    case IdentityMode::kCli:
      return MakeAzureCli(choice.cli, explanation);
    case IdentityMode::kAuto:
      break;
  }
  std::vector<std::unique_ptr<TokenSource>> sources;
  auto managed = MakeManagedIdentity(choice.managed_id, choice.places, true, explanation);
  if (!managed) return managed;
  sources.push_back(*std::move(managed));
  auto cli = MakeAzureCli(choice.cli, explanation);
  if (!cli) return cli;
  sources.push_back(*std::move(cli));
  return MakeTokenChain(std::move(sources));
}

// The keepers of this process, by what makes them differ.
struct Registry {
  struct Entry {
    IdentityChoice choice;
    std::weak_ptr<TokenKeeper> keeper;
  };
  std::mutex mutex;
  std::vector<Entry> entries;  // guarded by mutex
};

Registry& TheRegistry() {
  static auto* const registry = new Registry;
  return *registry;
}

}  // namespace

IdentityEnvironment IdentityEnvironment::FromProcess() {
  IdentityEnvironment environment;
  environment.client_id = Environment("AZURE_CLIENT_ID");
  environment.tenant_id = Environment("AZURE_TENANT_ID");
  environment.client_secret = Environment("AZURE_CLIENT_SECRET");
  environment.certificate_path = Environment("AZURE_CLIENT_CERTIFICATE_PATH");
  environment.certificate_password = Environment("AZURE_CLIENT_CERTIFICATE_PASSWORD");
  const std::string chain = Environment("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
  environment.send_certificate_chain = chain == "1" || chain == "true" || chain == "True";
  environment.federated_token_file = Environment("AZURE_FEDERATED_TOKEN_FILE");
  environment.authority_host = Environment("AZURE_AUTHORITY_HOST");
  if (environment.authority_host.empty()) {
    environment.authority_host = Environment("AZURE_STORAGE_AAD_ENDPOINT");
  }
  environment.spn_client_id = Environment("AZURE_STORAGE_SPN_CLIENT_ID");
  environment.spn_tenant_id = Environment("AZURE_STORAGE_SPN_TENANT_ID");
  environment.spn_client_secret = Environment("AZURE_STORAGE_SPN_CLIENT_SECRET");
  environment.managed_id = {Environment("AZURE_STORAGE_IDENTITY_CLIENT_ID"),
                            Environment("AZURE_STORAGE_IDENTITY_OBJECT_ID"),
                            Environment("AZURE_STORAGE_IDENTITY_RESOURCE_ID")};
  environment.places = ManagedIdentityPlaces::FromProcess();
  environment.path = Environment("PATH");
  return environment;
}

Result<std::optional<IdentityChoice>> ChooseIdentity(IdentityMode mode,
                                                     const IdentityConfig& config,
                                                     const IdentityEnvironment& environment,
                                                     std::string_view account_suffix,
                                                     const std::string& ca_file, bool may_look,
                                                     std::string* explanation) {
  const Chooser chooser(config, environment, account_suffix, ca_file);
  IdentityChoice choice;
  switch (mode) {
    case IdentityMode::kManaged:
      choice = chooser.Managed();
      break;
    case IdentityMode::kWorkload:
      choice = chooser.Workload();
      break;
    case IdentityMode::kPrincipal:
      choice = chooser.Principal();
      break;
    case IdentityMode::kCli:
      choice = chooser.Cli();
      break;
    case IdentityMode::kAuto:
      if (choice = chooser.Principal(); IsComplete(choice.credentials)) break;
      if (choice = chooser.Workload(); IsComplete(choice.credentials)) break;
      if (choice = chooser.Managed(); environment.places.Named()) break;
      if (!may_look) return std::nullopt;
      choice = chooser.Look();
      break;
  }
  if (std::string missing = WhatIsMissing(choice); !missing.empty()) {
    return NoIdentity(explanation, std::move(missing));
  }
  return choice;
}

Result<std::shared_ptr<TokenKeeper>> KeeperOf(const IdentityChoice& choice,
                                              std::string* explanation) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  std::erase_if(registry.entries, [](const auto& entry) { return entry.keeper.expired(); });
  for (const Registry::Entry& entry : registry.entries) {
    if (entry.choice != choice) continue;
    if (auto keeper = entry.keeper.lock()) return keeper;
  }
  auto source = MakeSource(choice, explanation);
  if (!source) return std::unexpected(source.error());
  auto keeper = std::make_shared<TokenKeeper>(*std::move(source));
  registry.entries.push_back({choice, keeper});
  return keeper;
}

std::string_view AuthorityOfSuffix(std::string_view account_suffix) {
  for (const Cloud& cloud : kClouds) {
    if (cloud.suffix == account_suffix) return cloud.authority;
  }
  return "";
}

std::string_view SuffixOfAuthority(std::string_view authority_host) {
  const std::string normal = NormalAuthority(std::string(authority_host));
  for (const Cloud& cloud : kClouds) {
    if (cloud.authority == normal || cloud.former == normal) return cloud.suffix;
  }
  return "";
}

}  // namespace penstock::identity
