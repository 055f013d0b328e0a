// Requests to a Blob service: URL, headers and signature.
//
// Thread safety: immutable after construction; all methods from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/base/clock.h"
#include "transport/blob/az_auth.h"
#include "transport/blob/az_credentials.h"
#include "transport/blob/az_url.h"
#include "transport/http/http_client.h"

namespace penstock::origin {

// What is asked of the service, before it is dressed for a particular account.
struct AzRequest {
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  HttpMethod method = HttpMethod::kGet;
  std::string name;      // of the blob in the container; "" for the container itself
  bool dfs = false;      // at the dfs endpoint, which must be known
  bool of_root = false;  // without a name: the root directory rather than the file system
  Pairs query;           // lower-case names, sorted; values not encoded
  Pairs ms_headers;      // x-ms-* but date and version; lower-case names
  std::string if_match;  // a version token, without quotes
  std::string range;     // "bytes=0-99"
  std::uint64_t content_length = 0;
};

// One page of a listing. `delimiter` is "" for all names below the prefix.
struct AzListQuery {
  std::string prefix;
  std::string marker;
  std::string delimiter;
  std::uint32_t max_results = 0;
  bool metadata = false;
};
AzRequest MakeListRequest(const AzListQuery& query);

std::string MakeRange(std::uint64_t offset, std::uint64_t size);

class AzService {
 public:
  AzService(AzLocation location, AzCredentials credentials, const Clock* clock);
  ~AzService();

  // Sets method, url and headers of `exchange`, signed with the time of now, or with `token` where
  // the credentials are an identity's.
  void Fill(const AzRequest& request, HttpExchange* exchange,
            const identity::Token* token = nullptr) const;

  const AzLocation& location() const { return location_; }
  const AzCredentials& credentials() const { return credentials_; }

 private:
  std::string PathOf(const AzRequest& request) const;
  std::string UrlOf(const AzRequest& request, std::string_view path) const;

  const AzLocation location_;
  const AzCredentials credentials_;
  const Clock* const clock_;
  std::unique_ptr<Signer> signer_;  // nullptr without a key
};

}  // namespace penstock::origin
