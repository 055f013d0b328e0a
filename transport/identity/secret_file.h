// Reading the small files that hold secrets: a federated token, a certificate, a client secret, the
// key of an Azure Arc challenge.
//
// Thread safety: pure functions of the file system.
#pragma once

#include <cstddef>
#include <string>

#include "transport/base/result.h"

namespace penstock::identity {

// The whole of a regular file of at most `max_bytes` bytes; does not wait for a pipe's writer.
// kPermission with a sentence in `explanation` (which names the file, never its contents).
Result<std::string> ReadSecretFile(const std::string& path, std::size_t max_bytes,
                                   std::string* explanation);

// The same without white space at its end, as editors and `kubectl create secret` leave it.
Result<std::string> ReadSecretLine(const std::string& path, std::size_t max_bytes,
                                   std::string* explanation);

}  // namespace penstock::identity
