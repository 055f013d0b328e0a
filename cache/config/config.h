// The configuration of one job: what job.toml says, checked, with defaults filled in.
//
// Parsing either gives a whole Config or every error that was found, each with file, line, key and
// what is allowed there; a key that is not known is an error. Nothing here touches the network, and
// the file system only to read the file and to choose a default socket.
//
// Thread safety: values and pure functions; LoadConfig and the defaults read the environment.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/identity/identity_config.h"

namespace penstock::cache {

enum class MountMode : std::uint8_t { kReadOnly, kReadWrite };
enum class MountDataClass : std::uint8_t { kDataset, kGeneral, kCheckpoint };
enum class HugePageMode : std::uint8_t { kAuto, kOn, kOff };

struct MountConfig {
  std::string path;  // absolute, normalised
  std::string origin;
  std::string endpoint;  // "" the origin's own
  std::string dfs_endpoint;
  MountMode mode = MountMode::kReadOnly;
  MountDataClass data_class = MountDataClass::kDataset;
  std::int64_t metadata_ttl_ns = 60'000'000'000;
  std::int64_t deadline_ns = 30'000'000'000;  // for one question to the origin, all tries included
  std::optional<std::uint32_t> uid;           // what stat shows; none: the program's own
  std::optional<std::uint32_t> gid;
  std::string auth_mode = "auto";
  identity::IdentityConfig identity;  // the rest of [mount.auth]
  std::string ca_file;
  std::string snapshot;  // a manifest used instead of listings: a path or a blob's address; "" none
  std::uint32_t max_connections = 64;
  std::string verify = "auto";       // of bodies: auto, md5, crc64, off
  std::string http_version = "1.1";  // or 2
  std::uint32_t weight = 1;          // its part of the job's limits against the other mounts'
  int line = 0;                      // of [[mount]], for later messages
};

struct SidecarConfig {
  std::string socket;                       // at most kSocketPathMax bytes
  std::int64_t linger_ns = 60'000'000'000;  // sidecars started by `penstock run` only
  std::int64_t wait_ns = 60'000'000'000;    // PENSTOCK_WAIT: how long programs wait for a sidecar
  std::int64_t grace_ns = 10'000'000'000;   // how long a shutdown waits for requests in flight
  std::uint32_t cpus = 2;
  bool allow_any_uid = false;
  std::vector<std::uint32_t> allow_uids;  // may join; default: the sidecar's own
  std::vector<std::uint32_t> admin_uids;  // may stop, refresh, warm, pin and evict, beside the sidecar's
                                          // own and root
  std::string log_level = "info";
};

struct CacheConfig {
  std::string dir;  // absolute, normalised
  std::vector<std::string> more_dirs;  // of other disks: the NVMe tier is spread over all of them
  std::uint64_t memory_bytes = 0;
  std::uint64_t nvme_bytes = 0;  // 0: half of what is free in the folders
  HugePageMode hugepages = HugePageMode::kAuto;
};

struct LimitsConfig {
  std::uint32_t sessions = 10'000;
  std::uint32_t requests = 65'536;  // in flight, all sessions together
  std::uint32_t tickets = 16'384;   // fds that wait to be fetched
  // Of what goes to and comes from Blob; 0: no limit.
  std::uint64_t bytes_per_second = 0;
  std::uint64_t requests_per_second = 0;
  std::uint64_t node_bytes_per_second = 0;  // all sidecars of the node that share node_file
  std::uint64_t node_requests_per_second = 0;
  std::string node_file;  // never empty
};

// What requests cost; the defaults are an example, of the order of the Hot tier with LRS in a US region.
struct CostConfig {
  double read_per_10k = 0.0044;   // GET, HEAD
  double write_per_10k = 0.055;   // PUT
  double list_per_10k = 0.055;    // List
  double transfer_per_gib = 0.0;  // retrieval of cooler tiers, and what leaves the region
  std::string currency = "USD";
};

struct Config {
  std::string file;  // absolute path of the file it came from
  std::uint32_t version = 1;
  SidecarConfig sidecar;
  CacheConfig cache;
  LimitsConfig limits;
  CostConfig cost;
  std::vector<MountConfig> mounts;  // 1..PST_MAX_MOUNTS, in the file's order
};

// One thing that is wrong. ToString(): "job.toml:7: cache.memory: expected a size ...".
struct ConfigError {
  std::string file;
  int line = 0;     // 0: the file as a whole
  std::string key;  // "cache.memory", "mount[1].path"; may be empty
  std::string message;
  std::string ToString() const;
};
using ConfigErrors = std::vector<ConfigError>;

inline constexpr std::size_t kSocketPathMax = 107;  // sun_path without its NUL
inline constexpr std::size_t kConfigFileMaxBytes = 1u << 20;

// `file` is used in messages and for the default socket; it need not exist.
std::expected<Config, ConfigErrors> ParseConfig(std::string_view text, const std::string& file);
std::expected<Config, ConfigErrors> LoadConfig(const std::string& file);

// Where the socket of a job lies if its configuration does not say:
// $XDG_RUNTIME_DIR/penstock/, else /run/penstock/ where this user can write it, else
// /tmp/penstock-<uid>/, and there <digest of the configuration's path>.sock.
std::string DefaultSocketPath(const std::string& config_file);

// The file of the node's limits, in the same folder, if the configuration does not name one.
std::string DefaultNodeFile();

// `path` with "//", "." and a trailing "/" removed; nullopt unless it is absolute, without ".." and
// without NUL. "/" stays "/".
std::optional<std::string> NormalisePath(std::string_view path);

// The index of the mount that covers `path` (absolute, normalised): the longest one; and what comes
// after it, without a leading slash. nullopt if none does.
struct MountMatch {
  std::size_t mount;
  std::string_view rest;
};
std::optional<MountMatch> MatchMount(const std::vector<MountConfig>& mounts, std::string_view path);

const char* ModeName(MountMode mode);
const char* ClassName(MountDataClass data_class);

}  // namespace penstock::cache
