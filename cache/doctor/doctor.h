// `penstock doctor`: what is wrong with this machine, its container's limits or the configuration,
// and what to do about it.
//
// Each check looks for itself (it tries the thing rather than reading a version) and gives a
// verdict, what it found, and a remedy where there is something to do. Names of credential
// variables are shown, never their values. No check takes longer than its own short timeout;
// together at most about 20 s.
//
// Thread safety: RunDoctor may be called from any one thread; it blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/identity/identity_config.h"

namespace penstock::cache {

enum class Verdict : std::uint8_t { kOk, kWarn, kFail };
const char* VerdictName(Verdict verdict);  // "ok", "warn", "fail"

struct Check {
  std::string name;  // stable, lower case with dashes: "io-uring"
  Verdict verdict = Verdict::kOk;
  std::string finding;  // one sentence
  std::string remedy;   // what to do; "" where nothing is to be done
};

struct DoctorMount {
  std::string path;
  std::string origin;  // URL
  std::string endpoint;
  std::string auth_mode = "auto";
  bool writable = false;
  std::string ca_file{};
  identity::IdentityConfig identity{};
  std::string dfs_endpoint{};
};

// The part of a configuration that the checks need: independent of how it was parsed.
struct DoctorConfig {
  std::string socket;  // "" : no check of socket and folder
  std::vector<std::string> cache_dirs;
  std::uint64_t memory_bytes = 0;
  std::uint64_t nvme_bytes = 0;
  std::vector<DoctorMount> mounts;
  std::string shim_path;  // libpenstock.so; "" : not checked
  std::int64_t origin_timeout_ms = 5'000;
};

std::vector<Check> RunDoctor(const DoctorConfig& config);

// Why programs may meet local files in place of the mount's: its path is a folder with something in it on this
// machine's disk. "" if it is not, or if that folder is the mount's own origin.
std::string LocalFilesUnder(const std::string& mount_path, const std::string& origin);

// fail if one fails, else warn if one warns.
Verdict WorstOf(const std::vector<Check>& checks);

std::string DoctorText(const std::vector<Check>& checks);
std::string DoctorJson(const std::vector<Check>& checks);

}  // namespace penstock::cache
