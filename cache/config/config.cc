#include "cache/config/config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cache/config/machine.h"
#include "cache/config/section.h"
#include "shim/abi/abi.h"

namespace penstock::cache {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1'000 * kMs;
constexpr std::int64_t kDay = 86'400 * kSecond;
constexpr std::uint64_t kMinMemory = 16ull << 20;
constexpr std::uint64_t kMaxMemory = static_cast<std::uint64_t>(PST_MAX_SEGMENTS)
                                     << PST_SEGMENT_SHIFT;
constexpr std::uint64_t kMaxNvme = 1ull << 50;
constexpr std::uint64_t kMinBandwidth = 1ull
                                        << 20;  // below, one range takes longer than a deadline
constexpr std::uint64_t kMaxBandwidth = 1ull << 40;

constexpr std::array<std::string_view, 4> kVerify = {"auto", "md5", "crc64", "off"};
constexpr std::array<std::string_view, 2> kHttpVersions = {"1.1", "2"};
constexpr std::array<std::string_view, 4> kLogLevels = {"debug", "info", "warning", "error"};
constexpr std::array<std::string_view, 3> kHugePages = {"auto", "on", "off"};
constexpr std::array<std::string_view, 2> kModes = {"ro", "rw"};
constexpr std::array<std::string_view, 3> kClasses = {"dataset", "general", "checkpoint"};
constexpr std::array<std::string_view, 8> kAuthModes = {"auto",     "key", "sas", "msi",
                                                        "workload", "spn", "cli", "anon"};

// An absolute path of `key`, normalised into `value`. Its node, or null if there is no good one.
const toml::node* ReadPath(Section& section, std::string_view key, std::string* value) {
  std::string text;
  const toml::node* node = section.String(key, &text);
  if (node == nullptr) return nullptr;
  const auto normal = NormalisePath(text);
  if (!normal) {
    section.Fail(*node, key,
                 fmt::format("{} is not allowed here; allowed is an absolute path without \"..\"",
                             Shown(*node)));
    return nullptr;
  }
  *value = *normal;
  return node;
}

// Appends the user ids of a list; true for "*", where that is allowed.
bool ReadUids(Section& section, std::string_view key, bool star, std::vector<std::uint32_t>* uids) {
  const std::string allowed =
      fmt::format("allowed is a list of user ids such as [1000]{}", star ? ", or \"*\"" : "");
  const toml::node* node = section.Raw(key);
  if (node == nullptr) return false;
  if (const auto* text = node->as_string(); star && text != nullptr && text->get() == "*") return true;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    section.Fail(*node, key, fmt::format("{} is not allowed here; {}", Shown(*node), allowed));
    return false;
  }
  for (const toml::node& item : *list) {
    const auto* uid = item.as_integer();
    if (uid == nullptr || uid->get() < 0 || uid->get() >= static_cast<std::int64_t>(UINT32_MAX)) {
      section.Fail(item, key, fmt::format("{} is not allowed here; {}", Shown(item), allowed));
      continue;
    }
    uids->push_back(static_cast<std::uint32_t>(uid->get()));
  }
  return false;
}

void ReadSidecar(Section section, SidecarConfig* sidecar) {
  constexpr std::string_view kSocket = "socket";
  if (const toml::node* node = ReadPath(section, kSocket, &sidecar->socket);
      node != nullptr && sidecar->socket.size() > kSocketPathMax)
    section.Fail(*node, kSocket,
                 fmt::format("the path has {} bytes; a unix socket's path may have {} at most: use "
                             "a shorter folder",
                             sidecar->socket.size(), kSocketPathMax));
  section.Duration("linger", &sidecar->linger_ns, 0, 365 * kDay);
  section.Duration("wait", &sidecar->wait_ns, 0, kDay);
  section.Duration("grace", &sidecar->grace_ns, 0, kDay);
  section.Integer("cpus", &sidecar->cpus, 1, 1024);
  sidecar->allow_uids = {static_cast<std::uint32_t>(geteuid())};
  sidecar->allow_any_uid = ReadUids(section, "allow_uids", true, &sidecar->allow_uids);
  ReadUids(section, "admin_uids", false, &sidecar->admin_uids);
  std::size_t level = 1;
  section.Choice("log_level", kLogLevels, &level);
  sidecar->log_level = kLogLevels[level];
  section.Finish();
}

