// A configuration of Penstock from one of BlobFuse2 (YAML), of BlobFuse 1 (connection.cfg), or from
// the URL of a data set as adlfs and fsspec write it.
//
// What is taken over stands in the TOML; everything else in the source is named with its line and,
// where there is something to say, the reason. Secrets are never taken over nor repeated in a note:
// the variable to set is named instead.
//
// The keys are those of github.com/Azure/azure-storage-fuse, setup/baseConfig.yaml and
// setup/advancedConfig.yaml, and of BlobFuse 1's connection.cfg.
//
// Thread safety: pure functions.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::cache {

struct ImportOptions {
  std::string mount;    // where programs shall see the data; "": /mnt/<container>
  std::string account;  // where the source names none, as AZURE_STORAGE_ACCOUNT
};

struct Imported {
  std::string toml;                      // parses as a configuration
  std::vector<std::string> notes;        // "blobfuse2.yaml:12: attr_cache.no-symlinks: ..."
  std::vector<std::string> environment;  // "AZURE_STORAGE_KEY": what the sidecar needs
};

// `file` is the name for notes. The error is for a person, without secrets.
std::expected<Imported, std::string> ImportBlobFuse(std::string_view text, const std::string& file,
                                                    const ImportOptions& options);

// abfs://container@account.dfs.core.windows.net/path, abfs://container/path, az://container/path
// (adlfs' form: our az:// names the account first).
std::expected<Imported, std::string> ImportUrl(std::string_view url, const ImportOptions& options);

}  // namespace penstock::cache
