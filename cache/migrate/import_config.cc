#include "cache/migrate/import_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "cache/config/config.h"
#include "cache/config/gen_config.h"
#include "cache/config/units.h"
#include "cache/migrate/yaml_values.h"
#include "transport/blob/az_url.h"

namespace penstock::cache {
namespace {

constexpr std::uint64_t kMib = 1u << 20;
constexpr std::string_view kPublicHost = "blob.core.windows.net";

// Keys that say a secret, and the variable that the sidecar takes it from.
struct SecretKey {
  std::string_view key;
  std::string_view variable;
};
constexpr SecretKey kSecrets[] = {
    {"azstorage.account-key", "AZURE_STORAGE_KEY"},
    {"azstorage.sas", "AZURE_STORAGE_SAS_TOKEN"},
    {"azstorage.clientsecret", "AZURE_CLIENT_SECRET"},
};

// Keys that name an identity: no secrets, but the sidecar takes them from its environment too.
constexpr SecretKey kIdentities[] = {
    {"azstorage.appid", "AZURE_CLIENT_ID"},
    {"azstorage.clientid", "AZURE_CLIENT_ID"},
    {"azstorage.tenantid", "AZURE_TENANT_ID"},
    {"azstorage.oauth-token-path", "AZURE_FEDERATED_TOKEN_FILE"},
    {"azstorage.aadendpoint", "AZURE_AUTHORITY_HOST"},
    {"azstorage.http-proxy", "http_proxy"},
    {"azstorage.https-proxy", "HTTPS_PROXY"},
};

// Why a key of BlobFuse2 is not taken over. A key that ends in '.' or '[' stands for all below it.
struct Reason {
  std::string_view key;
  std::string_view why;
};
constexpr std::string_view kMeasured = "block sizes, prefetch and threads follow what is measured";
constexpr std::string_view kNoFuse = "there is no FUSE mount and no kernel cache to set";
constexpr std::string_view kVersions = "cached data is kept by its ETag and needs no timeout";
constexpr std::string_view kWrites = "concerns writing, which is not served yet";
constexpr Reason kReasons[] = {
    {"azstorage.block-size-mb", kMeasured},
    {"azstorage.virtual-directory", "folders without a marker are always seen"},
    {"azstorage.max-retries", "tries end with mount.deadline"},
    {"azstorage.max-retry-timeout-sec", "tries end with mount.deadline"},
    {"azstorage.retry-backoff-sec", "waits between tries grow by themselves and obey Retry-After"},
    {"azstorage.max-retry-delay-sec",
     "waits between tries grow by themselves and obey Retry-After"},
    {"azstorage.tier", kWrites},
    {"azstorage.update-md5", kWrites},
    {"azstorage.preserve-acl", kWrites},
    {"azstorage.fail-unsupported-op", kWrites},
    {"azstorage.validate-md5", "lengths, ranges and ETags are always checked"},
    {"azstorage.disable-compression", "bodies are never asked for compressed"},
    {"azstorage.block-list-on-mount-sec", "nothing is listed before a program asks"},
    {"azstorage.resid", "name the identity by its client id: AZURE_CLIENT_ID"},
    {"azstorage.objid", "name the identity by its client id: AZURE_CLIENT_ID"},
    {"azstorage.cpk-enabled",
     "keys of the customer's own are not supported: such blobs stay unread"},
    {"azstorage.cpk-encryption-key",
     "keys of the customer's own are not supported: such blobs stay unread"},
    {"azstorage.cpk-encryption-key-sha256",
     "keys of the customer's own are not supported: such blobs stay unread"},
    {"azstorage.honour-acl", "who may read is decided by who may join: sidecar.allow_uids"},
    {"file_cache.timeout-sec", kVersions},
    {"file_cache.refresh-sec", "metadata_ttl says how old names and versions may be"},
    {"file_cache.", "the cache folder is managed by the sidecar"},
    {"block_cache.disk-timeout-sec", kVersions},
    {"block_cache.", kMeasured},
    {"stream.", kMeasured},
    {"attr_cache.no-symlinks", "Blob has no symbolic links that could be followed"},
    {"attr_cache.", "names live in the cache's memory: cache.memory"},
    {"entry_cache.", "metadata_ttl says how old names may be"},
    {"libfuse.default-permission", "files show as readable by all, folders as searchable"},
    {"libfuse.", kNoFuse},
    {"logging.", "the log is lines on stderr; only its level can be set"},
    {"allow-other", "other users' programs may join if sidecar.allow_uids names them, or is \"*\""},
    {"foreground",
     "`penstockd` runs in the foreground, `penstock run` starts it in the background"},
    {"nonempty", "the path need not exist nor be empty"},
    {"disable-kernel-cache", kNoFuse},
    {"dynamic-profile", "there is no profiler to switch on"},
    {"profiler-", "there is no profiler to switch on"},
    {"mountall.", "each container is a [[mount]] of its own: import once for each"},
    {"health_monitor.", "`penstock stat --prometheus` shows what there is to watch"},
    {"xload.", "`penstock warm` brings data in ahead of need"},
    {"distributed_cache.", "sidecars do not share what they have cached yet"},
    {"components[", "no such component here"},
};

// Components that mean nothing but what their sections say.
constexpr std::string_view kComponents[] = {"libfuse",    "loopbackfs", "file_cache", "block_cache",
                                            "attr_cache", "azstorage",  "stream"};

// BlobFuse 1: "accountName name", a line each.
struct OldName {
  std::string_view before;
  std::string_view now;
};
constexpr OldName kOldNames[] = {
    {"accountName", "azstorage.account-name"},
    {"accountKey", "azstorage.account-key"},
    {"accountType", "azstorage.type"},
    {"containerName", "azstorage.container"},
    {"sasToken", "azstorage.sas"},
    {"authType", "azstorage.mode"},
    {"blobEndpoint", "azstorage.endpoint"},
    {"identityClientId", "azstorage.appid"},
    {"identityObjectId", "azstorage.objid"},
    {"identityResourceId", "azstorage.resid"},
    {"servicePrincipalClientId", "azstorage.clientid"},
    {"servicePrincipalTenantId", "azstorage.tenantid"},
    {"servicePrincipalClientSecret", "azstorage.clientsecret"},
    {"aadEndpoint", "azstorage.aadendpoint"},
    {"logLevel", "logging.level"},
    {"caCertFile", "azstorage.ca-file"},
    {"httpsProxy", "azstorage.https-proxy"},
    {"httpProxy", "azstorage.http-proxy"},
};

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view Trimmed(std::string_view text, std::string_view what = " \t\r") {
  const std::size_t first = text.find_first_not_of(what);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(what) - first + 1);
}

std::optional<std::uint64_t> Whole(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Lines of a name and a value, as connection.cfg has them; nullopt if it is none.
std::optional<std::vector<YamlValue>> ReadOldConfig(std::string_view text) {
  std::vector<YamlValue> values;
  int line_number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.empty() || line.front() == '#') continue;
    const std::size_t gap = line.find_first_of(" \t");
    const std::string_view name = line.substr(0, gap);
    if (gap == std::string_view::npos || name.find(':') != std::string_view::npos ||
        values.size() >= kYamlMaxValues || name.size() > kYamlMaxKeyBytes)
      return std::nullopt;
    const auto found = std::find_if(std::begin(kOldNames), std::end(kOldNames),
                                    [&](const OldName& one) { return one.before == name; });
    values.push_back({std::string(found == std::end(kOldNames) ? name : found->now),
                      std::string(Trimmed(line.substr(gap))), line_number, false, false});
  }
  if (values.empty()) return std::nullopt;
  return values;
}

