// Which credentials an az:// origin signs with, and where they come from.
//
// auth_mode says which: "key" (AZURE_STORAGE_KEY or AZURE_STORAGE_ACCESS_KEY, or the connection
// string's AccountKey), "sas" (AZURE_STORAGE_SAS_TOKEN, or the connection string's), "anon", or
// "auto": AZURE_STORAGE_AUTH_TYPE if it is set, else the first that is there of key, SAS,
// connection string; anonymous last.
//
// Thread safety: values.
#pragma once

#include <string>
#include <string_view>

#include "transport/base/result.h"

namespace penstock::origin {

// The environment variables that matter, read once.
struct AzEnvironment {
  std::string account;            // AZURE_STORAGE_ACCOUNT
  std::string key;                // AZURE_STORAGE_KEY, AZURE_STORAGE_ACCESS_KEY
  std::string sas;                // AZURE_STORAGE_SAS_TOKEN
  std::string connection_string;  // AZURE_STORAGE_CONNECTION_STRING
  std::string auth_type;          // AZURE_STORAGE_AUTH_TYPE
  std::string blob_endpoint;      // AZURE_STORAGE_BLOB_ENDPOINT

  static AzEnvironment FromProcess();
};

struct AzCredentials {
  enum class Kind { kAnonymous, kSharedKey, kSas };
  Kind kind = Kind::kAnonymous;
  std::string account;    // whose key it is
  std::string key;        // decoded
  std::string sas_query;  // "sv=...&sig=...", without '?'
  std::string source;     // "AZURE_STORAGE_KEY": for a log
};

struct ConnectionString {
  std::string account;
  std::string key;  // as written: base64
  std::string sas_query;
  std::string blob_endpoint;  // given, or made from protocol, account and suffix
};

// kInvalid with a sentence in `explanation` (which never quotes a secret).
Result<ConnectionString> ParseConnectionString(std::string_view text, std::string* explanation);

Result<AzCredentials> ChooseCredentials(const AzEnvironment& environment,
                                        std::string_view auth_mode, std::string_view account,
                                        std::string* explanation);

// What whoever listens on the way learns if the service at `origin` ("http://host:port") is spoken to with
// such credentials; "" with TLS and on this machine.
std::string PlainHttpRisk(std::string_view origin, AzCredentials::Kind kind);

// The endpoint that the environment gives for `account`: AZURE_STORAGE_BLOB_ENDPOINT, else that of
// a connection string for this account; "" if none.
std::string EndpointFromEnvironment(const AzEnvironment& environment, std::string_view account);

}  // namespace penstock::origin