// One folder or several; the first is the one that all else lies in, too.
void ReadCacheDirs(Section& section, CacheConfig* cache) {
  constexpr std::string_view kKey = "dir";
  constexpr std::string_view kAllowed = "allowed is an absolute path such as \"/mnt/nvme/penstock\"";
  constexpr std::size_t kMostDirs = 16;
  const toml::node* node = section.Raw(kKey);
  if (node == nullptr) return;
  std::vector<const toml::node*> nodes = {node};
  if (const toml::array* list = node->as_array(); list != nullptr) {
    if (list->empty() || list->size() > kMostDirs)
      return section.Fail(*node, kKey,
                          fmt::format("the list {}; {}, or a list of 1 to {} of them",
                                      list->empty() ? "is empty" : "is too long", kAllowed, kMostDirs));
    nodes.clear();
    for (const toml::node& one : *list) nodes.push_back(&one);
  }
  std::vector<std::string> dirs;
  for (const toml::node* one : nodes) {
    const auto* text = one->as_string();
    const auto normal = text == nullptr ? std::nullopt : NormalisePath(text->get());
    if (!normal || *normal == "/")
      return section.Fail(*one, kKey, fmt::format("{} is not allowed here; {}", Shown(*one), kAllowed));
    if (std::find(dirs.begin(), dirs.end(), *normal) != dirs.end())
      return section.Fail(*one, kKey, fmt::format("{} is named twice", Shown(*one)));
    dirs.push_back(*normal);
  }
  cache->dir = dirs.front();
  cache->more_dirs.assign(dirs.begin() + 1, dirs.end());
}

void ReadCache(Section section, CacheConfig* cache) {
  ReadCacheDirs(section, cache);
  cache->memory_bytes = DefaultMemoryBytes();
  section.Bytes("memory", &cache->memory_bytes, kMinMemory, kMaxMemory);
  section.Bytes("nvme", &cache->nvme_bytes, kMinMemory, kMaxNvme);
  std::size_t huge = 0;
  section.Choice("hugepages", kHugePages, &huge);
  cache->hugepages = static_cast<HugePageMode>(huge);
  section.Finish();
}

void ReadRequestRate(Section& section, std::string_view key, std::uint64_t* value) {
  std::uint32_t rate = 0;
  if (section.Integer(key, &rate, 1, 10'000'000) != nullptr) *value = rate;
}