// The values of the source; who takes one over marks it, and the rest is named at the end.
class Source {
 public:
  Source(std::vector<YamlValue> values, std::string file)
      : values_(std::move(values)), used_(values_.size()), file_(std::move(file)) {}

  // The last value of `key`, marked as taken; null if there is none.
  const YamlValue* Take(std::string_view key) {
    for (std::size_t i = values_.size(); i-- > 0;) {
      if (values_[i].key != key || values_[i].is_alias) continue;
      used_[i] = true;
      return values_[i].is_null ? nullptr : &values_[i];
    }
    return nullptr;
  }
  std::string TakeText(std::string_view key) {
    const YamlValue* value = Take(key);
    return value == nullptr ? "" : std::string(Trimmed(value->value));
  }
  // A whole number above zero; anything else is named.
  std::optional<std::uint64_t> TakeNumber(std::string_view key) {
    const YamlValue* value = Take(key);
    if (value == nullptr) return std::nullopt;
    const auto number = Whole(Trimmed(value->value));
    if (!number) Note(*value, "not taken over: no whole number");
    return number && *number > 0 ? number : std::nullopt;
  }

  void Note(const YamlValue& value, std::string_view what) {
    notes_.push_back(
        {value.line, fmt::format("{}:{}: {}: {}", file_, value.line, value.key, what)});
  }
  void NoteWhole(std::string what) { notes_.push_back({0, file_ + ": " + std::move(what)}); }

