// `penstock gen-config`: a commented configuration for this machine.
#pragma once

#include <string>

namespace penstock::cache {

// `text` as a string of TOML, with its quotes.
std::string TomlQuoted(const std::string& text);

struct GenConfigOptions {
  std::string mount = "/data/train";
  std::string origin = "az://account/container/prefix";
};

// Text that ParseConfig() accepts: memory from this machine's limits, the cache on the local disk
// with the most room.
std::string GenerateConfig(const GenConfigOptions& options);

}  // namespace penstock::cache
