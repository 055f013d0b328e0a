// Which identity a mount signs in with, and the keeper of its token.
//
// The mode says which kind; what it needs comes from the configuration ([mount.auth]), else from
// the environment, under the names that Azure's own libraries, the Azure CLI, AKS and BlobFuse2
// use:
//
//   msi       client_id, object_id or resource_id; AZURE_STORAGE_IDENTITY_CLIENT_ID, ..._OBJECT_ID,
//             ..._RESOURCE_ID, AZURE_CLIENT_ID
//   workload  client_id, tenant_id, federated_token_file; AZURE_CLIENT_ID, AZURE_TENANT_ID,
//             AZURE_FEDERATED_TOKEN_FILE
//   spn       client_id, tenant_id, client_secret_file or certificate_file; AZURE_CLIENT_ID,
//             AZURE_TENANT_ID, AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH with
//             AZURE_CLIENT_CERTIFICATE_PASSWORD; AZURE_STORAGE_SPN_CLIENT_ID, ..._TENANT_ID,
//             ..._CLIENT_SECRET
//   cli       tenant_id
//   auto      the first of spn, workload and msi that the environment names completely; else the
//             machine's identity if IMDS answers within two seconds, else the Azure CLI's if
//             somebody is signed in, else nobody's (anonymous)
//
// Thread safety: all functions from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "transport/identity/azure_cli.h"
#include "transport/identity/client_credentials.h"
#include "transport/identity/identity_config.h"
#include "transport/identity/managed_identity.h"
#include "transport/identity/token_keeper.h"

namespace penstock::identity {

enum class IdentityMode : std::uint8_t { kAuto, kManaged, kWorkload, kPrincipal, kCli };

// What the environment says.
struct IdentityEnvironment {
  std::string client_id;                // AZURE_CLIENT_ID
  std::string tenant_id;                // AZURE_TENANT_ID
  std::string client_secret;            // AZURE_CLIENT_SECRET
  std::string certificate_path;         // AZURE_CLIENT_CERTIFICATE_PATH
  std::string certificate_password;     // AZURE_CLIENT_CERTIFICATE_PASSWORD
  bool send_certificate_chain = false;  // AZURE_CLIENT_SEND_CERTIFICATE_CHAIN: 1 or true
  std::string federated_token_file;     // AZURE_FEDERATED_TOKEN_FILE
  std::string authority_host;           // AZURE_AUTHORITY_HOST, AZURE_STORAGE_AAD_ENDPOINT
  std::string spn_client_id;            // AZURE_STORAGE_SPN_CLIENT_ID
  std::string spn_tenant_id;            // AZURE_STORAGE_SPN_TENANT_ID
  std::string spn_client_secret;        // AZURE_STORAGE_SPN_CLIENT_SECRET
  ManagedIdentityId managed_id;         // AZURE_STORAGE_IDENTITY_*
  ManagedIdentityPlaces places;
  std::string path;  // PATH: where az is looked for

  static IdentityEnvironment FromProcess();
};

// Everything that makes one identity differ from another.
struct IdentityChoice {
  IdentityMode mode = IdentityMode::kAuto;  // kAuto: look on this machine
  ManagedIdentityId managed_id;
  ManagedIdentityPlaces places;
  ClientCredentials credentials;
  AzureCliConfig cli;
  bool operator==(const IdentityChoice&) const = default;
};

// `account_suffix` is the cloud of the account ("core.windows.net"), for the authority where none
// is named. kInvalid with a sentence in `explanation` if what `mode` needs is missing. nullopt:
// `auto`, nothing is named, and `may_look` is false.
Result<std::optional<IdentityChoice>> ChooseIdentity(IdentityMode mode,
                                                     const IdentityConfig& config,
                                                     const IdentityEnvironment& environment,
                                                     std::string_view account_suffix,
                                                     const std::string& ca_file, bool may_look,
                                                     std::string* explanation);

// The keeper of this identity: one for the whole process, while anybody holds it.
Result<std::shared_ptr<TokenKeeper>> KeeperOf(const IdentityChoice& choice,
                                              std::string* explanation);

// The clouds: Entra's authority for an account's suffix, and the suffix for an authority; "" for
// one that is not known.
std::string_view AuthorityOfSuffix(std::string_view account_suffix);
std::string_view SuffixOfAuthority(std::string_view authority_host);

}  // namespace penstock::identity