  // Names what nobody took.
  void NoteTheRest() {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const YamlValue& value = values_[i];
      if (used_[i] || IsKnownComponent(value)) continue;
      if (value.is_alias) {
        Note(value, "not taken over: an alias of YAML; write the value out");
        continue;
      }
      const auto same = [&](std::size_t j) { return used_[j] && values_[j].key == value.key; };
      bool again = false;
      for (std::size_t j = i + 1; j < values_.size() && !again; ++j) again = same(j);
      if (again)
        Note(value, "not taken over: the key comes again below");
      else
        Note(value, fmt::format("not taken over: {}", WhyNot(value)));
    }
  }

  std::vector<std::string> Notes() {
    std::stable_sort(notes_.begin(), notes_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> out;
    for (auto& [line, note] : notes_) out.push_back(std::move(note));
    return out;
  }

 private:
  static bool IsKnownComponent(const YamlValue& value) {
    return value.key.starts_with("components[") &&
           std::find(std::begin(kComponents), std::end(kComponents), value.value) !=
               std::end(kComponents);
  }
  static std::string WhyNot(const YamlValue& value) {
    for (const Reason& reason : kReasons) {
      const bool prefix =
          reason.key.ends_with('.') || reason.key.ends_with('[') || reason.key.ends_with('-');
      if (!(prefix ? value.key.starts_with(reason.key) : value.key == reason.key)) continue;
      // A component's name is no secret, and which one it is matters.
      if (reason.key == "components[" && value.value.size() < 64)
        return fmt::format("'{}': {}", value.value, reason.why);
      return std::string(reason.why);
    }
    return "an unknown key";
  }

  std::vector<YamlValue> values_;
  std::vector<bool> used_;
  std::string file_;
  std::vector<std::pair<int, std::string>> notes_;
};

// What goes into the TOML; "" and 0 stand for the default.
struct Draft {
  std::string origin, endpoint, path, ca_file, cache_dir;
  std::string auth = "auto";
  std::string log_level;
  std::uint64_t memory_bytes = 0, nvme_bytes = 0, bandwidth_mbit = 0, requests_per_second = 0;
  std::uint64_t max_connections = 0, metadata_ttl_s = 0;
  std::vector<std::string> comments;  // above the mount
};

