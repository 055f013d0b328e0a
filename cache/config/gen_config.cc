#include "cache/config/gen_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "cache/config/machine.h"
#include "cache/config/units.h"

namespace penstock::cache {
namespace {

constexpr const char* kTemplate = R"(# Penstock: one job's configuration. Start a program under it:
#   penstock run -c job.toml -- CMD...
# What is wrong with this machine or this file: penstock doctor -c job.toml
version = 1

[sidecar]
# Programs and sidecar meet here; in containers, on a volume that both see. Left out: a path in
# $XDG_RUNTIME_DIR, /run/penstock or /tmp, chosen from this file's own path.
#socket = "/run/penstock/job.sock"
linger = "60s"            # a sidecar that `penstock run` started ends this long after its last program
#wait = "60s"             # how long programs wait for a sidecar that is not there
#grace = "10s"            # how long a shutdown waits for requests in flight
cpus = {cpus}                  # this machine has {all_cpus}
#allow_uids = [1000]      # users that may join beside the sidecar's own; "*" for all
#admin_uids = [1000]      # users that may stop, refresh and warm beside the sidecar's own and root
#log_level = "info"       # debug, info, warning, error

[cache]
dir = {dir}
memory = "{memory}"         # a quarter of the {limit} that this machine or container allows
nvme = "{nvme}"          # of {free} that are free there
#hugepages = "auto"       # on: fail without them; off: never

# What goes to and comes from Blob, of this job and of all jobs of the node; fair among mounts.
#[limits]
#bandwidth = "2GiB/s"
#requests_per_second = 2000
#node_bandwidth = "4GiB/s"
#node_requests_per_second = 5000

# One [[mount]] for each folder that programs shall see; the longest path wins.
[[mount]]
path = {mount}      # need not exist on disk
origin = {origin}   # also https://account.blob.core.windows.net/..., abfss://..., file:///folder
#endpoint = "http://127.0.0.1:10000/account"
mode = "ro"               # or "rw"
class = "dataset"         # or "general", "checkpoint"
metadata_ttl = "60s"      # how old names, sizes and listings may be
#snapshot = "/mnt/train.snapshot" # a listing made by `penstock snapshot create`, used instead of asking
#deadline = "30s"         # for one question to the origin, all tries included
#uid = 1000               # what stat shows; left out: the program's own
[mount.auth]
mode = "auto"             # key, sas, msi, workload, spn, cli, anon; secrets come from the environment
#client_id = "..."        # which of the machine's identities, or which application
)";

}  // namespace

std::string TomlQuoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string GenerateConfig(const GenConfigOptions& options) {
  const Disk disk = LargestLocalDisk();
  const std::uint64_t nvme = std::max<std::uint64_t>((disk.free_bytes / 2) >> 30, 1) << 30;
  const std::uint32_t cpus = UsableCpus();
  return fmt::format(
      kTemplate, fmt::arg("cpus", std::clamp<std::uint32_t>(cpus / 4, 1, 8)),
      fmt::arg("all_cpus", cpus), fmt::arg("dir", TomlQuoted(disk.path + "/penstock")),
      fmt::arg("memory", FormatBytes(DefaultMemoryBytes())),
      fmt::arg("limit", FormatBytesForPeople(MemoryLimitBytes())),
      fmt::arg("nvme", FormatBytes(nvme)), fmt::arg("free", FormatBytesForPeople(disk.free_bytes)),
      fmt::arg("mount", TomlQuoted(options.mount)), fmt::arg("origin", TomlQuoted(options.origin)));
}

}  // namespace penstock::cache
