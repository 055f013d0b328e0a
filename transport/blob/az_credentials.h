// Which credentials an az:// origin signs with, and where they come from.
//
// The mode says which:
//   key       AZURE_STORAGE_KEY or AZURE_STORAGE_ACCESS_KEY, or the connection string's AccountKey
//   sas       AZURE_STORAGE_SAS_TOKEN, or the connection string's: account, service and user
//             delegation SAS alike
//   anon      none
//   msi, workload, spn, cli   a token of Microsoft Entra ID (transport/identity/identity.h)
//   auto      what AZURE_STORAGE_AUTH_TYPE says if it is set (BlobFuse2's names too), else the
//   first
//             that is there of key, SAS, connection string, service principal, workload identity,
//             managed identity, Azure CLI; anonymous last
//
// A token goes over TLS only, or to this very machine: over plain http `auto` does not look for
// identities, and a mode that names one is refused.
//
// Thread safety: values.
#pragma once

#include <string>
#include <string_view>

#include "transport/base/result.h"
#include "transport/blob/az_url.h"
#include "transport/identity/identity.h"

namespace penstock::origin {

// The environment variables that matter, read once.
struct AzEnvironment {
  std::string account;            // AZURE_STORAGE_ACCOUNT
  std::string key;                // AZURE_STORAGE_KEY, AZURE_STORAGE_ACCESS_KEY
  std::string sas;                // AZURE_STORAGE_SAS_TOKEN
  std::string connection_string;  // AZURE_STORAGE_CONNECTION_STRING
  std::string auth_type;          // AZURE_STORAGE_AUTH_TYPE
  std::string blob_endpoint;      // AZURE_STORAGE_BLOB_ENDPOINT
  std::string ca_file;            // SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE
  identity::IdentityEnvironment identity;

  static AzEnvironment FromProcess();
};

struct AzCredentials {
  enum class Kind { kAnonymous, kSharedKey, kSas, kToken };
  Kind kind = Kind::kAnonymous;
  std::string account;                            // whose key it is
  std::string key;                                // decoded
  std::string sas_query;                          // "sv=...&sig=...", without '?'
  std::string source;                             // "AZURE_STORAGE_KEY": for a log
  std::shared_ptr<identity::TokenKeeper> tokens;  // kToken: shared by the mounts of one identity

  // What they are, for a person: no secrets.
  std::string Describe() const;
};

// What the configuration says about them.
struct AzAuth {
  std::string mode = "auto";
  identity::IdentityConfig identity;
  std::string ca_file;  // for the service that gives tokens
};

struct ConnectionString {
  std::string account;
  std::string key;  // as written: base64
  std::string sas_query;
  std::string blob_endpoint;  // given, or made from protocol, account and suffix
};

// kInvalid with a sentence in `explanation` (which never quotes a secret).
Result<ConnectionString> ParseConnectionString(std::string_view text, std::string* explanation);

Result<AzCredentials> ChooseCredentials(const AzEnvironment& environment, const AzAuth& auth,
                                        const AzLocation& location, std::string* explanation);

// What whoever listens on the way learns if the service at `origin` ("http://host:port") is spoken to with
// such credentials; "" with TLS and on this machine.
std::string PlainHttpRisk(std::string_view origin, AzCredentials::Kind kind);

// The endpoint that the environment gives for `account`: AZURE_STORAGE_BLOB_ENDPOINT, else that of
// a connection string for this account, else the one of the national cloud that
// AZURE_AUTHORITY_HOST names; "" if none.
std::string EndpointFromEnvironment(const AzEnvironment& environment, std::string_view account);

}  // namespace penstock::origin