std::string Write(const Draft& draft, std::string_view from) {
  std::string out = fmt::format(
      "# From {}.\n# Check it: penstock doctor -c FILE. All keys: penstock gen-config\nversion = "
      "1\n",
      from);
  if (!draft.log_level.empty())
    out += fmt::format("\n[sidecar]\nlog_level = \"{}\"\n", draft.log_level);
  if (!draft.cache_dir.empty() || draft.memory_bytes > 0 || draft.nvme_bytes > 0) {
    out += "\n[cache]\n";
    if (!draft.cache_dir.empty()) out += fmt::format("dir = {}\n", TomlQuoted(draft.cache_dir));
    if (draft.memory_bytes > 0)
      out += fmt::format("memory = \"{}\"\n", FormatBytes(draft.memory_bytes));
    if (draft.nvme_bytes > 0) out += fmt::format("nvme = \"{}\"\n", FormatBytes(draft.nvme_bytes));
  }
  if (draft.bandwidth_mbit > 0 || draft.requests_per_second > 0) {
    out += "\n[limits]\n";
    if (draft.bandwidth_mbit > 0)
      out += fmt::format("bandwidth = \"{}Mbit/s\"\n", draft.bandwidth_mbit);
    if (draft.requests_per_second > 0)
      out += fmt::format("requests_per_second = {}\n", draft.requests_per_second);
  }
  out += "\n";
  for (const std::string& comment : draft.comments) out += fmt::format("# {}\n", comment);
  out += fmt::format("[[mount]]\npath = {}\norigin = {}\n", TomlQuoted(draft.path),
                     TomlQuoted(draft.origin));
  if (!draft.endpoint.empty()) out += fmt::format("endpoint = {}\n", TomlQuoted(draft.endpoint));
  out += "mode = \"ro\"\n";
  if (draft.metadata_ttl_s > 0)
    out += fmt::format("metadata_ttl = \"{}s\"\n", draft.metadata_ttl_s);
  if (draft.max_connections > 0)
    out += fmt::format("max_connections = {}\n", draft.max_connections);
  if (!draft.ca_file.empty()) out += fmt::format("ca_file = {}\n", TomlQuoted(draft.ca_file));
  if (draft.origin.starts_with("file:")) return out;
  return out + fmt::format("[mount.auth]\nmode = \"{}\"\n", draft.auth);
}

// The result, if its origin can be one and our own reader takes it.
std::expected<std::string, std::string> Checked(const Draft& draft, std::string_view from) {
  std::string explanation;
  if (!draft.origin.starts_with("file:") &&
      !origin::ParseAzUrl(draft.origin, draft.endpoint, &explanation))
    return std::unexpected(explanation);
  std::string toml = Write(draft, from);
  const auto config = ParseConfig(toml, "/job.toml");
  if (config) return toml;
  const ConfigError& error = config.error().front();
  return std::unexpected(fmt::format("what would be written is refused: {}{}{}", error.key,
                                     error.key.empty() ? "" : ": ", error.message));
}

void TakeEndpoint(Source& source, const std::string& account, Draft* draft) {
  const bool plain = Lower(source.TakeText("azstorage.use-http")) == "true";
  const YamlValue* value = source.Take("azstorage.endpoint");
  std::string endpoint(value == nullptr ? "" : Trimmed(value->value));
  if (endpoint.empty()) {
    if (plain) draft->endpoint = fmt::format("http://{}.{}", account, kPublicHost);
    return;
  }
  if (endpoint.find_first_of("?#@") != std::string::npos)
    return source.Note(*value, "not taken over: more than a host and a path");
  if (endpoint.find("://") == std::string::npos)
    endpoint = (plain ? "http://" : "https://") + endpoint;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (const std::size_t dfs = endpoint.find(".dfs."); dfs != std::string::npos) {
    endpoint.replace(dfs, 5, ".blob.");
    source.Note(*value, "the account's blob endpoint is used: it serves the same files");
  }
  if (endpoint != fmt::format("https://{}.{}", account, kPublicHost)) draft->endpoint = endpoint;
}

void TakeAuth(Source& source, Draft* draft, std::vector<std::string>* environment) {
  const YamlValue* mode = source.Take("azstorage.mode");
  const std::string name = mode == nullptr ? "" : Lower(Trimmed(mode->value));
  if (name == "key" || name == "sas" || name == "msi" || name == "spn") {
    draft->auth = name;
  } else if (name == "azcli" || name == "workloadidentity") {
    draft->auth = name == "azcli" ? "cli" : "workload";
  } else if (!name.empty()) {
    source.Note(*mode, "no mode of Penstock's; mode = \"auto\" takes what the environment has");
  }
  const auto move = [&](const SecretKey& one, std::string_view what) {
    const YamlValue* value = source.Take(one.key);
    if (value == nullptr || value->value.empty()) return;
    source.Note(*value, fmt::format("{}: set {} in the sidecar's environment", what, one.variable));
    if (std::find(environment->begin(), environment->end(), one.variable) == environment->end())
      environment->emplace_back(one.variable);
  };
  for (const SecretKey& one : kSecrets) move(one, "a secret, not written down");
  for (const SecretKey& one : kIdentities) move(one, "not in the configuration");
  if (source.Take("azstorage.workload-identity-token") != nullptr) {
    draft->auth = "workload";
    environment->emplace_back("AZURE_FEDERATED_TOKEN_FILE");
  } else if (!source.TakeText("azstorage.oauth-token-path").empty()) {
    draft->auth = "workload";
  }
}

