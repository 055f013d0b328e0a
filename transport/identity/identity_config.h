// What a configuration says of an identity ([mount.auth]); "" : nothing. Files are named, secrets
// are not: those come from the files or from the environment.
//
// Thread safety: a value.
#pragma once

#include <string>

namespace penstock::identity {

struct IdentityConfig {
  std::string client_id;
  std::string tenant_id;
  std::string object_id;
  std::string resource_id;
  std::string authority_host;
  std::string client_secret_file;
  std::string certificate_file;
  std::string federated_token_file;
  bool operator==(const IdentityConfig&) const = default;
};

}  // namespace penstock::identity
