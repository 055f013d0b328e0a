// Several token sources, of which the first that exists on this machine is taken: what `auto` does
// where the environment names no identity.
//
// A source that says that it is not here makes way for the next; any other failure stands. The one
// that gave a token is asked alone from then on. Where none is here the outcome is the token of
// nobody: requests go out without credentials, as for a public container.
//
// Thread safety: as TokenSource.
#pragma once

#include <memory>
#include <vector>

#include "transport/identity/token_source.h"

namespace penstock::identity {

std::unique_ptr<TokenSource> MakeTokenChain(std::vector<std::unique_ptr<TokenSource>> sources);

}  // namespace penstock::identity
