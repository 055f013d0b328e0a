#include "transport/base/environment.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace penstock {
namespace {

constexpr std::array kSecretNames = {
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_SPN_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "IDENTITY_HEADER",
    "MSI_SECRET",
};

// libcurl reads these itself, whenever a transfer begins. Of the plain-text one it knows only the
// lower-case name.
constexpr std::array kProxyNames = {"https_proxy", "HTTPS_PROXY", "http_proxy",
                                    "HTTP_PROXY",  "all_proxy",   "ALL_PROXY"};

struct Hidden {
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> values;  // guarded by mutex
};

Hidden& TheHidden() {
  static auto* const hidden = new Hidden;  // never destroyed: read until the process ends
  return *hidden;
}

}  // namespace

bool IsSecretName(std::string_view name) {
  return std::find(kSecretNames.begin(), kSecretNames.end(), name) != kSecretNames.end();
}

std::string Environment(const char* name) {
  if (const char* value = std::getenv(name)) return value;
  Hidden& hidden = TheHidden();
  const std::lock_guard lock(hidden.mutex);
  const auto found = hidden.values.find(name);
  return found == hidden.values.end() ? std::string() : found->second;
}

void HideSecrets() {
  Hidden& hidden = TheHidden();
  const std::lock_guard lock(hidden.mutex);
  for (const char* name : kSecretNames) {
    char* const value = std::getenv(name);
    if (value == nullptr) continue;
    const std::size_t size = std::strlen(value);
    hidden.values[name].assign(value, size);
    unsetenv(name);
    explicit_bzero(value, size);  // the strings of the initial environment may be written to
  }
  for (const char* name : kProxyNames) {
    char* const value = std::getenv(name);
    if (value == nullptr || std::strchr(value, '@') == nullptr) continue;
    const std::string copy(value);
    // The C library keeps the strings that it made itself, and takes them again for an equal value.
    if (setenv(name, copy.c_str(), 1) == 0 && std::getenv(name) != value) {
      explicit_bzero(value, copy.size());
    }
  }
}

std::vector<std::string> EnvironmentWithSecrets() {
  std::vector<std::string> all;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) all.emplace_back(*variable);
  Hidden& hidden = TheHidden();
  const std::lock_guard lock(hidden.mutex);
  for (const auto& [name, value] : hidden.values) all.push_back(name + "=" + value);
  return all;
}

}  // namespace penstock
