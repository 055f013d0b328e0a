// `penstock import-config`: from BlobFuse2's configuration to ours.
#include "cache/migrate/import_config.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "cache/cli/command.h"
#include "cache/job/fd.h"
#include "cache/migrate/yaml_values.h"

namespace penstock::cli {
namespace {

constexpr const char* kFooter =
    "Example:\n"
    "  penstock import-config blobfuse2.yaml --mount /data/train -o job.toml\n"
    "  penstock import-config abfs://container@account.dfs.core.windows.net/train > job.toml\n"
    "Takes BlobFuse2's YAML, BlobFuse 1's connection.cfg, or a URL as adlfs and fsspec write it\n"
    "(abfs://container/path and az://container/path take the account from "
    "AZURE_STORAGE_ACCOUNT).\n"
    "Taken over: azstorage (account-name, container, subdirectory, endpoint, use-http, mode,\n"
    "max-concurrency, cap-mbps-read, cap-iops), file_cache and block_cache (path and sizes),\n"
    "attr_cache.timeout-sec, logging.level. All else is named on stderr, with its line and why.\n"
    "Secrets (account-key, sas, clientsecret) are never written: the sidecar takes them from its\n"
    "environment, and the variable to set is named.\n"
    "What changes: there is no mount and no FUSE; programs run under\n"
    "  penstock run -c job.toml -- CMD...\n"
    "and see the data at the mount's path. Blobs are read, not written, for now.";

struct ImportArguments {
  std::string source;
  std::string output;
  std::string mount;
};

std::optional<std::string> ReadSource(const std::string& file) {
  const cache::Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) {
    Complain(fmt::format("{}: {}", file, strerror(errno)));
    return std::nullopt;
  }
  std::string text(cache::kYamlMaxBytes + 1, '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = read(fd.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Complain(fmt::format("{}: {}", file, strerror(errno)));
      return std::nullopt;
    }
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  text.resize(have);
  return text;
}

// Never over a file that is there.
bool WriteNew(const std::string& file, const std::string& text) {
  const cache::Fd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  bool written = fd.valid();
  for (std::size_t at = 0; written && at < text.size();) {
    const ssize_t n = write(fd.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    written = n >= 0;
    at += written ? static_cast<std::size_t>(n) : 0;
  }
  if (!written) Complain(fmt::format("{}: {}", file, strerror(errno)));
  return written;
}

int ImportConfig(const ImportArguments& options) {
  cache::ImportOptions import;
  import.mount = options.mount;
  if (const char* account = getenv("AZURE_STORAGE_ACCOUNT")) import.account = account;
  std::expected<cache::Imported, std::string> imported;
  if (options.source.find("://") != std::string::npos) {
    imported = cache::ImportUrl(options.source, import);
  } else {
    const auto text = ReadSource(options.source);
    if (!text) return kFailed;
    imported = cache::ImportBlobFuse(*text, options.source, import);
  }
  if (!imported) {
    Complain(imported.error());
    return kFailed;
  }
  if (options.output.empty())
    fmt::print("{}", imported->toml);
  else if (!WriteNew(options.output, imported->toml))
    return kFailed;
  for (const std::string& note : imported->notes) fmt::print(stderr, "{}\n", note);
  for (const std::string& variable : imported->environment)
    fmt::print(stderr, "the sidecar needs {} in its environment\n", variable);
  return kDone;
}

}  // namespace

Command ImportConfigCommand() {
  auto options = std::make_shared<ImportArguments>();
  return {"import-config",
          "Make a configuration from one of BlobFuse2, or from an adlfs URL",
          kFooter,
          {{"SOURCE", &options->source, "blobfuse2.yaml, connection.cfg or a URL", true},
           {"-o,--output", &options->output, "Write here, to a new file", false, "FILE"},
           {"--mount", &options->mount, "The path that programs shall see", false, "PATH"}},
          [options] { return ImportConfig(*options); },
          {}};
}

}  // namespace penstock::cli