void ReadLimits(Section section, LimitsConfig* limits) {
  section.Integer("sessions", &limits->sessions, 1, 100'000);
  section.Integer("requests", &limits->requests, 64, 1'000'000);
  section.Integer("tickets", &limits->tickets, 64, 1'000'000);
  section.Rate("bandwidth", &limits->bytes_per_second, kMinBandwidth, kMaxBandwidth);
  section.Rate("node_bandwidth", &limits->node_bytes_per_second, kMinBandwidth, kMaxBandwidth);
  ReadRequestRate(section, "requests_per_second", &limits->requests_per_second);
  ReadRequestRate(section, "node_requests_per_second", &limits->node_requests_per_second);
  ReadPath(section, "node_file", &limits->node_file);
  section.Finish();
}

void ReadCost(Section section, CostConfig* cost) {
  constexpr double kMost = 1e6;
  section.Number("read_per_10k", &cost->read_per_10k, 0, kMost);
  section.Number("write_per_10k", &cost->write_per_10k, 0, kMost);
  section.Number("list_per_10k", &cost->list_per_10k, 0, kMost);
  section.Number("transfer_per_gib", &cost->transfer_per_gib, 0, kMost);
  section.String("currency", &cost->currency);
  section.Finish();
}

// What is wrong with an origin's address, as far as its form shows; "" if nothing is.
std::string_view WrongInOrigin(std::string_view url) {
  const auto after = [&](std::string_view scheme) { return url.substr(scheme.size()); };
  const auto has_container = [](std::string_view rest) {
    const std::size_t slash = rest.find('/');
    return slash != 0 && slash != std::string_view::npos && slash + 1 < rest.size() &&
           rest[slash + 1] != '/';
  };
  if (url.starts_with("file:///")) return "";
  if (url.starts_with("file:")) return "needs an absolute folder";
  if (url.starts_with("az://")) return has_container(after("az://")) ? "" : "names no container";
  if (url.starts_with("https://") || url.starts_with("http://"))
    return has_container(after(url.starts_with("https://") ? "https://" : "http://"))
               ? ""
               : "names no container";
  for (const std::string_view scheme : {"abfss://", "abfs://", "wasbs://", "wasb://"}) {
    if (!url.starts_with(scheme)) continue;
    const std::size_t at = after(scheme).find('@');
    return at != 0 && at != std::string_view::npos ? "" : "names no container";
  }
  return "is no origin";
}

void ReadOrigin(Section& section, MountConfig* mount) {
  constexpr std::string_view kAllowed =
      "\"az://account/container/prefix\", \"https://account.blob.core.windows.net/container\", "
      "\"abfss://container@account.dfs.core.windows.net/prefix\" or \"file:///folder\"";
  const toml::node* node = section.String("origin", &mount->origin);
  if (node == nullptr) {
    if (section.Raw("origin") == nullptr)
      section.FailHere("origin", fmt::format("is missing; allowed is {}", kAllowed));
    return;
  }
  if (const std::string_view wrong = WrongInOrigin(mount->origin); !wrong.empty())
    section.Fail(*node, "origin",
                 fmt::format("{} {}; allowed is {}", Shown(*node), wrong, kAllowed));
}

void ReadEndpoint(Section& section, std::string_view key, std::string* endpoint) {
  const toml::node* node = section.String(key, endpoint);
  if (node == nullptr || endpoint->starts_with("http://") || endpoint->starts_with("https://"))
    return;
  section.Fail(*node, key,
               fmt::format("{} is no endpoint; allowed is an address such as "
                           "\"http://127.0.0.1:10000/account\"",
                           Shown(*node)));
}

void ReadSnapshot(Section& section, MountConfig* mount) {
  const toml::node* node = section.String("snapshot", &mount->snapshot);
  if (node == nullptr) return;
  std::string_view path = mount->snapshot;
  const bool blob = !path.starts_with("file:") && WrongInOrigin(path).empty();
  if (path.starts_with("file://")) path.remove_prefix(7);
  if (blob || (path.starts_with('/') && !path.ends_with('/'))) return;
  section.Fail(*node, "snapshot",
               fmt::format("{} is no manifest; allowed is an absolute path such as "
                           "\"/mnt/share/train.snapshot\", or a blob such as "
                           "\"az://account/container/train.snapshot\"",
                           Shown(*node)));
}

void ReadMountPath(Section& section, MountConfig* mount) {
  constexpr std::string_view kKey = "path";
  const toml::node* node = ReadPath(section, kKey, &mount->path);
  if (node == nullptr) {
    if (section.Raw(kKey) == nullptr)
      section.FailHere(kKey, "is missing; allowed is an absolute path such as \"/data/train\"");
    return;
  }
  if (mount->path == "/")
    section.Fail(*node, kKey, "\"/\" cannot be covered; name a folder, such as \"/data/train\"");
  if (mount->path.find(':') != std::string::npos)
    section.Fail(*node, kKey, "a colon is not allowed: PENSTOCK_PATHS separates paths with it");
  if (mount->path.size() >= PST_MOUNT_PATH_MAX)
    section.Fail(
        *node, kKey,
        fmt::format("has {} bytes; allowed are {}", mount->path.size(), PST_MOUNT_PATH_MAX - 1));
}

// An id, as Azure writes them: nothing that would need quoting in a URL's path or a header.
void ReadId(Section& section, std::string_view key, std::string_view also, std::string* value) {
  const toml::node* node = section.String(key, value);
  if (node == nullptr) return;
  const bool good = !value->empty() && value->size() <= 512 &&
                    std::all_of(value->begin(), value->end(), [also](unsigned char c) {
                      return std::isalnum(c) != 0 || also.find(static_cast<char>(c)) != also.npos;
                    });
  if (!good)
    section.Fail(*node, key,
                 fmt::format("{} is not allowed here; allowed are letters, digits and {}",
                             Shown(*node), also));
}

void ReadAuth(Section section, MountConfig* mount) {
  std::size_t mode = 0;
  section.Choice("mode", kAuthModes, &mode);
  mount->auth_mode = kAuthModes[mode];
  identity::IdentityConfig& to = mount->identity;
  ReadId(section, "client_id", "-", &to.client_id);
  ReadId(section, "tenant_id", "-.", &to.tenant_id);
  ReadId(section, "object_id", "-", &to.object_id);
  ReadId(section, "resource_id", "-._/()", &to.resource_id);
  const int chosen = static_cast<int>(!to.client_id.empty()) +
                     static_cast<int>(!to.object_id.empty()) +
                     static_cast<int>(!to.resource_id.empty());
  if (chosen > 1)
    section.FailHere("client_id", "only one of client_id, object_id and resource_id may be given");
  const toml::node* authority = section.String("authority_host", &to.authority_host);
  if (authority != nullptr && !to.authority_host.starts_with("https://") &&
      !to.authority_host.starts_with("http://"))
    section.Fail(*authority, "authority_host",
                 fmt::format("{} is not allowed here; allowed is an address such as "
                             "\"https://login.microsoftonline.us\"",
                             Shown(*authority)));
  ReadPath(section, "client_secret_file", &to.client_secret_file);
  ReadPath(section, "certificate_file", &to.certificate_file);
  ReadPath(section, "federated_token_file", &to.federated_token_file);
  section.Finish();
}

MountConfig ReadMount(Section section, const std::string& prefix, const std::string& file,
                      ConfigErrors* errors) {
  MountConfig mount;
  mount.line = section.line();
  ReadMountPath(section, &mount);
  ReadOrigin(section, &mount);
  ReadEndpoint(section, "endpoint", &mount.endpoint);
  ReadEndpoint(section, "dfs_endpoint", &mount.dfs_endpoint);
  std::size_t mode = 0;
  section.Choice("mode", kModes, &mode);
  mount.mode = static_cast<MountMode>(mode);
  std::size_t data_class = 0;
  section.Choice("class", kClasses, &data_class);
  mount.data_class = static_cast<MountDataClass>(data_class);
  section.Duration("metadata_ttl", &mount.metadata_ttl_ns, 0, 365 * kDay);
  section.Duration("deadline", &mount.deadline_ns, 10 * kMs, 3'600 * kSecond);
  std::uint32_t id = 0;
  if (section.Integer("uid", &id, 0, UINT32_MAX - 1) != nullptr) mount.uid = id;
  if (section.Integer("gid", &id, 0, UINT32_MAX - 1) != nullptr) mount.gid = id;
  section.Integer("max_connections", &mount.max_connections, 1, 4096);
  section.Integer("weight", &mount.weight, 1, 1000);
  ReadPath(section, "ca_file", &mount.ca_file);
  ReadSnapshot(section, &mount);
  std::size_t verify = 0;
  section.Choice("verify", kVerify, &verify);
  mount.verify = kVerify[verify];
  std::size_t http_version = 0;
  section.Choice("http_version", kHttpVersions, &http_version);
  mount.http_version = kHttpVersions[http_version];
  ReadAuth(Section(section.Table("auth"), prefix + "auth.", file, errors), &mount);
  section.Finish();
  return mount;
}

void ReadMounts(Section& root, const std::string& file, Config* config, ConfigErrors* errors) {
  const toml::node* node = root.Raw("mount");
  const toml::array* list = node == nullptr ? nullptr : node->as_array();
  if (list == nullptr || list->empty()) {
    root.FailHere("mount", "is missing; allowed is one or more [[mount]] with path and origin");
    return;
  }
  if (list->size() > PST_MAX_MOUNTS)
    root.Fail(*node, "mount",
              fmt::format("there are {} of them; allowed are {}", list->size(), PST_MAX_MOUNTS));
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string prefix = fmt::format("mount[{}].", i);
    const toml::table* table = list->get(i)->as_table();
    if (table == nullptr) {
      root.Fail(*list->get(i), "mount", "expected [[mount]] with double brackets");
      continue;
    }
    MountConfig mount = ReadMount(Section(table, prefix, file, errors), prefix, file, errors);
    for (const MountConfig& other : config->mounts) {
      if (!mount.path.empty() && other.path == mount.path)
        errors->push_back({file, mount.line, prefix + "path",
                           fmt::format("\"{}\" is already covered by the mount of line {}; each "
                                       "path may be named once",
                                       mount.path, other.line)});
    }
    config->mounts.push_back(std::move(mount));
  }
}

void FillDefaults(Config* config) {
  if (config->sidecar.socket.empty()) config->sidecar.socket = DefaultSocketPath(config->file);
  if (config->limits.node_file.empty()) config->limits.node_file = DefaultNodeFile();
  // A folder for each configuration, so that two jobs of one user do not share one.
  if (config->cache.dir.empty()) config->cache.dir = DefaultCacheDir(config->file);
}

}  // namespace

