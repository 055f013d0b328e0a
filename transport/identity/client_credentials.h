// Signing in to Microsoft Entra ID as an application: OAuth 2.0's client credentials grant at
// AUTHORITY/TENANT/oauth2/v2.0/token, with a secret, a certificate, or the token of another issuer
// (a Kubernetes service account: workload identity). Files are read anew for each request: they
// are rotated while we run.
//
// Source: "Microsoft identity platform and the OAuth 2.0 client credentials flow".
//
// Thread safety: as TokenSource.
#pragma once

#include <memory>
#include <string>

#include "transport/identity/http_token_source.h"

namespace penstock::identity {

struct ClientCredentials {
  std::string authority_host;  // https://login.microsoftonline.com; http on this machine only
  std::string tenant_id;
  std::string client_id;
  std::string ca_file;  // certificates to trust instead of the system's

  // One of these.
  std::string secret;
  std::string secret_file;
  std::string certificate_file;
  std::string federated_token_file;

  std::string certificate_password;
  bool send_certificate_chain = false;
  bool operator==(const ClientCredentials&) const = default;
};

// kInvalid with a sentence in `explanation` if something is missing or malformed. Files are not
// looked at yet.
Result<std::unique_ptr<TokenSource>> MakeClientCredentials(const ClientCredentials& credentials,
                                                           std::string* explanation);

}  // namespace penstock::identity
