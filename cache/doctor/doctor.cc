#include "cache/doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cache/doctor/checks.h"
#include "transport/base/log.h"

namespace penstock::cache {
namespace doctor {

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string Sizes(std::uint64_t bytes) {
  if (bytes >= 10ull << 30) return fmt::format("{} GiB", bytes >> 30);
  if (bytes >= 1ull << 30)
    return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / static_cast<double>(1ull << 30));
  if (bytes >= 1ull << 20) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} bytes", bytes);
}

}  // namespace doctor

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarn:
      return "warn";
    case Verdict::kFail:
      return "fail";
  }
  return "fail";
}

std::vector<Check> RunDoctor(const DoctorConfig& config) {
  using namespace doctor;
  Checks checks;
  CheckKernel(checks);
  CheckIoUring(checks);
  CheckMemfd(checks);
  CheckHugePages(checks);
  CheckSeccomp(checks);
  CheckSupervision(checks);
  CheckNamespaces(checks);
  CheckOpenFiles(checks);
  CheckLockedMemory(checks);
  CheckMemory(checks, config);
  if (!config.socket.empty()) CheckSocketFolder(checks, config);
  for (const std::string& dir : config.cache_dirs) CheckCacheDir(checks, dir, config);
  CheckMountPaths(checks, config);
  CheckSidecar(checks, config);
  CheckCredentials(checks, config);
  CheckClock(checks);
  CheckOrigins(checks, config);
  CheckPreload(checks, config);
  for (Check& check : checks) {  // a server's answer may quote what it was sent
    check.finding = log::Redact(check.finding);
    check.remedy = log::Redact(check.remedy);
  }
  return checks;
}

Verdict WorstOf(const std::vector<Check>& checks) {
  Verdict worst = Verdict::kOk;
  for (const Check& check : checks) worst = std::max(worst, check.verdict);
  return worst;
}

std::string DoctorText(const std::vector<Check>& checks) {
  std::string text;
  int warnings = 0, failures = 0;
  for (const Check& check : checks) {
    text += fmt::format("{:<5} {:<18} {}\n", VerdictName(check.verdict), check.name, check.finding);
    if (!check.remedy.empty()) text += fmt::format("{:<24} -> {}\n", "", check.remedy);
    warnings += check.verdict == Verdict::kWarn;
    failures += check.verdict == Verdict::kFail;
  }
  text += fmt::format("{} checks: {} failed, {} warnings\n", checks.size(), failures, warnings);
  return text;
}

std::string DoctorJson(const std::vector<Check>& checks) {
  nlohmann::json list = nlohmann::json::array();
  for (const Check& check : checks) {
    list.push_back({{"name", check.name},
                    {"verdict", VerdictName(check.verdict)},
                    {"finding", check.finding},
                    {"remedy", check.remedy}});
  }
  const nlohmann::json document = {{"verdict", VerdictName(WorstOf(checks))}, {"checks", list}};
  // Names of files may hold any bytes: replaced rather than thrown about.
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace penstock::cache