std::string ConfigError::ToString() const {
  std::string out = file;
  if (line > 0) out += fmt::format(":{}", line);
  out += ": ";
  if (!key.empty()) out += key + ": ";
  return out + message;
}

const char* ModeName(MountMode mode) { return kModes[static_cast<std::size_t>(mode)].data(); }
const char* ClassName(MountDataClass data_class) {
  return kClasses[static_cast<std::size_t>(data_class)].data();
}

std::expected<Config, ConfigErrors> ParseConfig(std::string_view text, const std::string& file) {
  ConfigErrors errors;
  toml::parse_result parsed = toml::parse(text, std::string_view(file));
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    errors.push_back({file, static_cast<int>(error.source().begin.line), "",
                      fmt::format("not valid TOML: {}", error.description())});
    return std::unexpected(std::move(errors));
  }
  Config config;
  config.file = file;
  Section root(&parsed.table(), "", file, &errors);
  root.Integer("version", &config.version, 1, 1);
  if (root.Raw("version") == nullptr)
    root.FailHere("version", "is missing; allowed is version = 1");
  ReadSidecar(Section(root.Table("sidecar"), "sidecar.", file, &errors), &config.sidecar);
  ReadCache(Section(root.Table("cache"), "cache.", file, &errors), &config.cache);
  ReadLimits(Section(root.Table("limits"), "limits.", file, &errors), &config.limits);
  ReadCost(Section(root.Table("cost"), "cost.", file, &errors), &config.cost);
  ReadMounts(root, file, &config, &errors);
  root.Finish();
  if (!errors.empty()) {
    std::stable_sort(errors.begin(), errors.end(),
                     [](const ConfigError& a, const ConfigError& b) { return a.line < b.line; });
    return std::unexpected(std::move(errors));
  }
  FillDefaults(&config);
  return config;
}

std::expected<Config, ConfigErrors> LoadConfig(const std::string& file) {
  const auto fail = [&](const std::string& message) {
    return std::unexpected(ConfigErrors{{file, 0, "", message}});
  };
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    const std::string hint =
        errno == ENOENT ? "; `penstock gen-config` prints a configuration to start from" : "";
    return fail(fmt::format("cannot be opened: {}{}", strerror(errno), hint));
  }
  std::string text(kConfigFileMaxBytes + 1, '\0');
  std::size_t have = 0;
  int failure = 0;
  while (have < text.size()) {
    const ssize_t n = read(fd, text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) failure = errno;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  close(fd);
  if (failure != 0) return fail(fmt::format("cannot be read: {}", strerror(failure)));
  if (have > kConfigFileMaxBytes)
    return fail(
        fmt::format("is larger than {} bytes; this is no configuration", kConfigFileMaxBytes));
  text.resize(have);
  char resolved[PATH_MAX];
  const char* real = realpath(file.c_str(), resolved);
  auto config = ParseConfig(text, real == nullptr ? file : real);
  if (!config)
    for (ConfigError& error : config.error()) error.file = file;  // as the person wrote it
  return config;
}

}  // namespace penstock::cache
