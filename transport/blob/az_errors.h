// From what a Blob service answered to an Error, and to a sentence for a person.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "transport/base/result.h"
#include "transport/blob/az_request.h"
#include "transport/http/http_client.h"

namespace penstock::origin {

// REQUIRES: the exchange failed, by its fault or its status.
Error ErrorOfAnswer(const HttpExchange& exchange);

// One or two sentences: what happened, and what to do about it. `usual_account` is the account that
// the environment names. `wall_ns` is our clock's time, compared with the server's.
std::string ExplainAnswer(const HttpExchange& exchange, const AzService& service,
                          std::string_view usual_account, std::int64_t wall_ns);

}  // namespace penstock::origin
