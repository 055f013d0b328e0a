#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "cache/doctor/checks.h"
#include "cache/job/fd.h"
#include "shim/abi/handshake.h"
#include "transport/origin/origin.h"

namespace penstock::cache::doctor {
namespace {

constexpr int kAnswerMs = 3000;

// Says hello as an administrator. The sidecar's answer, or an errno of ours as a negative number.
int Hello(const std::string& path, pst_welcome* welcome) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  const Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return -errno;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return -errno;
  pst_hello hello{};
  hello.magic = PST_HELLO_MAGIC;
  hello.major = PST_ABI_MAJOR;
  hello.minor = PST_ABI_MINOR;
  hello.role = PST_ROLE_ADMIN;
  hello.pid = static_cast<std::uint32_t>(::getpid());
  if (::send(fd.get(), &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) return -errno;
  pollfd wait{fd.get(), POLLIN, 0};
  if (::poll(&wait, 1, kAnswerMs) != 1) return -ETIMEDOUT;
  const ssize_t n = ::recv(fd.get(), welcome, sizeof *welcome, 0);
  if (n < 0) return -errno;
  if (n == 0) return -ECONNRESET;
  // An older or newer one may send another length: magic and version stand first in all of them.
  return n >= 12 && welcome->magic == PST_HELLO_MAGIC ? 0 : -EPROTO;
}

bool IsSet(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool IsBlob(const std::string& origin) { return !origin.starts_with("file:"); }

}  // namespace

void CheckSidecar(Checks& to, const DoctorConfig& config) {
  if (config.socket.empty()) return;
  pst_welcome welcome{};
  const int rc = Hello(config.socket, &welcome);
  const std::string& at = config.socket;
  if (rc == -ENOENT || rc == -ECONNREFUSED) {
    Add(to, "sidecar", Verdict::kWarn, "no sidecar answers at " + at,
        "`penstock run` starts one; as a container of its own run `penstockd -c job.toml`");
  } else if (rc == -EACCES || (rc == 0 && welcome.err == EACCES)) {
    Add(to, "sidecar", Verdict::kFail,
        fmt::format("the sidecar does not let uid {} join", ::geteuid()),
        fmt::format("add {} to sidecar.allow_uids", ::geteuid()));
  } else if (rc < 0) {
    Add(to, "sidecar", Verdict::kFail,
        fmt::format("what listens at {} does not answer as a sidecar: {}", at, std::strerror(-rc)),
        "look at its log; restart it");
  } else if (welcome.major != PST_ABI_MAJOR || welcome.err == EPROTO) {
    Add(to, "sidecar", Verdict::kFail,
        fmt::format("the sidecar speaks version {}.{}, this program {}.{}", welcome.major,
                    welcome.minor, PST_ABI_MAJOR, PST_ABI_MINOR),
        "use libpenstock.so, penstock and penstockd of one release");
  } else if (welcome.err == EBUSY) {
    Add(to, "sidecar", Verdict::kWarn, "the sidecar is draining or has too many sessions",
        "wait for it to end, or raise limits.sessions");
  } else if (welcome.err != 0) {
    Add(to, "sidecar", Verdict::kFail,
        fmt::format("the sidecar refuses to talk: {}", std::strerror(welcome.err)),
        "look at its log");
  } else {
    Add(to, "sidecar", Verdict::kOk,
        fmt::format("answers at {}, version {}.{}, lets uid {} join", at, welcome.major,
                    welcome.minor, ::geteuid()));
  }
}

void CheckCredentials(Checks& to, const DoctorConfig& config) {
  if (std::none_of(config.mounts.begin(), config.mounts.end(),
                   [](const DoctorMount& mount) { return IsBlob(mount.origin); }))
    return;
  std::string found;
  for (const char* name : {"AZURE_STORAGE_ACCOUNT",
                           "AZURE_STORAGE_KEY",
                           "AZURE_STORAGE_ACCESS_KEY",
                           "AZURE_STORAGE_SAS_TOKEN",
                           "AZURE_STORAGE_CONNECTION_STRING",
                           "AZURE_STORAGE_AUTH_TYPE",
                           "AZURE_STORAGE_BLOB_ENDPOINT",
                           "AZURE_CLIENT_ID",
                           "AZURE_TENANT_ID",
                           "AZURE_CLIENT_SECRET",
                           "AZURE_CLIENT_CERTIFICATE_PATH",
                           "AZURE_FEDERATED_TOKEN_FILE",
                           "AZURE_AUTHORITY_HOST",
                           "AZURE_STORAGE_SPN_CLIENT_SECRET",
                           "AZURE_STORAGE_IDENTITY_CLIENT_ID",
                           "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                           "IDENTITY_ENDPOINT",
                           "IDENTITY_HEADER",
                           "IMDS_ENDPOINT",
                           "MSI_ENDPOINT",
                           "SSL_CERT_FILE",
                           "HTTPS_PROXY",
                           "https_proxy",
                           "NO_PROXY"}) {
    if (IsSet(name)) found += (found.empty() ? "" : ", ") + std::string(name);
  }
  const bool secret =
      IsSet("AZURE_STORAGE_KEY") || IsSet("AZURE_STORAGE_ACCESS_KEY") ||
      IsSet("AZURE_STORAGE_SAS_TOKEN") || IsSet("AZURE_STORAGE_CONNECTION_STRING") ||
      IsSet("AZURE_FEDERATED_TOKEN_FILE") || IsSet("AZURE_CLIENT_SECRET") ||
      IsSet("AZURE_CLIENT_CERTIFICATE_PATH") || IsSet("AZURE_STORAGE_SPN_CLIENT_SECRET") ||
      IsSet("IDENTITY_ENDPOINT") || IsSet("MSI_ENDPOINT");
  // A mount's own check says what `auto` came to.
  const bool wanted =
      std::any_of(config.mounts.begin(), config.mounts.end(), [](const auto& mount) {
        return IsBlob(mount.origin) &&
               (mount.auth_mode == "auto" || mount.auth_mode == "key" || mount.auth_mode == "sas");
      });
  if (!secret && wanted) {
    Add(to, "credentials", Verdict::kWarn,
        found.empty() ? "none in this environment" : "set, but no secret among them: " + found,
        "the sidecar reads AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or "
        "AZURE_STORAGE_CONNECTION_STRING from its own environment; without any, auto takes this "
        "machine's managed identity, else the Azure CLI's, else asks without credentials");
  } else {
    Add(to, "credentials", Verdict::kOk,
        found.empty() ? "no variable of this environment names any"
                      : "set (values not shown): " + found);
  }
}

void CheckOrigins(Checks& to, const DoctorConfig& config) {
  // All together stay within a bound, however many mounts there are.
  const std::int64_t timeout_ms = std::max<std::int64_t>(
      500, config.origin_timeout_ms /
               std::max<std::int64_t>(1, static_cast<std::int64_t>(config.mounts.size() + 1) / 2));
  for (const DoctorMount& mount : config.mounts) {
    origin::OriginConfig wanted;
    wanted.url = mount.origin;
    wanted.endpoint = mount.endpoint;
    wanted.dfs_endpoint = mount.dfs_endpoint;
    wanted.auth_mode = mount.auth_mode;
    wanted.identity = mount.identity;
    wanted.ca_file = mount.ca_file;
    wanted.request_timeout_ms = timeout_ms;
    wanted.connect_timeout_ms = timeout_ms;
    wanted.max_tries = 1;
    std::string explanation;
    auto made = origin::MakeOrigin(wanted, &explanation);
    if (!made) {
      Add(to, "origin", Verdict::kFail,
          fmt::format("{}: {}", mount.path,
                      explanation.empty() ? made.error().context : explanation),
          "correct the origin of this mount");
      continue;
    }
    const std::string what = fmt::format("{} <- {}", mount.path, (*made)->Describe());
    if (const std::string risk = (*made)->Risk(); !risk.empty())
      Add(to, "origin", Verdict::kWarn, fmt::format("{}: {}", mount.path, risk),
          "give the mount an endpoint with https://");
    const auto probed = (*made)->Probe(timeout_ms, &explanation);
    if (probed) {
      const std::string credentials = (*made)->DescribeCredentials();
      Add(to, "origin", Verdict::kOk,
          what + " answers" + (credentials.empty() ? "" : "; credentials: " + credentials));
      continue;
    }
    std::string remedy;
    switch (probed.error().code) {
      case Code::kPermission:
        remedy =
            "check the credentials' account, rights and expiry, and the machine's clock; an "
            "identity needs the role Storage Blob Data Reader on the container";
        break;
      case Code::kNotFound:
        remedy = "make it, or correct the origin of this mount";
        break;
      case Code::kUnavailable:
      case Code::kDeadline:
        remedy = "check name resolution, network policy and proxy from this very container";
        break;
      default:
        remedy = "see the finding";
        break;
    }
    Add(to, "origin", Verdict::kFail,
        fmt::format("{}: {}", what, explanation.empty() ? probed.error().context : explanation),
        remedy);
  }
}

void CheckPreload(Checks& to, const DoctorConfig& config) {
  if (!config.shim_path.empty()) {
    struct stat st;
    if (::stat(config.shim_path.c_str(), &st) != 0 || ::access(config.shim_path.c_str(), R_OK) != 0)
      Add(to, "shim", Verdict::kFail, fmt::format("{}: {}", config.shim_path, std::strerror(errno)),
          "install libpenstock.so where the program's container sees it");
    else
      Add(to, "shim", Verdict::kOk, config.shim_path);
  }
  const char* preload = std::getenv("LD_PRELOAD");
  std::string others;
  bool asan = false, ours = false, ours_first = false;
  std::string_view list = preload == nullptr ? "" : preload;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find_first_of(": "), list.size());
    const std::string_view one = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (one.empty()) continue;
    if (one.find("libpenstock") != one.npos) {
      ours = true;
      ours_first = others.empty();
      continue;
    }
    asan = asan || one.find("libasan") != one.npos || one.find("clang_rt.asan") != one.npos;
    others += (others.empty() ? "" : ", ") + std::string(one);
  }
  const char* options = std::getenv("ASAN_OPTIONS");
  const bool order_off =
      options != nullptr &&
      std::string_view(options).find("verify_asan_link_order=0") != std::string_view::npos;
  if (asan && ours && ours_first && !order_off) {
    Add(to, "preload", Verdict::kWarn, "AddressSanitizer is preloaded after libpenstock.so",
        "put libasan first, or set ASAN_OPTIONS=verify_asan_link_order=0");
  } else if (!others.empty()) {
    Add(to, "preload", Verdict::kWarn, "other libraries are preloaded: " + others,
        "fine as long as they do not hook file calls themselves; programs built with "
        "AddressSanitizer "
        "need ASAN_OPTIONS=verify_asan_link_order=0");
  } else {
    Add(to, "preload", Verdict::kOk,
        ours ? "only libpenstock.so is preloaded" : "nothing is preloaded");
  }
}

}  // namespace penstock::cache::doctor
