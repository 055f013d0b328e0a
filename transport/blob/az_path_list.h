// Listings of an account with a hierarchical namespace, from its dfs endpoint (Path - List of the
// REST reference): what lies in a directory, directories with times of their own. The answer is
// JSON; the marker of the next page comes as the header x-ms-continuation.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "transport/blob/az_list_xml.h"
#include "transport/blob/az_request.h"

namespace penstock::origin {

// One page of a directory's direct children; "" is the file system's root.
AzRequest MakePathListRequest(const std::string& directory, const std::string& continuation);

// Asks whether there is a hierarchical namespace: 200 says yes, 400 says no. It needs no right that
// a listing would not need, and works with every kind of credentials.
AzRequest MakeNamespaceRequest();

// The entries of `body`, names whole, as ParseListXml gives them; the marker is the caller's to
// fill in. kCorrupt if it is not a complete answer.
Result<ListPage> ParsePathList(std::string_view body);

}  // namespace penstock::origin