void TakeCache(Source& source, Draft* draft) {
  draft->cache_dir = source.TakeText("file_cache.path");
  if (draft->cache_dir.empty()) draft->cache_dir = source.TakeText("block_cache.path");
  std::uint64_t disk_mb = source.TakeNumber("file_cache.max-size-mb").value_or(0);
  if (disk_mb == 0) disk_mb = source.TakeNumber("block_cache.disk-size-mb").value_or(0);
  const std::uint64_t memory_mb = source.TakeNumber("block_cache.mem-size-mb").value_or(0);
  const auto bounded = [](std::uint64_t mb) -> std::uint64_t {
    constexpr std::uint64_t kLeastMb = 16, kMostMb = 1ull << 30;
    return mb == 0 ? 0 : std::clamp(mb, kLeastMb, kMostMb) * kMib;
  };
  draft->nvme_bytes = bounded(disk_mb);
  draft->memory_bytes = bounded(std::min(memory_mb, std::uint64_t{1} << 20));
  constexpr std::uint64_t kYear_s = 365 * 86'400;
  draft->metadata_ttl_s =
      std::min(source.TakeNumber("attr_cache.timeout-sec").value_or(0), kYear_s);
}

void TakeLimits(Source& source, Draft* draft) {
  const auto capped = [&](std::string_view key) -> std::uint64_t {
    const YamlValue* value = source.Take(key);
    if (value == nullptr || Trimmed(value->value) == "-1") return 0;  // no limit
    return source.TakeNumber(key).value_or(0);
  };
  draft->bandwidth_mbit = std::min<std::uint64_t>(capped("azstorage.cap-mbps-read"), 1u << 20);
  if (draft->bandwidth_mbit > 0)
    draft->bandwidth_mbit = std::max<std::uint64_t>(draft->bandwidth_mbit, 9);
  draft->requests_per_second = std::min<std::uint64_t>(capped("azstorage.cap-iops"), 10'000'000);
  draft->max_connections =
      std::min<std::uint64_t>(source.TakeNumber("azstorage.max-concurrency").value_or(0), 4'096);
}

void TakeLogLevel(Source& source, Draft* draft) {
  const YamlValue* value = source.Take("logging.level");
  if (value == nullptr) return;
  const std::string level = Lower(Trimmed(value->value));
  if (level == "log_debug" || level == "log_trace")
    draft->log_level = "debug";
  else if (level == "log_info")
    draft->log_level = "info";
  else if (level == "log_warning")
    draft->log_level = "warning";
  else if (level == "log_err" || level == "log_crit" || level == "log_off")
    draft->log_level = "error";
  else
    source.Note(*value, "not taken over: no level of BlobFuse2");
}

// az://account/container/subdirectory, or the folder of loopbackfs. The error says what is missing.
std::expected<void, std::string> TakeOrigin(Source& source, const ImportOptions& options,
                                            Draft* draft, std::string* container) {
  if (const std::string folder = source.TakeText("loopbackfs.path"); !folder.empty()) {
    draft->origin = "file://" + folder;
    *container = "data";
    return {};
  }
  (void)source.TakeText("azstorage.type");  // both answer at the blob endpoint
  std::string account = source.TakeText("azstorage.account-name");
  if (account.empty()) account = options.account;
  *container = source.TakeText("azstorage.container");
  if (account.empty())
    return std::unexpected(
        "azstorage.account-name is missing: add it, or set AZURE_STORAGE_ACCOUNT");
  if (container->empty()) return std::unexpected("azstorage.container is missing");
  const std::string folder(Trimmed(source.TakeText("azstorage.subdirectory"), "/ "));
  draft->origin =
      fmt::format("az://{}/{}{}{}", account, *container, folder.empty() ? "" : "/", folder);
  TakeEndpoint(source, account, draft);
  return {};
}

void TakeReadOnly(Source& source, Draft* draft) {
  const YamlValue* value = source.Take("read-only");
  const std::string text = value == nullptr ? "" : Lower(Trimmed(value->value));
  if (text == "true") return;
  draft->comments.push_back("Programs that write here get EROFS: \"rw\" is not served yet.");
  if (value != nullptr)
    source.Note(*value, "writing is not served yet: programs that write get EROFS");
  else
    source.NoteWhole("read-only is not set; writing is not served yet: programs get EROFS");
}

}  // namespace

