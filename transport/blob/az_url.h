// The addresses under which people name a place in Blob storage.
//
//   az://account/container/prefix                          taken as it stands, nothing is decoded
//   abfs[s]://container@account.dfs.core.windows.net/prefix  the same; wasb[s]:// too
//   https://account.blob.core.windows.net/container/prefix  percent-decoded, as browsers copy it
//   http://127.0.0.1:10000/account/container/prefix          a host that names no account: an
//   emulator
//
// An endpoint, where one is given, says where the account's service answers, whatever the address
// says; for an emulator it ends with the account's name.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::origin {

struct AzLocation {
  std::string account;
  std::string container;
  std::string prefix;     // no slash at either end; "" for the whole container
  std::string origin;     // scheme, host and port: "https://account.blob.core.windows.net"
  std::string base_path;  // what stands before the container in every path: "" or "/account"
  // The same of the endpoint for hierarchical namespaces; "" if it is not known.
  std::string dfs_origin;
  std::string dfs_base_path;

  std::string Describe() const;  // az://account/container/prefix
};

// True if `url` has one of the schemes above.
bool IsAzUrl(std::string_view url);

// kInvalid with a sentence for a person in `explanation` if it cannot be understood.
Result<AzLocation> ParseAzUrl(std::string_view url, std::string_view endpoint,
                              std::string* explanation);

// Fills in where the dfs endpoint answers: what a person has given, else what goes with an
// account.blob.suffix. kInvalid with a sentence.
Result<void> FindDfsEndpoint(std::string_view given, AzLocation* location,
                             std::string* explanation);

// The cloud of the account, "core.windows.net"; "" if the host does not show it (a private name, an
// address).
std::string AccountSuffix(const AzLocation& location);

// How az://X/Y/Z reads if X was meant as the container, for when X turns out not to be an account.
// `usual_account` is the account that the environment names, "" if none.
std::string OtherReading(const AzLocation& location, std::string_view usual_account);

}  // namespace penstock::origin
