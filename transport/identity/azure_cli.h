// The token of whoever is signed in with the Azure CLI: `az account get-access-token`, run as a
// child without a shell, with a deadline, its output bounded. For a person's own machine; it takes
// a second or two each time.
//
// Thread safety: as TokenSource. The child is waited for on a thread of its own.
#pragma once

#include <memory>
#include <string>

#include "transport/identity/token_source.h"

namespace penstock::identity {

struct AzureCliConfig {
  std::string tenant_id;  // "" : the one that az is signed in to
  std::string ca_file;    // what az shall trust, too
  std::string path;       // where to look for az: PATH
  bool operator==(const AzureCliConfig&) const = default;
};

// The program that would be run; "" if there is none on `path`.
std::string FindAzureCli(const std::string& path);

// kInvalid with a sentence if `config` holds what cannot go onto a command line.
Result<std::unique_ptr<TokenSource>> MakeAzureCli(const AzureCliConfig& config,
                                                  std::string* explanation);

}  // namespace penstock::identity