std::expected<Imported, std::string> ImportBlobFuse(std::string_view text, const std::string& file,
                                                    const ImportOptions& options) {
  std::vector<YamlValue> values;
  if (auto old = text.size() > kYamlMaxBytes ? std::nullopt : ReadOldConfig(text)) {
    values = *std::move(old);
  } else {
    auto yaml = ReadYaml(text);
    if (!yaml)
      return std::unexpected(
          fmt::format("{}{}: not YAML that can be read: {}", file,
                      yaml.error().line > 0 ? fmt::format(":{}", yaml.error().line) : std::string(),
                      yaml.error().message));
    values = *std::move(yaml);
  }
  if (values.empty()) return std::unexpected(fmt::format("{}: nothing in it", file));
  Source source(std::move(values), file);
  Draft draft;
  Imported imported;
  std::string container;
  if (const auto origin = TakeOrigin(source, options, &draft, &container); !origin)
    return std::unexpected(fmt::format("{}: {}", file, origin.error()));
  draft.path = options.mount.empty() ? "/mnt/" + container : options.mount;
  draft.ca_file = source.TakeText("azstorage.ca-file");
  TakeAuth(source, &draft, &imported.environment);
  TakeCache(source, &draft);
  TakeLimits(source, &draft);
  TakeLogLevel(source, &draft);
  TakeReadOnly(source, &draft);
  if (options.mount.empty())
    source.NoteWhole(
        fmt::format("the mount's path is not part of it; {} is written, --mount "
                    "chooses another",
                    draft.path));
  source.NoteTheRest();
  auto toml = Checked(draft, file);
  if (!toml) return std::unexpected(fmt::format("{}: {}", file, toml.error()));
  imported.toml = *std::move(toml);
  imported.notes = source.Notes();
  return imported;
}

std::expected<Imported, std::string> ImportUrl(std::string_view url, const ImportOptions& options) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return std::unexpected("this is no URL");
  if (url.find_first_of("?#") != std::string_view::npos)
    return std::unexpected("the URL has a query: a SAS token goes into AZURE_STORAGE_SAS_TOKEN");
  const std::string_view scheme = url.substr(0, colon);
  const std::string_view rest = Trimmed(url.substr(colon + 3), "/");
  const std::string_view first = rest.substr(0, rest.find('/'));
  Draft draft;
  Imported imported;
  std::string container(first.substr(0, first.find('@')));
  const bool names_account = first.find('@') != std::string_view::npos;
  if (scheme == "az" || ((scheme == "abfs" || scheme == "abfss") && !names_account)) {
    // adlfs' form: the account is in the environment or among the storage_options.
    if (options.account.empty())
      return std::unexpected(
          fmt::format("{}://{}... names no account: set AZURE_STORAGE_ACCOUNT, or write "
                      "abfs://{}@ACCOUNT.dfs.core.windows.net/...",
                      scheme, container, container));
    draft.origin = fmt::format("az://{}/{}", options.account, rest);
    imported.notes.push_back(fmt::format(
        "{}://{}: read as adlfs does, the container first; Penstock's own form names the "
        "account first: {}",
        scheme, rest, draft.origin));
  } else {
    draft.origin = url;
    if (scheme == "https" || scheme == "http") {
      const std::size_t slash = rest.find('/');
      const std::string_view path = slash == rest.npos ? "" : rest.substr(slash + 1);
      container = path.substr(0, path.find('/'));
    }
  }
  draft.path = options.mount.empty() ? "/mnt/" + container : options.mount;
  auto toml = Checked(draft, "a URL");
  if (!toml) return std::unexpected(toml.error());
  imported.toml = *std::move(toml);
  return imported;
}

}  // namespace penstock::cache
